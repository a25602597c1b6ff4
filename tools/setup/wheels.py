"""`course.py wheels FOLDER`: everything that `lab --wheels FOLDER` needs to install the course where there is no network.

For machines of this kind: the same system, processor and Python. A room of several kinds fills one folder on a machine of each.
"""

import os
import shutil
import tomllib
from pathlib import Path

from tools.setup import requirements, torch_choice
from tools.setup.pip import pip, this_machine
from tools.setup.say import ROOT, STATE, Stop, folder_at, say, this_command

EXTRAS = ("lab",)
LEAST = 300e6  # bytes: the largest package is torch's
HUB = ROOT / "workshop" / "requirements.txt"


def fill(python: Path, folder: Path, *, hub: bool = False) -> int:
    """Download what `lab` installs, as tested, with the torch that `python` has; for a `hub`, what it adds."""
    folder.mkdir(parents=True, exist_ok=True)
    torch = torch_choice.installed_torch(python) or requirements.torch_pin(None)
    constraints = folder_at(STATE) / "wheels-constraints.txt"
    constraints.write_text(requirements.pins(torch.partition("+")[0], torch_only=False), encoding="utf-8")
    found = torch_choice.candidate(python, torch.partition("+")[0])
    cpu = ["--extra-index-url", torch_choice.CPU_INDEX] if torch.endswith("+cpu") and found != torch else []
    builds = tomllib.loads(requirements.PYPROJECT.read_text(encoding="utf-8"))["build-system"]["requires"]
    wanted = [line for line in requirements.requirements(EXTRAS) if requirements.name(line) != "torch"]
    say(f"Downloading the course's packages with torch {torch} ...")
    _download(
        python, "--constraint", str(constraints),
        "--only-binary", ":all:", *cpu, f"torch=={torch}", *wanted, *builds, "pip", *(["--requirement", str(HUB)] if hub else []),
        folder=folder,
    )  # fmt: skip
    wheels = list(folder.glob("*.whl"))
    size = sum(path.stat().st_size for path in wheels) / 1e9
    say(f"\n{folder}: {len(wheels)} packages, {size:.1f} GB, for {this_machine()}.")
    say("With the course and this folder on a stick, in the room:")
    say(f"    {this_command(*(['hub', 'room'] if hub else ['lab']), '--wheels', 'FOLDER')}")
    return 0


def _download(python: Path, *arguments: str, folder: Path) -> None:
    try:
        pip(python, "download", "--dest", str(folder), *arguments)
    except Stop:
        free = shutil.disk_usage(folder).free
        if free < LEAST:
            raise Stop(
                f"{folder} has {free / 1e9:.1f} GB free, and the packages did not all find room.",
                "Make room, then give the same command again: what is there already is kept.",
            ) from None
        raise


def use(folder: Path) -> None:
    """Let pip look in this folder alone; raise Stop where it holds no packages."""
    if not any(folder.glob("*.whl")):
        raise Stop(
            f"{folder} holds no packages.",
            f"Fill it on a machine with a network: {this_command('wheels', str(folder))}",
        )
    os.environ.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=folder.resolve().as_uri())
