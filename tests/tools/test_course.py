"""course.py: what it says when something is missing, what it sets up, and how the lab starts and ends."""

import ast
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tools import cli
from tools.proof import checks
from tools.setup import environment, lab, pip, requirements, torch_choice, venv
from tools.setup.say import ROOT, Stop

OFFLINE = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",  # the discard port: nobody answers
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_RETRIES": "0",
}


@pytest.fixture
def sandbox(tmp_path):
    """A copy of the course without .venv: enough of it to be set up."""
    for name in ("course.py", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        ROOT / "utils", tmp_path / "utils", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_first.ipynb").write_text("{}")
    return tmp_path


def course(folder, *arguments, patch="", **variables):
    """Run course.py in `folder` with a bare Python, after `patch`; return the exit status and what it printed."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site" / "sitecustomize.py").write_text(patch)
    variables = {**os.environ, "PYTHONPATH": str(folder / "site"), **variables}
    command = [base_python(), "course.py", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def base_python():
    """The Python outside of every virtual environment: it has no devicelab and no torch of ours."""
    name = "python.exe" if sys.platform == "win32" else f"bin/python3.{sys.version_info.minor}"
    return str(Path(sys.base_prefix) / name)


def wheel(folder, version):
    """Make an empty wheel of torch."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"torch-{version}.dist-info"
    with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as made:
        made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        made.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{info}/RECORD", "")
    links = [f'<a href="{path.name}">{path.name}</a>' for path in folder.glob("*.whl")]
    (folder / "index.html").write_text("\n".join(links))  # what a package index answers


# --- an old Python ---------------------------------------------------------------------------------------------------


def old_pythons():
    folders = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    found = [
        shutil.which(name) for name in ("python2.7", "python3.6", "python3.8", "python3.9", "python3.10")
    ]
    found += [
        str(path / "bin" / "python")
        for folder in folders
        if folder.is_dir()
        for path in sorted(folder.iterdir())
    ]
    return [path for path in found if path]


def version_of(python):
    code = "import sys; sys.stdout.write('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def test_the_oldest_and_the_newest_old_python_of_this_machine_say_that_they_are_too_old():
    versions = {python: version_of(python) for python in old_pythons()}
    old = {
        python: text
        for python, text in versions.items()
        if text and tuple(map(int, text.split("."))) < (3, 11)
    }
    if not old:
        pytest.skip("this machine has no Python older than 3.11")
    for python, version in [
        min(old.items(), key=lambda item: item[1]),
        max(old.items(), key=lambda item: item[1]),
    ]:
        done = subprocess.run([python, "course.py", "lab"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 1
        assert f"needs Python 3.11 or newer, and this is Python {version}." in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_course_py_parses_on_python_2():
    tree = ast.parse((ROOT / "course.py").read_text(encoding="utf-8"))
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Nonlocal, ast.Starred)
    assert not [node for node in ast.walk(tree) if isinstance(node, newer)]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert functions and not any(
        node.returns or any(a.annotation for a in node.args.args) for node in functions
    )


# --- what can be missing ---------------------------------------------------------------------------------------------


def test_without_the_venv_module(sandbox):
    code, words = course(sandbox, "lab", patch="import sys; sys.modules['ensurepip'] = None")
    assert code == 1
    assert "Python's module venv is missing" in words and "sudo apt install python3." in words
    assert "Traceback" not in words and not (sandbox / ".venv").exists()


def test_with_too_little_disk(sandbox):
    patch = "import shutil; shutil.disk_usage = lambda path: __import__('types').SimpleNamespace(free=10**9)"
    code, words = course(sandbox, "lab", patch=patch)
    assert code == 1
    assert "1.0 GB free, and the packages need 2.5 GB" in words and "Make room" in words
    assert "Traceback" not in words and not (sandbox / ".venv").exists()


@pytest.mark.slow
def test_without_network_and_again_on_what_that_left(sandbox):
    code, words = course(sandbox, "lab", **OFFLINE)
    assert code == 1
    assert "the package index does not answer" in words and "Then give the same command again" in words
    assert "Traceback" not in words
    assert venv.STAMP not in os.listdir(sandbox / ".venv")
    python = sandbox / ".venv" / venv.venv_python().relative_to(venv.VENV)
    python.unlink()
    code, words = course(sandbox, "lab", **OFFLINE)
    assert code == 1
    assert ".venv is not complete" in words and python.exists()


def test_a_folder_called_venv_that_is_none_is_left_alone(sandbox):
    (sandbox / ".venv").mkdir()
    (sandbox / ".venv" / "thesis.txt").write_text("mine")
    for command in ("lab", "clean-venv"):
        code, words = course(sandbox, command)
        assert code == 1 and "is no virtual environment, so it is left alone" in words
    assert (sandbox / ".venv" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "The disk is full",
        ),
        (
            "Failed to establish a new connection: [Errno -3] Temporary failure in name resolution",
            "does not answer",
        ),
        (
            "ERROR: No matching distribution found for torch==2.13.0",
            "There is no PyTorch package for Python 3.",
        ),
        ("error: externally-managed-environment", "belongs to the operating system"),
        (
            "ERROR: Wheel 'torch' located at /stick/torch-2.13.0.whl is invalid.",
            "/stick/torch-2.13.0.whl is damaged",
        ),
        ("zipfile.BadZipFile: File is not a zip file", "A package is damaged"),
        ("ERROR: ResolutionImpossible", "its last words are above"),
    ],
)
def test_what_pip_says_becomes_one_sentence_and_a_step(words, sentence):
    first, *steps = str(pip.failure(words)).splitlines()
    assert sentence in first and steps


# --- which torch -----------------------------------------------------------------------------------------------------


@pytest.fixture
def shelves(tmp_path, monkeypatch):
    """An index that holds plain torch, and a folder of the user's own for --find-links."""
    for name, value in {**OFFLINE, "PIP_INDEX_URL": (tmp_path / "index").as_uri()}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    for version in ("2.13.0", "2.15.0"):
        wheel(tmp_path / "index" / "torch", version)
    return tmp_path


linux = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux does plain torch bring CUDA")


@linux
def test_a_cpu_wheel_of_the_users_own_is_taken_without_a_question(shelves):
    wheel(shelves / "mine", "2.13.0+cpu")
    chosen = torch_choice.choose(Path(sys.executable), "2.13.0", "ask", "lab")
    assert chosen == ("2.13.0+cpu", [])


@linux
def test_before_cuda_is_downloaded_the_size_is_said_and_two_commands(shelves, capsys):
    with pytest.raises(Stop) as stopped:
        torch_choice.choose(Path(sys.executable), "2.13.0", "ask", "test")
    assert f"about {torch_choice.CUDA_DOWNLOAD} to download" in capsys.readouterr().out
    assert "course.py test --torch cpu" in str(stopped.value) and "course.py test --torch cuda" in str(
        stopped.value
    )


@linux
def test_cuda_is_taken_when_it_is_named(shelves):
    assert torch_choice.choose(Path(sys.executable), "2.13.0", "cuda", "lab") == ("2.13.0", [])


@linux
def test_cpu_comes_from_pytorchs_index_and_never_turns_into_cuda(shelves, monkeypatch):
    wheel(shelves / "pytorch" / "torch", "2.13.0+cpu")
    monkeypatch.setattr(torch_choice, "CPU_INDEX", (shelves / "pytorch").as_uri())
    chosen = torch_choice.choose(Path(sys.executable), "2.13.0", "cpu", "lab")
    assert chosen == ("2.13.0+cpu", ["--extra-index-url", torch_choice.CPU_INDEX])
    monkeypatch.setattr(torch_choice, "CPU_INDEX", "http://127.0.0.1:9/simple")
    with pytest.raises(Stop, match=r"does not answer, or has no torch 2\.13\.0"):
        torch_choice.choose(Path(sys.executable), "2.13.0", "cpu", "lab")


@linux
@pytest.mark.parametrize(
    ("nvidia", "answer", "taken"), [(True, "", "2.13.0"), (False, "", "cpu"), (False, "cuda", "2.13.0")]
)
def test_a_person_is_asked(shelves, monkeypatch, nvidia, answer, taken):
    monkeypatch.setattr(torch_choice, "has_nvidia_driver", lambda: nvidia)
    monkeypatch.setattr(torch_choice, "_cpu_version", lambda python, pinned: ("cpu", []))
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("builtins.input", lambda question: answer)
    assert torch_choice.choose(Path(sys.executable), "2.13.0", "ask", "lab") == (taken, [])


@pytest.mark.parametrize(
    ("present", "pinned"),
    [("2.8.0+cpu", "2.8.0"), ("2.15.1", "2.15.1"), ("2.7.1", "2.13.0"), (None, "2.13.0")],
)
def test_a_new_enough_torch_that_is_there_is_kept(present, pinned):
    assert requirements.torch_pin(present) == pinned
    assert f"\ntorch=={pinned}\n" in requirements.pins(pinned, torch_only=False)
    assert requirements.pins(pinned, torch_only=True) == f"torch=={pinned}\n"


# --- the stamp -------------------------------------------------------------------------------------------------------


@pytest.fixture
def stamped(tmp_path, monkeypatch):
    """A .venv that was completed with the extra lab."""
    monkeypatch.setattr(venv, "VENV", tmp_path / ".venv")
    for name in ("PYPROJECT", "CONSTRAINTS"):
        copied = shutil.copy(getattr(requirements, name), tmp_path)
        monkeypatch.setattr(requirements, name, Path(copied))
    venv.venv_python().parent.mkdir(parents=True)
    venv.venv_python().touch()
    (venv.VENV / "pyvenv.cfg").write_text("version = 3.12.1\n")
    assert not environment.stamped(["lab"])
    environment.write_stamp(["lab"])
    return tmp_path


def test_a_stamp_is_for_its_extras(stamped):
    assert environment.stamped(["lab"]) and not environment.stamped(["lab", "test"])


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt", ".venv/pyvenv.cfg"])
def test_a_stamp_ends_with_what_it_was_written_for(stamped, changed):
    path = stamped / changed
    path.write_text(path.read_text(encoding="utf-8").replace("3.12.1", "3.13.0") + "\n", encoding="utf-8")
    assert environment.stamped(["lab"]) == (
        changed == ".venv/pyvenv.cfg" and "3.13.0" not in path.read_text()
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}'])
def test_a_broken_stamp_counts_as_none(stamped, text):
    (venv.VENV / venv.STAMP).write_text(text)
    assert not environment.stamped(["lab"])


# --- the lab ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "variables", "shown"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("linux", {"SSH_CONNECTION": "a 1 b 2"}, False),
        ("linux", {"SSH_CONNECTION": "a 1 b 2", "DISPLAY": "localhost:10.0"}, True),
        ("darwin", {}, True),
        ("darwin", {"SSH_CONNECTION": "a 1 b 2"}, False),
        ("win32", {}, True),
        ("linux", {"BROWSER": "w3m"}, True),
    ],
)
def test_where_a_browser_would_be_seen(system, variables, shown):
    assert lab.has_display(system, variables) is shown


def test_root_is_allowed_and_told(monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert "--allow-root" in lab.server_options("notebooks/00.ipynb", None, False)
    assert "--allow-root" in capsys.readouterr().out
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    assert "--allow-root" not in lab.server_options("notebooks/00.ipynb", None, False)


def test_a_port_that_is_taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(Stop, match="is taken"):
            lab.check_port_is_free(other.getsockname()[1])


@pytest.mark.parametrize("port", ["0", "65536", "-1", "eighty"])
def test_a_port_that_is_none(port, capsys):
    with pytest.raises(SystemExit):
        cli.parser().parse_args(["lab", "--port", port])
    assert "between 1 and 65535" in capsys.readouterr().err


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, path, token="", method="GET"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", method=method)
    request.add_header("Authorization", f"token {token}")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode()


def answers(port):
    """Whether a server is listening: it refuses whoever brings no token."""
    try:
        raise AssertionError(f"served without a token: {ask(port, 'api/status')}")
    except urllib.error.HTTPError as error:
        return error.code == 403
    except OSError:
        return False


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.2)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.slow
def test_the_lab_serves_lesson_00_and_one_ctrl_c_ends_it_cleanly(tmp_path):
    port = free_port()
    code = f"from pathlib import Path; from tools.setup import lab; lab.open_lab(Path({sys.executable!r}), {port}, False)"
    variables = {**os.environ, "JUPYTER_RUNTIME_DIR": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path)}
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=variables, stdout=log, stderr=log
        )
    try:
        wait_for(lambda: answers(port) or server.poll() is not None)
        token = json.loads(next(tmp_path.glob("jpserver-*.json")).read_text())["token"]
        assert "started" in ask(port, "api/status", token)
        page = ask(port, "lab", token)
        assert "@jupyterlab/apputils-extension:announcements" in page  # among the disabled ones: no news
        ask(port, "api/kernels", token, method="POST")
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=30) == 0
    finally:
        server.kill()
    words = (tmp_path / "log").read_text()
    assert f"http://127.0.0.1:{port}/{'lab/tree/my_course/lessons/L00_'}" in words
    assert "Example 3" in words, "the table comes first"
    assert "Traceback" not in words


# --- test ------------------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_test_and_no_stage_begins_after_it(monkeypatch):
    begun = []

    def run_stage(python, stage, words=None):
        begun.append(stage.name)
        if not stage.beside:
            raise KeyboardInterrupt
        time.sleep(0.3)
        return 0, 0.3, ""

    names = ("lint", "types", "floors")
    beside = [checks.Stage(name, (), beside=True) for name in names]
    monkeypatch.setattr(checks, "stages", lambda everything: [*beside, checks.Stage("notebooks", ())])
    monkeypatch.setattr(checks, "run_stage", run_stage)
    with pytest.raises(KeyboardInterrupt):
        checks.run_all(Path(sys.executable), everything=False)
    assert begun == ["lint", "notebooks"]


@pytest.mark.parametrize(("ending", "shown"), [("KeyboardInterrupt", False), ("ValueError", True)])
def test_a_tool_that_ctrl_c_meets_while_it_loads_shows_no_traceback(tmp_path, ending, shown):
    (tmp_path / "nbformat.py").write_text(f"raise {ending}")
    ended = subprocess.run(
        [sys.executable, "-m", "tools.notebooks.run_notebooks"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode != 0
    assert ("Traceback" in ended.stderr) == shown, ended.stderr


def test_a_failing_stage_hides_no_other_and_decides_the_exit_status(monkeypatch, capfd):
    def said(word, code=0):
        return checks.Stage(word, ("-c", f"print('{word} ran'); raise SystemExit({code})"))

    monkeypatch.setattr(checks, "stages", lambda everything: [said("first", 1), said("second")])
    assert checks.run_all(Path(sys.executable), everything=False) == 1
    words = capfd.readouterr().out
    assert "second ran" in words and "FAILED  first" in words and "passed  second" in words
    monkeypatch.setattr(checks, "stages", lambda everything: [said("second")])
    assert checks.run_all(Path(sys.executable), everything=False) == 0


def test_a_stage_beside_the_others_counts_as_much_and_its_words_come_in_one_piece(monkeypatch, capfd):
    slow = checks.Stage("slow", ("-c", "import time; print('one'); time.sleep(1); print('two')"))
    lint = ("-c", "import time; print('a', flush=True); time.sleep(0.3); print('b'); raise SystemExit(3)")
    monkeypatch.setattr(checks, "stages", lambda everything: [checks.Stage("lint", lint, beside=True), slow])
    assert checks.run_all(Path(sys.executable), everything=False) == 1
    words = capfd.readouterr().out
    assert "--- slow ---\none\ntwo\n\n--- lint ---\na\nb\n" in words
    assert "FAILED  lint" in words and "passed  slow" in words


def runs(stage, marks):
    """Whether a stage runs the tests that carry these marks."""
    if "pytest" not in stage.arguments:
        return False
    expression = stage.arguments[
        stage.arguments.index("-m", 2) + 1
    ]  # pytest's and Python's words are the same here
    return eval(expression, {name: name in marks for name in ("slow", "browser", "interop")})


@pytest.mark.parametrize(
    "marks", [(), ("slow",), ("browser",), ("interop",), ("slow", "browser"), ("slow", "interop")]
)
def test_the_full_run_runs_every_test_once_and_the_quick_one_the_unmarked(marks):
    full, quick = checks.stages(everything=True), checks.stages(everything=False)
    assert [runs(stage, marks) for stage in full].count(True) == 1
    assert any(runs(stage, marks) for stage in quick) == (marks == ())


def test_the_quick_run_is_a_part_of_the_full_one():
    full, quick = ([stage.name for stage in checks.stages(everything)] for everything in (True, False))
    assert quick == ["lint", "format", "types", "floors", "notebooks", "units"] and set(quick) < set(full)


def test_a_reason_to_stop_is_printed_without_a_traceback(monkeypatch, capsys):
    def stop(chosen):
        raise Stop("It rains.", "Take an umbrella.")

    monkeypatch.setattr(cli, "run", stop)
    assert cli.main(["lab"]) == 1
    assert capsys.readouterr().err == "\nIt rains.\n    Take an umbrella.\n"
