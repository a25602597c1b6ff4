"""The environments of `course.py torches`: one for each PyTorch on a Python, in `.torches/`, beside `.venv`.

They are kept, and used again while pyproject.toml, the pins and the Python are the same.
"""

import argparse
import ast
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.setup import environment, requirements, uv, venv
from tools.setup.say import ROOT, STATE, Stop, folder_at, say
from tools.setup.torch_choice import CPU_INDEX

PYTHON = "3.12"  # where none is named
# The package's own list, read without the package: what runs this need not have it.
VERSIONS = ast.parse((ROOT / "utils" / "devicelab" / "versions.py").read_text(encoding="utf-8"))
RELEASES: tuple[str, ...] = next(
    ast.literal_eval(node.value)
    for node in VERSIONS.body
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TRIED"
)
NEWEST = RELEASES[-1]
# The oldest and the newest on another Python besides.
TRIED = (f"{RELEASES[0]}@3.11", *RELEASES, f"{NEWEST}@3.13")
OTHER_PYTHONS = ("3.13", "3.11")  # the newest first, for --nearest
FOLDER = ROOT / ".torches"


@dataclass(frozen=True)
class Target:
    """One version of torch on one Python, both as `2.8.0` and `3.11`."""

    torch: str
    python: str

    def __str__(self) -> str:
        return f"{self.torch}-py{self.python}"

    @property
    def folder(self) -> Path:
        """Where its environment is kept."""
        return FOLDER / str(self)


def target(text: str) -> Target:
    """Return the target that a person wrote: `2.8.0`, `2.8.0@3.11`, `newest`."""
    found = re.fullmatch(r"(\d+\.\d+\.\d+|newest)(?:@(3\.\d+))?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no version; write 2.8.0, or 2.8.0@3.11 for a Python.")
    return Target(NEWEST if found[1] == "newest" else found[1], found[2] or PYTHON)


def python_for(home: Path, wanted: Target, nearest: bool) -> tuple[Target, Path | None]:
    """Return the target with a Python for it; with `nearest` uv may fetch one, and another of the machine may stand in."""
    found = uv.interpreter(home, wanted.python)
    if found or not nearest:
        return wanted, found
    found = uv.fetched(home, wanted.python)
    for other in (*OTHER_PYTHONS, uv.version_of(home) or PYTHON):
        if not found and (found := uv.interpreter(home, other)):
            say(f"There is no Python {wanted.python} here: taking {other}.")
            wanted = Target(wanted.torch, other)
    return wanted, found


def make(home: Path, wanted: Target, interpreter: Path, cpu: bool) -> Path:
    """Make the target's environment with the uv of `home`, unless a complete one is there; return its interpreter."""
    python = venv.python_in(wanted.folder)
    key = environment.key(str(wanted), str(interpreter), str(cpu))
    stamp = wanted.folder / venv.STAMP
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == key:
        return python
    say(f"Installing torch {wanted.torch} and the course in {FOLDER.name}/{wanted} ...")
    try:
        uv.uv(home, "venv", "--quiet", "--clear", "--python", str(interpreter), str(wanted.folder))
        uv.uv(home, "pip", "install", "--python", str(python), *packages(wanted, cpu))
    except Stop:
        shutil.rmtree(wanted.folder, ignore_errors=True)  # uv's cache keeps what was fetched
        raise
    stamp.write_text(key, encoding="utf-8")
    return python


def packages(wanted: Target, cpu: bool) -> list[str]:
    """Return what uv is asked for: the course with the tested pins, but for torch; `cpu` from PyTorch's own index."""
    pins = folder_at(STATE) / f"constraints-{wanted}.txt"
    pins.write_text(requirements.pins(wanted.torch, torch_only=False), encoding="utf-8")
    index = ["--index", CPU_INDEX, "--index-strategy", "unsafe-best-match"] if cpu else []
    return ["--editable", ".[lab,test]", "--constraint", str(pins), *index]


def versions(python: Path) -> tuple[str, str]:
    """Return the versions of torch and of Python in an environment, in full."""
    code = "import importlib.metadata as m, platform; print(m.version('torch'), platform.python_version())"
    torch, own = subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    return torch, own
