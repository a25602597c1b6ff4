"""`python -m devicelab run`: scripts that nobody prepared, run unchanged, each with its expected verdict."""

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from devicelab import runner
from devicelab.errors import InputError
from devicelab.runner import said
from tools.notebooks import warm

SCRIPTS = Path(__file__).parents[1] / "scripts"
EXPECTED = re.compile(r"# without a GPU: (\S+); with one: (\S+)")
OWN_PROCESS = ("spawns.py", "loader_workers.py")  # they start processes, which import the main module again
FAILING = {"exits_with_5.py": 5, "raises_after_training.py": 1}


def expectations() -> list[tuple[str, bool, str]]:
    """Return (script, on a simulated GPU, expected verdict) as the first line of each script says it."""
    found = []
    for path in sorted(SCRIPTS.glob("*.py")):
        line = EXPECTED.match(path.read_text(encoding="utf-8"))
        if line:
            found += [(path.name, False, line[1]), (path.name, True, line[2])]
    return found


@pytest.fixture
def run_here(monkeypatch, tmp_path, capfd):
    """Return a function that runs a script in this process, as the command does; what it changes is put back."""
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))  # noqa: TID251  # the runner puts the script's folder first
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    # torch.testing._internal, which other tests import, forbids a script to set `torch.backends.cudnn.benchmark`.
    monkeypatch.setitem(torch.backends.flags_frozen.__globals__, "__allow_nonbracketed_mutation_flag", True)

    def run(*words: str) -> tuple[int, dict, str, str]:
        report = tmp_path / "verdict.json"
        code = runner.main(["--json", str(report), *words])
        out, err = capfd.readouterr()
        return code, json.loads(report.read_text(encoding="utf-8")), out, err

    yield run
    torch.set_default_device(None)


def command(*words: str, **environment: str) -> subprocess.CompletedProcess:
    return warm.run(
        "-m", "devicelab", "run", *words, timeout=180, cwd=SCRIPTS, env={**os.environ, **environment}
    )


@pytest.mark.parametrize(
    ("name", "simulated", "expected"), [row for row in expectations() if row[0] not in OWN_PROCESS]
)
def test_each_script_gets_its_verdict(run_here, name, simulated, expected):
    code, data, _, err = run_here(*(["--simulate-gpu"] if simulated else []), str(SCRIPTS / name))
    assert data["verdict"] == expected, err
    fails = expected == "mismatch" or (expected == "no-training" and name == "hard_coded.py")
    assert code == data["exit_code"] == FAILING.get(name, 1 if fails else 0)
    assert data["origin"] == ("simulated" if simulated else "measured")
    assert f"devicelab: {data['sentence']}" in err


def test_there_are_scripts_enough_and_every_word_is_expected_somewhere():
    rows = expectations()
    assert len(rows) >= 2 * 15
    assert {word for _, _, word in rows} == {"accelerator", "cpu", "mixed", "mismatch", "no-training"}
    published = (SCRIPTS / "published_cifar.py").read_text(encoding="utf-8")
    assert len(published.splitlines()) >= 150 and "devicelab" not in published


@pytest.mark.parametrize(
    ("name", "culprit"),
    [
        ("article_example_3.py", "data stayed on cpu"),
        ("labels_forgotten.py", "labels stayed on cpu"),
        ("to_not_reassigned.py", "x"),
        ("plain_attribute.py", "mean"),
    ],
)
def test_a_mismatch_is_explained_with_the_scripts_own_names(run_here, name, culprit):
    _, data, _, err = run_here("--simulate-gpu", str(SCRIPTS / name))
    assert culprit in data["explanation"] and data["error"]["line"].startswith(f"{name}:")
    assert "fix:" in err


def test_copies_and_waits_per_step_come_with_lines(run_here):
    _, data, _, err = run_here("--simulate-gpu", str(SCRIPTS / "item_every_step.py"))
    assert (
        "copy cpu -> cuda:0: 1 per step, 512 B each, pageable, the CPU waits, at item_every_step.py:9" in err
    )
    assert (
        "the CPU waits: 1 per step, reading a value, at item_every_step.py:14 `total += loss.item()`" in err
    )
    assert data["steps"] == 20


def test_a_published_script_is_told_line_by_line(run_here):
    _, data, out, err = run_here("--simulate-gpu", str(SCRIPTS / "published_cifar.py"), "--epochs", "2")
    assert "best accuracy" in out and "devicelab" not in out
    assert data["phases"] == {"forward": ["cuda:0"], "backward": ["cuda:0"], "optimizer": ["cuda:0"]}
    assert "1 per step, reading a value, at published_cifar.py:157 `losses.update(loss.item()" in err


@pytest.mark.parametrize(
    "words",
    [
        "--simulate-gpu article_example_1.py",
        "--simulate-gpu article_example_2.py",
        "--simulate-gpu article_example_3.py",
        "--simulate-gpu published_cifar.py --epochs 2",
    ],
)
def test_the_page_shows_what_really_comes(run_here, words, monkeypatch):
    monkeypatch.chdir(SCRIPTS)
    page = (SCRIPTS.parents[1] / "docs" / "evidence.md").read_text("utf-8")
    shown = re.search(rf"\$ python -m devicelab run {re.escape(words)}\n(.*?)(```|\n\n)", page, re.DOTALL)
    _, _, _, err = run_here(*words.split())
    verdict = err[err.index("\n\ndevicelab: ") :].replace("--json FILE", "").strip()
    expected = shown[1].replace("--json FILE", "").strip()
    assert re.sub(r"\d+ %", "N %", verdict) == re.sub(r"\d+ %", "N %", expected)


def test_a_present_gpu_that_computed_nothing_is_said(run_here):
    _, data, _, err = run_here("--simulate-gpu=NVIDIA L4", str(SCRIPTS / "article_example_1.py"))
    assert data["verdict"] == "cpu" and data["name"] == "NVIDIA L4"
    assert "although there is a simulated NVIDIA L4 (cuda:0); it computed nothing" in err


def test_without_a_gpu_the_way_to_a_simulated_one_is_named(run_here):
    _, data, _, _ = run_here(str(SCRIPTS / "article_example_2.py"))
    assert any("--simulate-gpu" in note for note in data["notes"]) == (data["card"] == "cpu")


@pytest.mark.parametrize(
    ("words", "name", "code"),
    [
        ("cpu", "article_example_1.py", 3),
        ("mixed,mismatch", "article_example_1.py", 0),
        ("cpu", "exits_with_5.py", 3),
        ("mismatch", "exits_with_5.py", 5),
    ],
)
def test_fail_on_gives_3_and_otherwise_the_scripts_own_code(run_here, words, name, code):
    assert run_here("--fail-on", words, str(SCRIPTS / name))[0] == code


def test_arguments_files_and_neighbours_are_found_from_any_folder(run_here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, _, out, _ = run_here(str(SCRIPTS / "reads_arguments.py"), "--steps", "4", "--json", "mine")
    assert out == "__main__: 4 steps, json mine\n"


def test_a_module_runs_as_main_with_its_arguments(run_here, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    _, data, out, _ = run_here("-m", "package.train", "--lr", "1")
    assert out == "__main__ package ['--lr', '1']\n" and data["verdict"] == "cpu"


def test_the_traceback_shows_the_script_and_torch_only(run_here):
    _, _, _, err = run_here("--simulate-gpu", str(SCRIPTS / "article_example_3.py"))
    trace = err[err.index("Traceback") : err.index("\n\ndevicelab:")]
    assert "article_example_3.py" in trace and "return F.linear(input, self.weight, self.bias)" in trace
    assert "utils/devicelab" not in trace and "runpy" not in trace and "_ops.py" not in trace


def test_chained_errors_and_a_scripts_own_excepthook_are_kept(run_here, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    script = tmp_path / "hooked.py"
    script.write_text(
        "import sys\n"
        "def hook(kind, error, trace): print('hook saw', kind.__name__, error.__cause__, trace.tb_lineno)\n"
        "sys.excepthook = hook\n"
        "try:\n    1 / 0\n"
        "except ZeroDivisionError as error:\n    raise KeyError('lr') from error\n"
    )
    code, data, out, _ = run_here(str(script))
    assert code == 1 and out == "hook saw KeyError division by zero 7\n"
    assert data["error"] == {
        "message": "KeyError: 'lr'",
        "line": "hooked.py:7 `raise KeyError('lr') from error`",
    }


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit('told you')", 1, "told you"),
        ("raise SystemExit(7)", 7, ""),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
        ("x = (", 1, "SyntaxError"),
        ("import nothing_of_this_name", 1, "ModuleNotFoundError"),
    ],
)
def test_the_end_of_a_script_is_pythons_own(run_here, tmp_path, body, code, words):
    script = tmp_path / "ends.py"
    script.write_text(body)
    ended, data, _, err = run_here(str(script))
    assert (ended, data["verdict"]) == (code, "no-training") and words in err
    assert "Nothing was computed here" in err


def test_a_script_that_leaves_threads_running_is_waited_for(run_here, tmp_path):
    script = tmp_path / "threads.py"
    script.write_text(
        "import threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.2), print('late'))).start()\nprint('main ends')\n"
    )
    assert run_here(str(script))[2] == "main ends\nlate\n"


def test_a_thread_of_whoever_runs_the_script_is_not_waited_for(run_here, tmp_path):
    script = tmp_path / "quick.py"
    script.write_text("print('done')\n")
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        assert run_here(str(script))[2] == "done\n"
    finally:
        end.set()
        thread.join()


def test_progress_goes_to_stderr(run_here, monkeypatch):
    monkeypatch.setattr(said, "PROGRESS", 0.0)
    _, _, out, err = run_here(str(SCRIPTS / "article_example_1.py"))
    assert out == "" and "devicelab: 5 optimizer steps in" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "run needs a script"),
        (["-m"], "run needs a script"),
        (["no_such.py"], f"There is no script 'no_such.py' here ({Path.cwd()})."),
        (["--fail-on", "gpu", "x.py"], "--fail-on knows accelerator, cpu, mixed"),
        (["--json", __file__, __file__], "is source code"),
        (["--json", "new.ipynb", __file__], "is source code"),
        (["--json", "-", __file__], "would mix the report with what the script prints"),
        (["--json", "/no/such/folder/x.json", __file__], "there is no folder"),
        (["--json", str(SCRIPTS), __file__], "cannot be written"),
        (["--json", f"{__file__}/x.json", __file__], "there is no folder"),
        (["--simulate-gpu=Tesla T4:99", __file__], "99"),
        (["--simulate-gpu=GTX", __file__], "GTX"),
        (["--compiled", "refuse", __file__], "give --simulate-gpu as well"),
        (
            ["--simulate-gpu=T4", "--compiled=eager", __file__],
            "--compiled knows run or refuse, but it got 'eager'",
        ),
        (["--simulate-gpu", "L4", "train.py"], "Do you mean --simulate-gpu=L4?"),
        (["--simulate-gpu", "A100", "train.py"], "Do you mean --simulate-gpu=A100?"),
    ],
)
def test_unusable_input_is_refused_before_anything_runs(words, message):
    with pytest.raises(InputError, match=re.escape(message)):
        runner.main(words)


def test_an_unknown_option_is_refused_with_the_usage():
    result = command("--jsn", "x", "article_example_1.py")
    assert result.returncode == 2 and "unrecognized arguments: --jsn" in result.stderr


def test_the_command_keeps_the_scripts_output_and_code():
    plain = warm.run("exits_with_5.py", cwd=SCRIPTS)
    watched = command("exits_with_5.py")
    assert (watched.stdout, watched.returncode) == (plain.stdout, plain.returncode) == ("", 5)
    assert "devicelab: Training ran on" in watched.stderr


@pytest.mark.parametrize("options", [[], ["--simulate-gpu"]])
def test_a_loader_with_workers_and_pinned_memory(options, tmp_path):
    report = tmp_path / "v.json"
    result = command(*options, "--json", str(report), "loader_workers.py")
    data = json.loads(report.read_text(encoding="utf-8"))
    assert result.returncode == 0 and data["verdict"] == ("accelerator" if options else "cpu"), result.stderr
    assert "process" not in result.stderr, "a loader's workers are no training processes"
    if options:
        assert all(copy["pinned"] and not copy["waits"] for copy in data["copies"] if copy["steps"] > 1)


def test_processes_of_the_script_are_watched_as_well():
    result = command("spawns.py")
    assert result.returncode == 0, result.stderr
    assert sorted(re.findall(r"rank \d trained", result.stdout)) == ["rank 0 trained", "rank 1 trained"]
    assert "devicelab: Training ran on cpu, in 2 processes." in result.stderr
    assert result.stderr.count("devicelab: ") == 2, (
        "one line before, one verdict after: the children say nothing"
    )
