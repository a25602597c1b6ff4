"""%%elsewhere: a script in a fresh Python that has a package, and the stored run where there is none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from devicelab.course import elsewhere
from devicelab.course.elsewhere import running, runs
from devicelab.course.elsewhere.running import Run, find, run
from devicelab.course.elsewhere.runs import digest
from tools.notebooks import warm

CODE = "import jax\nprint(jax.words)\n"


@pytest.fixture(autouse=True)
def nothing_printed(monkeypatch):
    monkeypatch.setattr(elsewhere, "printed", {})
    ask = running.version
    ask.cache_clear()
    yield
    ask.cache_clear()


@pytest.fixture
def no_python(monkeypatch):
    monkeypatch.setenv(running.VARIABLE, "stored")


@pytest.fixture
def one_run(monkeypatch, tmp_path):
    """A file of runs that holds the one of CODE."""
    kept = {digest("jax", CODE): {"name": "jax", "version": "0.9", "printed": ["from the file"]}}
    (tmp_path / "runs.json").write_text(json.dumps(kept), encoding="utf-8")
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs.json")
    runs._runs.cache_clear()
    yield
    runs._runs.cache_clear()


@pytest.fixture
def python(tmp_path, monkeypatch):
    """This Python, which finds a package jax 0.7 that prints where it was started."""
    package = tmp_path / "lib" / "jax"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import os\nwords = f'{os.listdir()} {os.environ[\"JAX_PLATFORMS\"]}'\n"
    )
    about = tmp_path / "lib" / "jax-0.7.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: jax\nVersion: 0.7\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv(running.VARIABLE, sys.executable)
    return sys.executable


def test_a_script_runs_in_an_empty_folder_with_the_settings_and_what_it_prints_is_kept(python, capsys):
    elsewhere.elsewhere("jax", CODE)
    assert capsys.readouterr().out == "[jax 0.7]\n[] cpu\n"
    assert elsewhere.printed == {"jax": "[] cpu\n"}


def test_a_script_that_fails_ends_with_the_last_line_of_its_traceback(python, capsys):
    elsewhere.elsewhere("jax", "print('so far')\nraise ValueError('no further')\n")
    assert capsys.readouterr().out == "[jax 0.7]\nso far\nValueError: no further\n"


def test_warnings_and_logs_are_left_out(python):
    assert run(python, "jax", "import sys\nprint('a log', file=sys.stderr)\nprint(1)\n") == Run("0.7", "1\n")


def test_a_script_that_never_ends_is_stopped(python, monkeypatch):
    monkeypatch.setattr(running, "SECONDS", 0.5)
    assert run(python, "jax", "import time\ntime.sleep(60)\n").text == "It was stopped after 0.5 seconds.\n"


def test_a_package_on_top_of_pytorch_finds_the_card_that_is_simulated_here(python):
    code = "import torch\nprint(torch.cuda.get_device_name())\n"
    assert run(python, "keras", code, "NVIDIA L4").text.splitlines()[1:] == ["NVIDIA L4"]


def test_where_no_python_has_the_package_a_stored_run_of_the_same_lines_answers_and_says_so(
    no_python, one_run, capsys
):
    elsewhere.elsewhere("jax", "import jax  # a comment\n\nprint(jax.words)")
    assert capsys.readouterr().out == "[jax 0.9, a stored run]\nfrom the file\n"
    assert elsewhere.printed == {"jax": "from the file\n"}


@pytest.mark.parametrize("code", [CODE + "1\n", CODE.replace("words", "word"), "  " + CODE])
def test_other_lines_have_no_stored_run_and_that_is_said_in_one_sentence(no_python, one_run, capsys, code):
    elsewhere.elsewhere("jax", code)
    said = capsys.readouterr().out
    assert said.startswith("jax is not installed here, and no run of these lines was stored.")
    assert "course.py lab --frameworks" in said and said.count("\n") == 1
    assert elsewhere.printed == {}


def test_a_run_is_for_its_package():
    assert digest("jax", CODE) != digest("keras", CODE)


def test_an_unknown_package_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="%%elsewhere mxnet: there are tensorflow, jax, keras"):
        elsewhere.elsewhere("mxnet", "")


def test_here_says_what_runs_and_what_answers_by_stored_runs(python, capsys):
    elsewhere.here()
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("Run here, each script in a Python of its own: ") and "jax" in first


def test_here_says_how_to_install_what_is_missing(no_python, capsys):
    elsewhere.here()
    said = capsys.readouterr().out
    assert said.startswith("Not installed here, so stored runs answer: tensorflow, jax, keras, accelerate")
    assert "course.py lab --frameworks" in said


def test_a_python_that_is_named_is_asked_first(python, monkeypatch, capsys):
    monkeypatch.setenv(running.VARIABLE, "stored")
    elsewhere.here(python)
    assert os.environ[running.VARIABLE] == python and find("jax") == python


def test_a_python_that_is_not_there_has_nothing():
    assert running.version("/no/such/python", "jax") == ""


def test_the_environment_beside_this_one_is_asked_last(monkeypatch, tmp_path):
    monkeypatch.delenv(running.VARIABLE, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    asked: list[str] = []
    monkeypatch.setattr(running, "version", lambda python, name: asked.append(python) or "")
    assert find("jax") is None
    assert asked[0] == sys.executable and Path(asked[-1]).parents[1] == tmp_path / ".venv-frameworks"


def test_the_cell_magic_is_there_after_the_import_and_its_import_loads_no_torch():
    shell = "from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance()"
    use = "s.run_line_magic('lsmagic', ''); print('elsewhere' in s.magics_manager.magics['cell'])"
    done = warm.run("-c", f"{shell}\nfrom devicelab.course import elsewhere\n{use}")
    assert done.stdout.strip().endswith("True"), done.stderr
    light = "import sys, devicelab.course.elsewhere; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", light], capture_output=True, text=True).stdout == "False\n"
