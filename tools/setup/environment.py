"""The Python in which the course is installed: `.venv`, or the environment that is active when the course is installed there.

A stamp is written last, so that an interrupted installation is noticed and a second start takes no time.
"""

import hashlib
import importlib.metadata
import json
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tools.setup import requirements, torch_choice, venv
from tools.setup.pip import pip
from tools.setup.say import ROOT, STATE, Stop, folder_at, say


@dataclass(frozen=True)
class Options:
    """What a person chose: the command, `torch` (one of torch_choice.CHOICES), and whether to install `here`."""

    command: str
    torch: str = "ask"
    here: bool = False


def ready(extras: Collection[str], options: Options) -> Path:
    """Return the Python that has the course and these extras, after installing what is missing."""
    if options.here or installed_in_this_python():
        return _ready_here(extras, options)
    if not stamped(extras):
        check_name(ROOT)
        venv.make()
        wanted = {*extras, *_stamped_extras()}
        _install(venv.venv_python(), wanted, options, pin_all=True)
        write_stamp(wanted)
    return venv.venv_python()


def check_name(root: Path) -> None:
    """Raise Stop for a folder with `$` in its name: setuptools takes what follows for a variable, and finds none."""
    if re.search(r"\$[\w{]", str(root)):
        raise Stop(
            f"The course lies in {root}, and a $ in a folder's name keeps Python's setuptools from installing it.",
            "Rename the folder, or move the course elsewhere. Then give the same command again.",
        )


def installed_in_this_python() -> bool:
    """Whether this very folder is installed in the Python that runs course.py, and that is not `.venv`."""
    if Path(sys.prefix) == venv.VENV:
        return False
    try:
        origin = importlib.metadata.distribution("devicelab").read_text("direct_url.json") or "{}"
    except importlib.metadata.PackageNotFoundError:
        return False
    return json.loads(origin).get("url") == ROOT.as_uri()


def missing(extras: Collection[str]) -> list[str]:
    """Return the names of the required packages that the Python running course.py lacks."""
    names = [requirements.name(line) for line in requirements.requirements(extras)]
    installed = {requirements.normalized(found.name) for found in importlib.metadata.distributions()}
    return [name for name in names if name not in installed]


def _ready_here(extras: Collection[str], options: Options) -> Path:
    say(f"Using the environment that is active: {sys.prefix}")
    python = Path(sys.executable)
    lacking = missing(extras)
    if lacking or not installed_in_this_python():
        say(f"It lacks {', '.join([*lacking, 'devicelab'])}.")
        _install(python, extras, options, pin_all=False)
    return python


def _install(python: Path, extras: Collection[str], options: Options, pin_all: bool) -> None:
    """Install the package and its extras; a torch that is already there keeps its version."""
    present = torch_choice.installed_torch(python)
    torch = requirements.torch_pin(present)
    further: list[str] = []
    if torch != (present or "").partition("+")[0]:
        torch, further = torch_choice.choose(python, torch, options.torch, options.command)
    constraints = folder_at(STATE) / "constraints.txt"
    constraints.write_text(requirements.pins(torch, torch_only=not pin_all), encoding="utf-8")
    target = f".[{','.join(sorted(extras))}]"
    say(f"Installing devicelab{target[1:]} and what it needs: once, and for a few minutes ...")
    pip(python, "install", "--editable", target, "--constraint", str(constraints), *further)


def stamped(extras: Collection[str]) -> bool:
    """Whether `.venv` was completed with these extras, for the pyproject.toml and the pins of today."""
    return venv.venv_python().exists() and set(extras) <= _stamped_extras()


def write_stamp(extras: Collection[str]) -> None:
    """Note that `.venv` is complete."""
    (venv.VENV / venv.STAMP).write_text(
        json.dumps({"key": _key(), "extras": sorted(extras)}), encoding="utf-8"
    )


def _stamped_extras() -> set[str]:
    try:
        stamp = json.loads((venv.VENV / venv.STAMP).read_text(encoding="utf-8"))
        return set(stamp["extras"]) if stamp["key"] == _key() else set()
    except (OSError, ValueError, TypeError, KeyError):
        return set()  # never written, or not by us


def key(*more: str) -> str:
    """Return what a stamp stands for: pyproject.toml, the pins, this folder, and what else an environment depends on."""
    texts = [requirements.PYPROJECT.read_text("utf-8"), requirements.CONSTRAINTS.read_text("utf-8")]
    return hashlib.sha256("\0".join([*texts, str(ROOT), *more]).encode()).hexdigest()


def _key() -> str:
    return key(venv.python_version())
