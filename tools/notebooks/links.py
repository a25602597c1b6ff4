"""Where the course is published: tools/notebooks/links.toml, and everything that repeats it.

`course.py links REPO=org/name REF=tag` rewrites the address in the pages, and the badges and the Colab cell on top of every
lesson and solution. Those two cells are made here; write none by hand.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from tools.notebooks.marks import filled
from tools.setup.lab import first_lesson
from tools.setup.say import ROOT, Stop, say

SETTINGS = "tools/notebooks/links.toml"
PAGES = ("README.md", "utils/README.md", "CITATION.cff", "CONTRIBUTING.md", "pyproject.toml")
NOTEBOOK_FOLDERS = ("notebooks", "solutions", "exercises")
BADGES, COLAB = "badges", "colab"  # the ids of the two cells
BINDER_BADGE = "https://mybinder.org/badge_logo.svg"
COLAB_BADGE = "https://colab.research.google.com/assets/colab-badge.svg"


@dataclass(frozen=True)
class Place:
    """A published repository: `repo` is org/name, `ref` the tag of a release.

    Binder builds an image for each commit that a badge leads to: a tag's is built once, a branch's after every commit.
    """

    repo: str
    ref: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", self.repo):
            raise Stop(f'REPO must look like org/name, but it is "{self.repo}".')
        if not re.fullmatch(r"v[0-9]+(\.[0-9]+)*(rc[0-9]+)?", self.ref):
            raise Stop(f'REF must be the tag of a release, such as v1.0.0, but it is "{self.ref}".')

    def github(self) -> str:
        """Return the repository's address."""
        return f"https://github.com/{self.repo}"

    def binder(self, notebook: str) -> str:
        """Return the address that opens `notebook` in JupyterLab on Binder."""
        return f"https://mybinder.org/v2/gh/{self.repo}/{self.ref}?urlpath={quote('lab/tree/' + notebook)}"

    def colab(self, notebook: str) -> str:
        """Return the address that opens `notebook` on Colab."""
        return f"https://colab.research.google.com/github/{self.repo}/blob/{self.ref}/{quote(notebook)}"

    def badges(self, notebook: str) -> str:
        """Return the launch badges of `notebook` as Markdown."""
        binder = f"[![Launch on Binder]({BINDER_BADGE})]({self.binder(notebook)})"
        colab = f"[![Open in Colab]({COLAB_BADGE})]({self.colab(notebook)})"
        return f"{binder} {colab}"

    def wheel(self) -> str:
        """Return the address of the release's wheel, which release.yml puts beside its tag."""
        name = f"devicelab-{self.ref.removeprefix('v')}-py3-none-any.whl"
        return f"{self.github()}/releases/download/{self.ref}/{name}"

    def bootstrap(self) -> str:
        """Return the guarded cell that brings devicelab to Colab, as a wheel, without a build; its torch is never touched."""
        return (
            "import sys\n\n"
            'if "google.colab" in sys.modules:  # only on Colab: fetch devicelab alone, and leave its torch as it is\n'
            f"    %pip install --quiet --no-deps {self.wheel()}"
        )


def read_place(root: Path = ROOT) -> Place:
    """Return where the course is published, as tools/notebooks/links.toml says."""
    settings = tomllib.loads((root / SETTINGS).read_text(encoding="utf-8"))
    return Place(settings["repo"], settings["ref"])


def main(settings: Sequence[str], root: Path = ROOT) -> int:
    """Write the address everywhere, after changing it when `settings` holds REPO=org/name or REF=tag."""
    old = read_place(root)
    new = replace(old, **_parsed(settings))
    texts = {path: _page(path, rewritten(_read(path), old, new), new) for path in _texts(root)}
    texts |= {path: with_cells(_read(path), target(path), new) for path in _notebooks(root)}
    changed = [path for path, text in texts.items() if _rewrite(path, text)]
    for path in changed:
        say(f"  {path.relative_to(root).as_posix()}")
    say(f"{len(changed)} files changed; the links lead to {new.repo} at {new.ref}.")
    return 0


def _parsed(settings: Sequence[str]) -> dict[str, str]:
    pairs = dict(setting.partition("=")[::2] for setting in settings)
    for name in pairs:
        if name not in ("REPO", "REF"):
            raise Stop(f'"{name}" is no setting.', "Give REPO=org/name, REF=tag or both.")
    return {name.lower(): value for name, value in pairs.items()}


def rewritten(text: str, old: Place, new: Place) -> str:
    """Return `text` with every address of the old place changed to the new one."""
    text = text.replace(f"v2/gh/{old.repo}/{old.ref}", f"v2/gh/{new.repo}/{new.ref}")
    text = text.replace(f"{old.repo}/blob/{old.ref}/", f"{new.repo}/blob/{new.ref}/")
    text = text.replace(f"{old.github()}@{old.ref}", f"{new.github()}@{new.ref}")
    text = text.replace(f'ref = "{old.ref}"', f'ref = "{new.ref}"')
    return text.replace(old.repo, new.repo)


def _page(path: Path, text: str, place: Place) -> str:
    """Return a page's text; README.md opens the first lesson, the package's own opens none."""
    return (
        filled(text, "launch", place.badges(first_lesson(path.parent)))
        if path.name == "README.md" and path.parent.name != "utils"
        else text
    )


def target(path: Path) -> str:
    """Return the notebook that the badges of `path` open: a solution's open its exercise."""
    folder = "exercises" if path.parent.name == "solutions" else path.parent.name
    return f"{folder}/{path.name}"


def with_cells(text: str, opens: str, place: Place) -> str:
    """Return a notebook's text with the badges and the Colab cell of `place` right after the title, in this order."""
    notebook = json.loads(text)
    cells = notebook["cells"]
    badges, colab = (
        _cell(cells, BADGES) or _new(BADGES, "markdown"),
        _cell(cells, COLAB) or _new(COLAB, "code"),
    )
    rest = [cell for cell in cells if cell is not badges and cell is not colab]
    place_of_both = _after_title(rest)
    notebook["cells"] = [*rest[:place_of_both], badges, colab, *rest[place_of_both:]]
    badges["source"] = place.badges(opens).splitlines(keepends=True)
    colab["source"] = place.bootstrap().splitlines(keepends=True)
    colab["metadata"].setdefault("jupyter", {})["source_hidden"] = True  # it is no part of the lesson
    return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _cell(cells: Iterable[dict], identity: str) -> dict | None:
    return next((cell for cell in cells if cell.get("id") == identity), None)


def _after_title(cells: list[dict]) -> int:
    titles = (n for n, cell in enumerate(cells) if "".join(cell["source"]).startswith("# "))
    return next((n + 1 for n in titles if cells[n]["cell_type"] == "markdown"), 0)


def _new(identity: str, kind: str) -> dict:
    cell: dict = {"cell_type": kind, "id": identity, "metadata": {}, "source": []}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def _texts(root: Path) -> list[Path]:
    return [path for path in (root / name for name in (*PAGES, SETTINGS)) if path.exists()]


def _notebooks(root: Path) -> list[Path]:
    return sorted(path for folder in NOTEBOOK_FOLDERS for path in (root / folder).glob("*.ipynb"))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _rewrite(path: Path, text: str) -> bool:
    if text == _read(path):
        return False
    path.write_text(text, encoding="utf-8", newline="\n")
    return True
