"""The learner's copies: what they hold, where their links lead, and that nothing a learner wrote is ever lost."""

import json
import posixpath
import shutil
import sys
from pathlib import Path

import pytest

from tools.setup import copies, lab
from tools.setup.say import ROOT, Stop


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A root with the course's own files and the copies made of them."""
    root = tmp_path_factory.mktemp("course")
    for folder in copies.PLACES:
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns(".*"))
    copies.copy_course(root)
    return root


@pytest.fixture
def small(tmp_path):
    """A root with one lesson, one exercise and one page."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("[01](../notebooks/01_a.ipynb#here), [top](../README.md)\n")
    for folder, link in (("notebooks", "../exercises/01_a.ipynb"), ("exercises", "../notebooks/01_a.ipynb")):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "01_a.ipynb", f"# 01\n[on]({link}), [page](../docs/page.md)")
    return tmp_path


def write(path: Path, text: str) -> None:
    ids = {"title": text, "badges": "[![x](https://a.org/b)](https://a.org)", "colab": "install"}
    cells = [
        {"cell_type": "markdown", "id": name, "metadata": {}, "source": source.splitlines(keepends=True)}
        for name, source in ids.items()
    ]
    path.write_text(json.dumps({"cells": cells}))


def test_a_copy_has_a_name_of_its_own_and_no_badges(small):
    made = copies.copy_course(small).new
    assert made == [
        "my_course/lessons/L01_a.ipynb",
        "my_course/exercises/E01_a.ipynb",
        "my_course/docs/page.md",
    ]
    cells = json.loads((small / made[0]).read_text("utf-8"))["cells"]
    assert [cell["id"] for cell in cells] == ["title"]
    assert cells[0]["source"][1] == "[on](../exercises/E01_a.ipynb), [page](../docs/page.md)"
    assert (small / made[2]).read_text(
        "utf-8"
    ) == "[01](../lessons/L01_a.ipynb#here), [top](../../README.md)\n"


def test_every_link_leads_inside_or_to_what_is_no_notebook(course):
    found = 0
    for path in sorted((course / copies.COURSE).rglob("[!.]*.*")):
        text = path.read_text("utf-8")
        for _, link in copies.LINK.findall(text if path.suffix == ".md" else prose(text)):
            place = link.partition("#")[0]
            target = posixpath.normpath(posixpath.join(path.parent.relative_to(course).as_posix(), place))
            inside = target.startswith(f"{copies.COURSE}/")
            assert (course / target if inside else ROOT / target).exists(), f"{path.name}: {link}"
            assert inside or not target.endswith(".ipynb") or target.startswith("solutions/"), (
                f"{path.name}: {link}"
            )
            found += 1
    assert found > 100


def prose(text: str) -> str:
    """Return the Markdown of a notebook."""
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def test_what_was_not_touched_is_renewed_when_asked(small):
    copies.copy_course(small)
    write(small / "notebooks" / "01_a.ipynb", "# 01, newer")
    copy = small / "my_course" / "lessons" / "L01_a.ipynb"
    before = copy.read_text("utf-8")
    assert copies.copy_course(small).behind == ["my_course/lessons/L01_a.ipynb"]
    assert copy.read_text("utf-8") == before
    assert copies.copy_course(small, renew=True).renewed == ["my_course/lessons/L01_a.ipynb"]
    assert "newer" in copy.read_text("utf-8")
    assert copies.copy_course(small, renew=True) == copies.Copied()


def test_what_a_learner_wrote_stays(small):
    copies.copy_course(small)
    copy = small / "my_course" / "exercises" / "E01_a.ipynb"
    copy.write_text("my answer")
    assert copies.copy_course(small, renew=True) == copies.Copied()  # changed, and nothing newer is there
    write(small / "exercises" / "01_a.ipynb", "# 01, newer")
    assert copies.copy_course(small, renew=True).changed == ["my_course/exercises/E01_a.ipynb"]
    assert copy.read_text() == "my answer"
    copy.rename(copy.with_name("mine.ipynb"))
    assert copies.copy_course(small).new == ["my_course/exercises/E01_a.ipynb"]


def test_a_lost_record_makes_no_copy_a_changed_one(small):
    copies.copy_course(small)
    (small / copies.COURSE / copies.MADE).unlink()
    assert copies.copy_course(small) == copies.Copied()
    write(small / "notebooks" / "01_a.ipynb", "# 01, newer")
    assert copies.copy_course(small).behind == ["my_course/lessons/L01_a.ipynb"]


def test_what_happened_is_told(capsys):
    copies.tell(
        copies.Copied(["a/L01.ipynb"], ["a/L02.ipynb"], ["a/L03.ipynb"], ["a/E01.ipynb"]), "lab --renew"
    )
    said = capsys.readouterr().out
    assert "1 made" in said and "Renewed: L02.ipynb" in said and "To renew them: lab --renew" in said
    assert "You changed E01.ipynb" in said


def test_no_copy_is_tracked():
    assert f"/{copies.COURSE}/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()


def test_a_new_copy_is_signed_and_nothing_else(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    (small / "my.ipynb").write_text(
        json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    lab.trust(Path(sys.executable), ["my_course/docs/page.md"], small)
    assert not (tmp_path / "data").exists()
    lab.trust(Path(sys.executable), ["my.ipynb", "my_course/docs/page.md"], small)
    assert (tmp_path / "data" / "nbsignatures.db").exists() and capsys.readouterr().out == ""


def test_copies_that_cannot_be_signed_are_told(small, capsys):
    lab.trust(Path(sys.executable), ["not_there.ipynb"], small)
    assert "could not be signed" in capsys.readouterr().out


def test_signing_costs_no_start_where_nothing_is_new(small):
    lab.trust(Path("no/such/python"), [], small)


@pytest.mark.parametrize("record", ['{"my_course/les', "[]", "\udcff"])
def test_a_damaged_record_loses_no_copy(record, small):
    copies.copy_course(small)
    lesson = small / "my_course" / "lessons" / "L01_a.ipynb"
    lesson.write_text("mine")
    (small / "my_course" / copies.MADE).write_text(record, encoding="utf-8", errors="surrogateescape")
    assert copies.copy_course(small).changed == ["my_course/lessons/L01_a.ipynb"]
    assert lesson.read_text() == "mine"


def test_a_full_disk_leaves_no_half_a_copy_that_would_be_taken_for_the_learners(small, monkeypatch):
    whole = Path.write_text

    def half(self, text, **options):
        whole(self, text[:5], **options)
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="No space left"):
        copies.copy_course(small)
    monkeypatch.undo()
    assert not list((small / "my_course" / "lessons").iterdir())
    assert len(copies.copy_course(small).new) == 3


@pytest.mark.parametrize("kind", ["folder", "link", "bytes"])
def test_what_a_learner_put_in_the_place_of_a_copy_stays(kind, small):
    copies.copy_course(small)
    copy = small / "my_course" / "lessons" / "L01_a.ipynb"
    copy.unlink()
    if kind == "folder":
        copy.mkdir()
    elif kind == "link":
        copy.symlink_to("/nowhere")
    else:
        copy.write_bytes(b"\xff\xfe\x00")
    write(small / "notebooks" / "01_a.ipynb", "# 01 anew")
    assert copies.copy_course(small, renew=True).changed == ["my_course/lessons/L01_a.ipynb"]
    assert copy.is_dir() == (kind == "folder") and copy.is_symlink() == (kind == "link")


@pytest.mark.parametrize("name", ["my_course", "my_course/lessons"])
def test_something_in_the_place_of_the_learners_folder_is_told(name, small):
    (small / name).parent.mkdir(exist_ok=True)
    (small / name).write_text("mine")
    with pytest.raises(Stop, match=f"{name} is in the way: it is no folder"):
        copies.copy_course(small)
    assert (small / name).read_text() == "mine"


def test_a_damaged_original_says_how_it_comes_back(small):
    (small / "notebooks" / "01_a.ipynb").write_text('{"cells": [')
    with pytest.raises(Stop, match=r"notebooks/01_a\.ipynb is damaged.*\n    Bring it back: git checkout"):
        copies.copy_course(small)


def test_copies_are_made_in_another_folder_where_one_is_given(small, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    assert len(copies.copy_course(small, into=own).new) == 3
    assert not (small / "my_course").exists() and (own / "my_course" / copies.MADE).exists()
