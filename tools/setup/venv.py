"""The folder `.venv`: made, checked and deleted, with one sentence for each thing that can be missing."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.setup.pip import NO_SPACE, no_space
from tools.setup.requirements import new_enough
from tools.setup.say import ROOT, STATE, Stop, folder_at, say, this_command

VENV = ROOT / ".venv"
STAMP = "course-stamp.json"  # in `.venv`, once it is complete
BEGUN = "venv-begun"  # in STATE, from when it is begun
# 1.5 GB were measured with the CPU version of torch, and unpacking takes some.
FRESH_BYTES = 2_500_000_000
MORE_BYTES = 500_000_000


def venv_python() -> Path:
    """Return where the interpreter of `.venv` lies, whether it exists or not."""
    return python_in(VENV)


def python_in(folder: Path) -> Path:
    """Return where the interpreter of a virtual environment lies."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def make() -> None:
    """Make `.venv` unless a working one is there; what an interrupted start of ours left half-made is made again."""
    if _runs("import sys; sys.exit(sys.version_info < (3, 11))"):
        if not _runs("import pip"):
            _add_pip()
        check_space(MORE_BYTES)
        return
    if os.path.lexists(VENV):
        check_is_venv()
        check_is_ours()
        say(
            ".venv is not complete: an earlier start was interrupted, or its Python is gone. It is made again."
        )
    check_space(FRESH_BYTES)
    check_modules()
    (folder_at(STATE) / BEGUN).touch()
    say(f"Making .venv with Python {sys.version.split()[0]} ...")
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    torch = inheritable_torch()
    if torch:
        say(f"Using the torch {torch} that this Python already has.")
        command.append("--system-site-packages")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise _failure(done.stdout + done.stderr)


def clean() -> None:
    """Delete `.venv`; only a folder that is a virtual environment is deleted."""
    if os.path.lexists(VENV):
        check_is_venv()
        shutil.rmtree(VENV)
    say(".venv is gone; the next command makes it again.")


def python_version() -> str:
    """Return the Python version that `.venv` was made with, or an empty text."""
    configuration = VENV / "pyvenv.cfg"
    text = configuration.read_text(encoding="utf-8") if configuration.exists() else ""
    found = re.search(r"(?m)^version\s*=\s*(\S+)", text)
    return found[1] if found else ""


def inheritable_torch() -> str | None:
    """Return the version of a new enough torch in the Python that `.venv` would be made from, or None."""
    if sys.prefix != sys.base_prefix:
        return None  # a .venv inherits from the base Python, not from the virtual environment that is active
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None
    return version if new_enough(version) else None


def check_is_venv() -> None:
    """Raise Stop when `.venv` is something else than a virtual environment of its own: a link leads to what may be another's."""
    if VENV.is_symlink():
        raise Stop(
            f"{VENV} is a link to {os.readlink(VENV)}, and no Python that the course can use runs there.",
            "What lies there is left alone. Remove the link, then give the same command again.",
        )
    if VENV.is_dir() and ((VENV / "pyvenv.cfg").exists() or not any(VENV.iterdir())):
        return
    raise Stop(
        f"{VENV} is in the way: it is no virtual environment, so it is left alone.",
        "Move it elsewhere, then give the same command again.",
    )


def check_is_ours() -> None:
    """Raise Stop when `.venv` holds something that course.py did not make: only a person may delete that."""
    if (STATE / BEGUN).exists() or (VENV / STAMP).exists() or not any(VENV.iterdir()):
        return
    raise Stop(
        ".venv was not made by the course, and its Python does not run, or is older than 3.11. It is left alone.",
        f"To delete it: {this_command('clean-venv')}",
        "Or move it elsewhere. Then give the same command again.",
    )


def check_modules() -> None:
    """Raise Stop when Python's venv is missing or not complete, as Debian ships it."""
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return
    version = ".".join(map(str, sys.version_info[:2]))
    raise Stop(
        f"Python's module venv is missing, or not complete, in {sys.executable}.",
        f"On Debian or Ubuntu: sudo apt install python{version}-venv",
        "Elsewhere: take Python from https://www.python.org/downloads/. Then give the same command again.",
    )


def check_space(need: int) -> None:
    """Raise Stop when the repository's disk, or the temporary folder, has less than `need` bytes free."""
    for folder, bytes_needed in ((str(ROOT), need), (tempfile.gettempdir(), MORE_BYTES)):
        free = shutil.disk_usage(folder).free
        if free < bytes_needed:
            raise Stop(
                f"The disk of {folder} has {free / 1e9:.1f} GB free, and the packages need {bytes_needed / 1e9:.1f} GB.",
                "Make room (the temporary folder can be moved: set TMPDIR), then give the same command again.",
            )


def _runs(code: str) -> bool:
    try:
        return subprocess.run([venv_python(), "-c", code], capture_output=True).returncode == 0
    except OSError:
        return False


def _add_pip() -> None:
    """Add pip to a `.venv` that works and has none, as those that uv makes."""
    say(".venv has no pip, so it is added.")
    done = subprocess.run([venv_python(), "-m", "ensurepip"], capture_output=True, text=True)
    if done.returncode:
        raise _failure(done.stdout + done.stderr)


def _failure(words: str) -> Stop:
    if NO_SPACE.search(words):
        return no_space()
    return Stop(
        f".venv could not be made or completed: {words.strip()}",
        "Mend that, then give the same command again.",
    )
