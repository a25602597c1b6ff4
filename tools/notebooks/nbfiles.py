"""The course's notebook files: where they are, how they are read and written, and a private place to run them."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from devicelab.course.elsewhere.running import VARIABLE as FRAMEWORKS
from tools.setup.say import ROOT

LESSONS = ROOT / "notebooks"
SOLUTIONS = ROOT / "solutions"
EXERCISES = ROOT / "exercises"
SANITIZE = ROOT / "tests" / "nbval_sanitize.cfg"
IGNORED = "nbval-ignore-output"
CELL_SECONDS = 60  # a cell that takes longer is taken for dead

_FOLDERS = {
    "IPYTHONDIR": "ipython",
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "DEVICELAB_HOME": "home",
}


class NoNotebooks(Exception):
    """A folder that should hold notebooks holds none: a check over it would prove nothing."""


def find(*folders: Path) -> list[Path]:
    """Return every notebook of the folders, in order; raise NoNotebooks for a folder without one."""
    found = []
    for folder in folders:
        here = sorted(p for p in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
        if not here:
            raise NoNotebooks(f"There is no notebook in {folder}.")
        found += here
    return found


def named(paths: Iterable[str]) -> list[Path]:
    """Return the notebooks that a command line names, as files or folders."""
    found = []
    for path in (Path(name).resolve() for name in paths):
        if path.is_dir():
            found += find(path)
        elif path.suffix == ".ipynb" and path.exists():
            found.append(path)
        else:
            raise NoNotebooks(f"{path} is neither a notebook nor a folder of notebooks.")
    return found


def short(path: Path) -> str:
    """Return the path as seen from the repository."""
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def read(path: Path) -> NotebookNode:
    """Read a notebook in the present format."""
    return nbformat.read(path, as_version=4)


def text_of(notebook: NotebookNode) -> str:
    """Return the one form in which a notebook is stored: sorted keys, one newline at the end."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def write(path: Path, notebook: NotebookNode) -> bool:
    """Store a notebook and say whether that changed the file."""
    text = text_of(notebook)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return True


def tags(cell: NotebookNode) -> set[str]:
    """Return the tags of a cell."""
    return set(cell.metadata.get("tags", []))


def is_code(cell: NotebookNode) -> bool:
    """Say whether this is a code cell that holds anything."""
    return cell.cell_type == "code" and bool(cell.source.strip())


def private_environment(folder: Path) -> dict[str, str]:
    """Return the variables that keep Jupyter, IPython and the course out of this person's own folders."""
    places = {variable: folder / name for variable, name in _FOLDERS.items()}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    host = os.environ.get(
        "DEVICELAB_HOST", "nominal"
    )  # compared outputs hold simulated times; empty measures this machine
    frameworks = os.environ.get(FRAMEWORKS, "stored")  # lesson 12's are run by the mode `frameworks` alone
    chosen = {"DEVICELAB_HOST": host, FRAMEWORKS: frameworks}
    return {variable: str(place) for variable, place in places.items()} | chosen


def device_environment(device: str | None = None) -> dict[str, str]:
    """Return DEVICELAB_GPU: `device`, else what is set already, else the simulated GPU; "off" hides real ones, too.

    A lesson may ask CUDA for its GPUs before its `start`, and then `start` could not hide them any more.
    """
    chosen = device or os.environ.get("DEVICELAB_GPU") or "simulated"
    return {"DEVICELAB_GPU": chosen} | ({"CUDA_VISIBLE_DEVICES": ""} if chosen == "off" else {})


def sanitize_rules(section: str | None = None) -> list[tuple[re.Pattern[str], str]]:
    """Return the rules of tests/nbval_sanitize.cfg, or of one [section] of it, as nbval reads them."""
    text = SANITIZE.read_text(encoding="utf-8")
    if section is not None:
        text = text.split(f"\n[{section}]", 1)[1].split("\n[", 1)[0]
    pairs = re.findall("^regex: (.*)$\n^replace: (.*)$", text, flags=re.MULTILINE)
    return [(re.compile(regex), replacement) for regex, replacement in pairs]
