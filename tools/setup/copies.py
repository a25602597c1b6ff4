"""The learner's own course: copies of lessons, exercises and pages in my_course/, whose links lead to each other.

A copy has neither badges nor the cell for Colab, and a name that a narrow tab still tells apart (L03_..., E03_...). A tracked
file is never what a learner edits, and what a learner changed is never overwritten: MADE holds the digest of each copy as it was
made, and only one that is still so is renewed.
"""

import hashlib
import json
import os
import posixpath
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.setup.say import ROOT, Stop, folder_at, say

COURSE = "my_course"
VARIABLE = (
    "MY_COURSE"  # names the folder that holds the learner's COURSE where that is not the repository: on a hub
)
PLACES = {  # the folder of the originals: their suffix, the folder of the copies, what their names begin with
    "notebooks": (".ipynb", "lessons", "L"),
    "exercises": (".ipynb", "exercises", "E"),
    "docs": (".md", "docs", ""),
}
LEFT_OUT = {"badges", "colab"}  # ids of cells
MADE = ".made.json"
LINK = re.compile(r"""(\]\(|(?:href|src)=")((?:\.\./)*\w[\w./-]*)(?=[)#"])""")


@dataclass
class Copied:
    """What became of the copies, by their names: made anew, renewed, behind the original and unchanged, or changed."""

    new: list[str] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def learners_folder() -> Path:
    """Return the folder that holds the learner's COURSE."""
    return Path(os.environ.get(VARIABLE) or ROOT)


def place_of(original: str) -> str:
    """Return where the copy of a file lies, both as seen from the root; a file that is not copied stays where it is."""
    folder, _, name = original.partition("/")
    suffix, copies, begins = PLACES.get(folder, ("", "", ""))
    is_copied = bool(suffix) and "/" not in name and name.endswith(suffix)
    return f"{COURSE}/{copies}/{begins}{name}" if is_copied else original


def with_links(text: str, original: str) -> str:
    """Return a text of the file `original` with its relative links as its copy needs them."""
    here, there = posixpath.dirname(original), posixpath.dirname(place_of(original))

    def moved(found: re.Match[str]) -> str:
        target = place_of(posixpath.normpath(posixpath.join(here, found[2])))
        return found[1] + posixpath.relpath(target, there)

    return LINK.sub(moved, text)


def copy_of(path: Path, original: str) -> str:
    """Return the text of a file's copy."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return with_links(text, original)
    try:
        notebook = json.loads(text)
    except ValueError as error:
        raise Stop(
            f"{original} is damaged, so it cannot be copied: {error}.",
            f"Bring it back: git checkout -- {original}",
        ) from None
    notebook["cells"] = [cell for cell in notebook["cells"] if cell.get("id") not in LEFT_OUT]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = [with_links(line, original) for line in cell["source"]]
    return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def originals(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield each file that is copied: its name as seen from the root, and its path."""
    for folder, (suffix, _, _) in PLACES.items():
        for path in sorted((root / folder).glob(f"*{suffix}")):
            yield f"{folder}/{path.name}", path


def copy_course(root: Path = ROOT, *, into: Path | None = None, renew: bool = False) -> Copied:
    """Make the copies of `root` that are missing and, with `renew`, anew those that are behind and that nobody changed.

    They are made in the learner's folder `into`, where that is not `root` itself.
    """
    own = into or root
    record = own / COURSE / MADE
    made = _made(record)
    copied = Copied()
    for original, path in originals(root):
        name, text = place_of(original), copy_of(path, original)
        kind = _kind(own / name, digest(text), made.get(name), renew)
        if kind in ("new", "renewed"):
            folder_at(own / COURSE)
            write(folder_at((own / name).parent) / Path(name).name, text)
        if kind in ("new", "renewed", "same"):
            made[name] = digest(text)
        if kind != "same":
            getattr(copied, kind).append(name)
    folder_at(own / COURSE)
    write(record, json.dumps(made, indent=1) + "\n")
    return copied


def _made(record: Path) -> dict[str, str]:
    """Return what was noted of the copies; nothing where that is damaged: then each that differs is taken for changed."""
    try:
        kept = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all: no half of it, from a full disk or an interrupt, is taken for the learner's."""
    half = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        half.write_text(text, encoding="utf-8", newline="\n")
        os.replace(half, path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def _kind(copy: Path, due: str, made: str | None, renew: bool) -> str:
    """Return the list of Copied to which a copy belongs; "same" where nothing newer is there, changed or not."""
    if not os.path.lexists(copy):
        return "new"
    if not copy.is_file():
        return "changed"  # a folder, or a link to nothing
    now = digest(copy.read_text(encoding="utf-8", errors="replace"))
    if due in (made, now):
        return "same"
    if now == made:
        return "renewed" if renew else "behind"
    return "changed"


def digest(text: str) -> str:
    """Return what stands for a text in MADE."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def tell(copied: Copied, command: str) -> None:
    """Say what was copied, what could be renewed by `command`, and what is left alone."""
    if copied.new:
        say(
            f"Your own copies are in {COURSE}/: {len(copied.new)} made. Work there; no update overwrites them."
        )
    if copied.renewed:
        say(f"Renewed: {_names(copied.renewed)}.")
    if copied.behind:
        say(
            f"There is a newer {_names(copied.behind)}, and you changed nothing in yours. To renew them: {command}"
        )
    if copied.changed:
        say(
            f"You changed {_names(copied.changed)}, and a newer one is there. Yours stays; rename it to get the other."
        )


def _names(copies: list[str]) -> str:
    return ", ".join(name.rpartition("/")[2] for name in copies)
