"""Progress: written at once or not at all, by two notebooks at a time, and never a reason to stop."""

import json
import multiprocessing
import os
import sys

import pytest

import devicelab as lab
from devicelab.course import kept
from devicelab.course.question import progress as home
from devicelab.errors import InputError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DEVICELAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_nothing_is_written_before_something_was_passed(folder):
    assert lab.progress().passed == 0 and not folder.exists()


def test_a_pass_is_kept_once(folder):
    assert [home.note_passed(key) for key in ("01.q2", "01.q1", "01.q2")] == ["", "", ""]
    assert json.loads((folder / "progress.json").read_text()) == {"version": 1, "passed": ["01.q1", "01.q2"]}
    assert str(lab.progress(1)) == "Exercise 01  █████░░░░░  2 of 4 passed"
    assert [path.name for path in folder.iterdir() if path.suffix == ".tmp"] == []


def test_the_bar_has_words_beside_it():
    home.note_passed("01.q1")
    page = lab.progress(1)._repr_html_()
    assert "width:25%" in page and "1 of 4 passed" in page and "<svg" not in page and "<style" not in page


def test_all_exercises_are_summed():
    home.note_passed("01.q1")
    standing = lab.progress()
    assert standing.passed == 1 and standing.total == sum(count for _, _, count in standing.rows) >= 8
    assert str(standing).endswith(f"1 of {standing.total} questions passed.")


def test_an_unknown_exercise_is_refused():
    with pytest.raises(InputError, match="no exercise 99; there is 1"):
        lab.progress(99)


def test_reset_is_one_call(folder):
    home.note_passed("01.q1")
    assert lab.progress.reset() == "Your progress was reset: no question counts as passed now."
    assert lab.progress().passed == 0
    assert "was reset" in lab.progress.reset()  # twice is no error, nor without a folder


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"version": 2, "passed": []}', '{"version": 1, "passed": [1]}', "\xff", "[" * 100_000],
)
def test_a_damaged_file_is_reported_and_kept(folder, text):
    folder.mkdir()
    (folder / "progress.json").write_text(text, encoding="latin-1")
    assert "could not be read: progress.json" in str(lab.progress(1))
    assert (folder / "progress.json").read_text(encoding="latin-1") == text  # looking changes nothing
    note = home.note_passed("01.q1")
    assert note.startswith("Your progress began anew") and note.endswith(
        "It was kept as progress.damaged-1.json."
    )
    assert (folder / "progress.damaged-1.json").read_text(encoding="latin-1") == text
    assert lab.progress(1).passed == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_in_its_place_is_not_waited_for(folder):
    folder.mkdir()
    os.mkfifo(folder / "progress.json")
    assert "progress.json is damaged: it is no plain file" in str(lab.progress(1))
    assert home.note_passed("01.q1").endswith("It was kept as progress.damaged-1.json.")
    assert lab.progress(1).passed == 1


def test_a_second_damaged_file_does_not_replace_the_first(folder):
    folder.mkdir()
    for text in ("first", "second"):
        (folder / "progress.json").write_text(text)
        home.note_passed("01.q1")
    assert [(folder / f"progress.damaged-{n}.json").read_text() for n in (1, 2)] == ["first", "second"]


def test_a_place_that_cannot_be_written_is_reported(folder):
    folder.write_text("a file where the folder should be")
    assert home.note_passed("01.q1").startswith("Your progress was not stored: ")
    assert "could not be read" in str(lab.progress(1))


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may write anywhere"
)
def test_a_read_only_folder_is_reported(folder):
    folder.mkdir(mode=0o500)
    assert home.note_passed("01.q1").startswith("Your progress was not stored: ")


def test_a_write_that_fails_leaves_the_old_file(folder, monkeypatch):
    home.note_passed("01.q1")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert home.note_passed("01.q2") == "Your progress was not stored: [Errno 28] No space left on device"
    assert kept.read().passed == {"01.q1"} and {path.suffix for path in folder.iterdir()} <= {
        ".json",
        ".lock",
    }


def test_a_lock_that_is_held_is_reported(folder, monkeypatch):
    monkeypatch.setattr(kept, "WAIT", 0.05)
    folder.mkdir()
    with kept.lock():
        assert "another notebook held the file" in home.note_passed("01.q1")
    assert home.note_passed("01.q1") == ""


def _pass_many(name: str) -> None:
    for number in range(20):
        assert home.note_passed(f"{name}.q{number}") == ""


def test_two_notebooks_at_once_lose_nothing():
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    workers = [context.Process(target=_pass_many, args=(name,)) for name in ("01", "02")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0] and len(kept.read().passed) == 40


def test_without_the_variable_the_systems_place_is_taken(monkeypatch):
    monkeypatch.delenv("DEVICELAB_HOME")
    assert kept.path().name == "progress.json" and "devicelab" in kept.path().parent.name
