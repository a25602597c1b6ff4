"""course.py torches: which versions, in which Python, which tests, and that what fails or cannot run is told."""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools import cli
from tools.notebooks import versions
from tools.notebooks.marks import filled
from tools.notebooks.nbfiles import write
from tools.proof import torches as proof
from tools.proof.torches import Counts, Result, device_tests
from tools.setup import environment, torches, uv
from tools.setup.say import ROOT, Stop
from tools.setup.torches import NEWEST, TRIED, Target, target

HERE = ".".join(map(str, sys.version_info[:2]))
ME = Path(sys.executable)


def chosen(*arguments: str) -> argparse.Namespace:
    return cli.parser().parse_args(["torches", *arguments])


# --- which versions --------------------------------------------------------------------------------------------------


def test_a_version_names_a_torch_and_perhaps_a_python():
    assert target("2.8.0") == Target("2.8.0", "3.12") and target("2.8.0@3.11") == Target("2.8.0", "3.11")
    assert target("newest@3.13") == Target(NEWEST, "3.13")
    with pytest.raises(argparse.ArgumentTypeError, match=r"write 2\.8\.0"):
        target("2.8")


def test_the_oldest_and_the_newest_are_tried_and_each_once():
    targets = [target(text) for text in TRIED]
    assert len(set(targets)) == len(targets) and {t.python for t in targets} == {"3.11", "3.12", "3.13"}
    oldest, newest = (tuple(map(int, t.torch.split("."))) for t in (targets[0], target("newest")))
    assert oldest[:2] == environment.requirements._numbers(environment.requirements.torch_requirement())
    assert newest == max(tuple(map(int, t.torch.split("."))) for t in targets)


def test_github_tries_the_same_versions():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["torches"]
    rows = job["strategy"]["matrix"]["include"]
    assert [f"{row['torch']}@{row['python']}" for row in rows] == [
        f"{t.torch}@{t.python}" for t in map(target, TRIED)
    ]
    assert any(
        "course.py torches ${{ matrix.torch }}@${{ matrix.python }}" in s.get("run", "") for s in job["steps"]
    )


# --- which python ----------------------------------------------------------------------------------------------------


@pytest.fixture
def no_python(tmp_path, monkeypatch):
    """A machine without a Python but this one, whose uv knows of none."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setattr(uv, "uv", lambda *arguments: (_ for _ in ()).throw(Stop("no network")))
    return tmp_path


def shim(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="the made-up interpreters are shell scripts")
def test_a_shim_that_runs_no_python_is_passed_over_and_pyenvs_folder_is_looked_into(no_python):
    assert uv.interpreter(ME, "3.99") is None
    shim(no_python / "bin" / "python3.99", "echo 'pyenv: command not found' >&2; exit 127")
    assert uv.interpreter(ME, "3.99") is None
    real = no_python / "pyenv" / "versions" / "3.99.1" / "bin" / "python"
    shim(real, "echo 3.99")
    assert uv.interpreter(ME, "3.99") == real
    shim(no_python / "bin" / "python3.99", "echo 3.99")
    assert uv.interpreter(ME, "3.99") == no_python / "bin" / "python3.99"


def test_a_python_that_is_missing_is_said_or_replaced_when_asked(no_python, capsys):
    wanted = Target("2.15.0", "3.99")
    assert torches.python_for(ME, wanted, nearest=False) == (wanted, None)
    assert torches.python_for(ME, wanted, nearest=True) == (Target("2.15.0", HERE), ME)
    assert f"There is no Python 3.99 here: taking {HERE}." in capsys.readouterr().out


def test_a_version_without_its_python_is_in_the_table_and_alone_is_no_success(no_python, capsys):
    assert proof.main(ME, chosen("2.15.0@3.99")) == 1
    assert "NOT RUN: there is no Python 3.99 on this machine" in capsys.readouterr().out


# --- the environments ------------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path, monkeypatch):
    """What uv was asked for; each environment that it makes is empty."""
    asked: list[tuple[str, ...]] = []

    def pretend(home, *arguments):
        asked.append(arguments)
        if arguments[0] == "venv":
            python = Path(arguments[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()

    monkeypatch.setattr(torches, "FOLDER", tmp_path)
    monkeypatch.setattr(uv, "uv", pretend)
    return asked


@pytest.mark.skipif(sys.platform == "win32", reason="the made-up environment has a bin/")
def test_an_environment_is_kept_until_what_it_was_made_from_changes(made, monkeypatch):
    wanted = target("2.8.0@3.11")
    for _ in range(2):
        torches.make(ME, wanted, ME, cpu=False)
    assert [arguments[0] for arguments in made] == ["venv", "pip"]
    pins = Path(made[1][made[1].index("--constraint") + 1]).read_text(encoding="utf-8")
    assert "\ntorch==2.8.0\n" in pins and "\nnumpy==" in pins and "download.pytorch.org" not in str(made)
    torches.shutil.rmtree(wanted.folder)
    torches.make(ME, wanted, ME, cpu=True)
    assert "https://download.pytorch.org/whl/cpu" in made[-1]


def test_an_installation_that_fails_leaves_nothing_and_is_a_failure(made, monkeypatch, capsys):
    monkeypatch.setattr(uv, "interpreter", lambda home, version: ME)
    good = uv.uv

    def fails(home, *arguments):
        good(home, *arguments)
        if arguments[0] == "pip":
            raise uv.failure("Because there is no version of torch==9.9.9 and you require torch==9.9.9, ...")

    monkeypatch.setattr(uv, "uv", fails)
    assert proof.main(ME, chosen("9.9.9")) == 1
    assert "FAILED: the package index has no torch==9.9.9" in capsys.readouterr().out
    assert not target("9.9.9").folder.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("error: Request failed after 3 retries\n cause: error sending request for url", "does not answer"),
        ("hint: Packages were unavailable because the network was disabled.", "does not answer"),
        ("because torch==2.8.0 has no wheels with a matching Python ABI tag", "has no torch==2.8.0"),
        ("No space left on device (os error 28)", "the disk is full"),
        ("error: Querying Python\n failed", "uv could not do it: error: Querying Python failed"),
    ],
)
def test_what_uv_says_becomes_a_sentence(words, sentence):
    assert sentence in str(uv.failure(words))


def test_pips_own_index_is_uvs_too(monkeypatch):
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    assert uv.pip_settings(ME) == {"UV_DEFAULT_INDEX": "https://mirror.example/simple"}
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://mirror.example/simple")
    assert uv.pip_settings(ME) == {}


# --- what is run -----------------------------------------------------------------------------------------------------


def test_a_test_of_devices_is_chosen_by_what_it_imports(tmp_path):
    for number, text in enumerate(
        (
            "import devicelab as lab",
            "from devicelab.simgpu import simulate_gpu",
            "import tools.cli",
            "def test():\n    from tools import cli",
            "from devicelab.course.guess import guess",
            "from devicelab import course",
        )
    ):
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / f"test_{number}.py").write_text(text)
    assert [path.stem for path in device_tests(tmp_path)] == ["test_0", "test_1"]


def test_the_tests_of_every_instrument_are_among_them_and_this_one_is_not():
    names = {path.stem for path in device_tests()}
    for part in (
        "simgpu_errors",
        "explain",
        "estimate",
        "trace",
        "timing",
        "pytest_plugin",
        "placement",
        "session",
    ):
        assert f"test_{part}" in names
    assert {"test_run", "test_verdict", "test_doctor"} <= names
    assert Path(__file__).stem not in names


def test_what_a_python_compiles_is_kept_for_the_next_one_wherever_it_may_not_be_written(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "module.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import module; print(module.__cached__)"
    for _ in range(2):
        assert proof.counted([sys.executable, "-c", code], tmp_path / "tests.log") == Counts(0, 0, 0)
    kept = Path((tmp_path / "tests.log").read_text(encoding="utf-8").strip())
    assert kept.is_relative_to(tmp_path / "bytecode") and kept.exists()


@pytest.mark.parametrize(
    ("line", "code", "counts"),
    [
        ("12 passed, 3 skipped, 2 warnings in 4.2s", 0, Counts(12, 0, 3)),
        ("1 failed, 12 passed, 2 errors in 4.2s", 1, Counts(12, 3, 0)),
        ("!!!!!!! Interrupted: 1 error during collection !!!!!!!", 2, Counts(0, 1, 0)),
        ("Killed", 137, Counts(0, 1, 0)),
        ("", 0, Counts(0, 0, 0)),
    ],
)
def test_what_pytest_counts(line, code, counts):
    assert proof.counts(line, code) == counts


@pytest.fixture
def trial(tmp_path, monkeypatch):
    """A run in this Python, of one test file and one notebook, both made up; returns the exit status."""
    monkeypatch.setattr(torches, "FOLDER", tmp_path)
    monkeypatch.setattr(torches, "make", lambda *arguments, **named: ME)
    monkeypatch.setattr(uv, "interpreter", lambda home, version: ME)
    (tmp_path / "2.8.0-py3.12").mkdir()

    def run(test: str, printed: str) -> int:
        (tmp_path / "test_made.py").write_text(test)
        cell = new_code_cell("print('one')", id="a", execution_count=1)
        cell.outputs = [new_output("stream", name="stdout", text=printed)]
        write(tmp_path / "made.ipynb", new_notebook(cells=[cell]))
        monkeypatch.setattr(proof, "device_tests", lambda: [tmp_path / "test_made.py"])
        monkeypatch.setattr(proof, "lessons", lambda which: [tmp_path / "made.ipynb"])
        return proof.main(ME, chosen("2.8.0"))

    return run


@pytest.mark.parametrize(
    ("test", "printed", "status", "numbers"),
    [
        ("def test_one(): pass\n\ndef test_two(): pass\n", "one\n", 0, "2 0 0 1 0"),
        ("def test_one(): assert 0\n\ndef test_two(): pass\n", "another\n", 1, "1 1 0 0 1"),
    ],
)
@pytest.mark.slow
def test_a_failing_test_or_cell_is_counted_and_fails(trial, capsys, test, printed, status, numbers):
    assert trial(test, printed) == status
    row = capsys.readouterr().out.rpartition(proof.HEAD)[2]
    assert re.search(rf"2\.8\.0 +3\.12 +{numbers.replace(' ', ' +')} ", row)


# --- what is kept ----------------------------------------------------------------------------------------------------


def result(torch: str, passed: int) -> dict:
    counts = Counts(passed, 0, 1)
    return proof.row(Result(target(torch), counts, counts, 1.2, 3.4, (torch, "3.12.1")))


def test_a_newer_result_takes_the_place_of_the_older_and_versions_are_in_order(tmp_path, monkeypatch):
    path = tmp_path / "torches.json"
    monkeypatch.setattr(versions, "PAGES", ())
    versions.record([result("2.15.0", 1), result("2.9.1", 1)], path)
    versions.record([result("2.15.0", 2)], path)
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert [(row["torch"], row["tests"]["passed"]) for row in kept] == [("2.9.1", 1), ("2.15.0", 2)]
    assert "| 2.15.0 | 3.12.1 | 2 | 0 | 1 | 2 | 0 | 3 |" in versions.table(kept)


def test_the_pages_hold_the_recorded_table():
    for page in versions.PAGES:
        text = page.read_text(encoding="utf-8")
        table = versions.table(versions.read())
        assert filled(text, "torches", table) == text, "run python -m tools.notebooks.versions"


def test_another_table_is_noticed_and_a_page_without_marks_refused():
    text = versions.PAGES[0].read_text(encoding="utf-8")
    assert filled(text, "torches", versions.table([result("2.8.0", 1)])) != text
    with pytest.raises(Stop, match="once each"):
        filled("no marks", "torches", "")


@pytest.mark.skipif(not versions.read(), reason="no run is recorded yet")
def test_nothing_that_was_recorded_failed():
    assert all(row["tests"]["failed"] == row["cells"]["failed"] == 0 for row in versions.read())


def test_course_py_reads_its_options():
    words = subprocess.run([ME, "course.py", "torches", "2.8"], cwd=ROOT, capture_output=True, text=True)
    assert words.returncode == 2 and "is no version" in words.stderr
    assert chosen("newest", "--lessons", "all").lessons == "all"
