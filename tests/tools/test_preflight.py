"""`course.py preflight`: each check can say NO, and then says what to do."""

import socket
import subprocess
import sys

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools.notebooks.nbfiles import write
from tools.proof import hub_preflight, preflight
from tools.setup import environment
from tools.setup.say import Stop

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}


@pytest.mark.parametrize(("free", "state"), [(0.5e9, "NO"), (1.5e9, "ok")])
def test_the_room_on_the_disk(free, state):
    assert preflight.disk(free).state == state


@pytest.mark.parametrize(
    ("free", "state", "word"), [(0.5e9, "NO", "Close"), (1.5e9, "look", "one lesson"), (4e9, "ok", "")]
)
def test_the_memory(free, state, word):
    made = preflight.memory(free)
    assert made.state == state and word in made.words


def test_a_port_that_is_taken_is_passed_over_and_no_free_one_is_told():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        assert preflight.port(range(number, number + 1)).state == "NO"
        assert preflight.port(range(number, number + 50)).words != f"{number} is free"


def test_a_package_that_is_missing_is_named(monkeypatch):
    assert preflight.python().state == "ok"
    monkeypatch.setattr(environment, "missing", lambda extras: ["anywidget"])
    assert preflight.python().state == "NO" and "anywidget" in preflight.python().words


def test_a_browser_without_a_display_is_something_to_know(monkeypatch):
    monkeypatch.setattr(preflight, "has_display", lambda *_: False)
    assert preflight.browser().state == "look"


def test_the_gpu_is_told_in_the_lessons_words(monkeypatch):
    monkeypatch.setenv("DEVICELAB_GPU", "off")
    assert preflight.gpu().words.startswith("No GPU is used: DEVICELAB_GPU is off.")
    monkeypatch.setenv("DEVICELAB_GPU", "sometimes")
    made = preflight.gpu()
    assert made.state == "NO" and "DEVICELAB_GPU must be" in made.words


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for Python is a script with #!")
def test_a_server_that_ends_at_once_is_told_with_its_last_line(tmp_path, monkeypatch):
    fake = tmp_path / "python"
    fake.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no such module: jupyterlab')\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    made = preflight.server(tmp_path)
    assert made.state == "NO" and made.words.endswith("no such module: jupyterlab")


@pytest.mark.parametrize(("source", "state"), [("x = 1", "ok"), ("1 / 0", "NO")])
def test_a_lesson_that_fails_is_told_with_its_error(source, state, tmp_path):
    path = tmp_path / "00_made.ipynb"
    write(path, new_notebook(cells=[new_code_cell(source)], metadata=KERNEL))
    made = preflight.lesson(tmp_path, path)
    assert made.state == state and made.words.startswith("00_made: ")
    assert ("ZeroDivisionError" in made.words) == (state == "NO")


def test_the_end_says_whether_all_is_well(monkeypatch, capsys):
    for states, code, last in [
        (("ok", "look"), 0, "The lessons run here."),
        (("ok", "NO"), 1, "Mend what says NO"),
    ]:
        made = [preflight.Check("x", state, "words") for state in states]
        monkeypatch.setattr(
            preflight, "checks", lambda folder, made=made: [lambda one=one: one for one in made]
        )
        assert preflight.main() == code
        assert capsys.readouterr().out.strip().splitlines()[-1].startswith(last)


@pytest.mark.parametrize(
    ("free", "state", "word"), [(16e9, "NO", "enough for 28"), (17e9, "ok", "30 learners")]
)
def test_the_memory_of_a_hub(free, state, word):
    made = hub_preflight.memory(30, free)
    assert made.state == state and word in made.words


def test_the_cores_and_the_disk_of_a_hub():
    assert hub_preflight.cores(40, 2).state == "ok"
    assert hub_preflight.cores(41, 2).state == "look"
    assert hub_preflight.disk(30, 2.9e9).state == "NO"
    assert hub_preflight.disk(30, 3.1e9).state == "ok"


def test_the_port_of_a_hub():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        made = preflight.port(range(number, number + 1), "hub room --port 9000")
        assert made.state == "NO" and made.words.endswith("hub room --port 9000")


@pytest.mark.skipif(sys.platform != "linux", reason="a room needs Linux")
def test_a_room_needs_root_and_a_python_that_others_may_run(monkeypatch):
    monkeypatch.setattr(hub_preflight.os, "geteuid", lambda: 1000)
    assert hub_preflight.room().state == "look"
    monkeypatch.setattr(hub_preflight.os, "geteuid", lambda: 0)

    def closed(hub):
        raise Stop("Learners could not run the course's Python.", "Put it elsewhere.")

    monkeypatch.setattr(hub_preflight.refusals, "check_learners_can_run", closed)
    assert hub_preflight.room().line.endswith("Learners could not run the course's Python.")
    monkeypatch.setattr(hub_preflight.refusals, "check_learners_can_run", lambda hub: None)
    assert hub_preflight.room().state == "ok"


def test_a_hub_that_does_not_start_is_told_with_its_last_line(monkeypatch):
    said = subprocess.CompletedProcess([], 1, "Measured: ...\n", "the hub did not start\n")
    monkeypatch.setattr(hub_preflight.subprocess, "run", lambda *_, **__: said)
    made = hub_preflight.lesson()
    assert made.state == "NO" and made.words == "the hub did not start"
    said = subprocess.CompletedProcess([], 0, "| from login to the end of the first cell | 4 s | 5 s |\n", "")
    monkeypatch.setattr(hub_preflight.subprocess, "run", lambda *_, **__: said)
    assert hub_preflight.lesson().words == "a learner's first cell ended 5 s after the login"
