"""The addresses: one place, rewritten everywhere; and every link inside the course leads somewhere."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest

from tools.notebooks import links
from tools.notebooks.links import Place
from tools.setup.say import ROOT, Stop

NOTEBOOKS = sorted(path for folder in links.NOTEBOOK_FOLDERS for path in (ROOT / folder).glob("*.ipynb"))
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?!https?:|mailto:)([^)#\s]+)(?:#[^)]*)?\)")


@pytest.fixture
def copy(tmp_path):
    """The files that hold addresses."""
    for path in [*NOTEBOOKS, *(ROOT / name for name in (*links.PAGES, links.SETTINGS))]:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def texts(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def cells(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return {cell["id"]: "".join(cell["source"]) for cell in notebook["cells"]}


def test_the_address_is_rewritten_everywhere_and_back(copy):
    old = links.read_place(copy)
    links.main([], copy)
    before = texts(copy)
    links.main(["REPO=acme-lab/gpu.course", "REF=v1.2"], copy)
    assert links.read_place(copy) == Place("acme-lab/gpu.course", "v1.2")
    assert not [path for path, text in texts(copy).items() if old.repo.encode() in text]
    assert not [path for path, text in texts(copy).items() if f"gpu.course/{old.ref}?".encode() in text]
    assert not [path for path, text in texts(copy).items() if f"gpu.course/blob/{old.ref}/".encode() in text]
    links.main([f"REPO={old.repo}", f"REF={old.ref}"], copy)
    assert texts(copy) == before


def test_writing_twice_changes_nothing(copy, capsys):
    links.main(["REF=v2"], copy)
    capsys.readouterr()
    links.main([], copy)
    assert "0 files changed" in capsys.readouterr().out


def test_each_notebook_opens_itself_and_a_solution_its_exercise(copy):
    links.main(["REPO=acme/course", "REF=v1"], copy)
    assert list(copy.glob("notebooks/00_*.ipynb"))
    for path in copy.glob("*/*.ipynb"):
        folder = "exercises" if path.parent.name == "solutions" else path.parent.name
        opened = f"{folder}/{path.name}"
        badges = cells(path)[links.BADGES]
        assert f"https://mybinder.org/v2/gh/acme/course/v1?urlpath=lab/tree/{opened})" in badges
        assert f"https://colab.research.google.com/github/acme/course/blob/v1/{opened})" in badges


def test_the_other_cells_and_their_outputs_stay(copy):
    def others(path):
        made = (links.BADGES, links.COLAB)
        return [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["id"] not in made]

    before = {path: others(path) for path in copy.glob("*/*.ipynb")}
    links.main(["REF=v9"], copy)
    assert {path: others(path) for path in before} == before and before


def test_a_notebook_without_the_two_cells_gets_them():
    title = {"cell_type": "markdown", "id": "title", "metadata": {}, "source": ["# 09"]}
    code = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "source": ["1"],
        "outputs": [],
        "execution_count": 1,
    }
    text = links.with_cells(json.dumps({"cells": [title, code]}), "notebooks/09.ipynb", Place("a/b", "v1"))
    assert [cell["id"] for cell in json.loads(text)["cells"]] == ["title", "badges", "colab", "a"]


def test_the_colab_cell_goes_right_after_the_title():
    def cell(kind, identity, source):
        return {"cell_type": kind, "id": identity, "metadata": {}, "source": [source]}

    made = [cell("markdown", "badges", ""), cell("code", "colab", "# of old")]
    rest = [
        cell("markdown", "title", "# 09"),
        cell("markdown", "how-to", "# no title"),
        cell("code", "a", "# 1"),
    ]
    text = links.with_cells(json.dumps({"cells": made + rest}), "notebooks/09.ipynb", Place("a/b", "v1"))
    assert [c["id"] for c in json.loads(text)["cells"]] == ["title", "badges", "colab", "how-to", "a"]


def test_the_colab_cell_does_nothing_elsewhere_and_never_touches_torch():
    source = Place("acme/course", "v1.2.0").bootstrap()
    guard, install = source.splitlines()[-2:]
    assert guard.startswith('if "google.colab" in sys.modules:')
    wheel = "https://github.com/acme/course/releases/download/v1.2.0/devicelab-1.2.0-py3-none-any.whl"
    assert install == f"    %pip install --quiet --no-deps {wheel}"


@pytest.mark.parametrize(
    "setting", ["REPO=course", "REPO=a/b/c", "REPO=", "REF=feature/x", "REF=", "REF=main", "TAG=v1", "v1"]
)
def test_what_is_no_address_is_refused_and_changes_nothing(setting, copy):
    before = texts(copy)
    with pytest.raises(Stop, match=r"must|no setting"):
        links.main([setting], copy)
    assert texts(copy) == before


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem[:2]}")
def test_the_committed_badges_are_those_of_the_one_place(path):
    place = links.read_place()
    assert cells(path)[links.BADGES] == place.badges(links.target(path))
    assert cells(path)[links.COLAB] == place.bootstrap()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_within_a_page_lead_somewhere(page):
    assert broken(page.read_text(encoding="utf-8"), page.parent) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem[:2]}")
def test_links_within_a_notebook_lead_somewhere(path):
    notebook = json.loads(path.read_text("utf-8"))
    prose = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    assert broken("\n".join(prose), path.parent) == []


def test_a_broken_link_would_be_found():
    assert broken("see [this](README.md), [that](nothing.md#part), [web](https://a.org)", ROOT) == [
        "nothing.md"
    ]


def broken(text: str, folder: Path) -> list[str]:
    """Return the relative links in `text` that lead nowhere from `folder`."""
    return [link for link in LINK.findall(text) if not (folder / unquote(link)).exists()]
