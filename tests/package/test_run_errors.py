"""`python -m devicelab run`: what becomes of the verdict when a script's error, or its output, is an odd one."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from importlib import resources

import jsonschema
import pytest

from devicelab import runner
from devicelab.runner import said
from devicelab.simgpu import session
from devicelab.simgpu.machine.settings import RELEASE, SHARED_FROM
from tools.notebooks import warm

SHARED = RELEASE >= SHARED_FROM
SCHEMA = json.loads(resources.files("devicelab").joinpath("schemas/run.json").read_text("utf-8"))
MODEL = """import torch
from torch import nn
device = "cuda"
model = nn.Linear(3, 2).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def step(x):
    optimizer.zero_grad()
    model(x).sum().backward()
    optimizer.step()
"""
TRAINED = MODEL + 'step(torch.rand(4, 3, device="cuda"))\n'
MISMATCH = """try:
    step(torch.rand(4, 3))
except RuntimeError as error:
    {handled}
"""


HANDLED = {
    "as another error": 'raise ValueError("step failed") from error',
    "with the same words": 'raise RuntimeError(f"step failed: {error}")',
    "in a group": 'raise ExceptionGroup("many", [KeyError("lr"), error])',
    "again": "raise",
    "by torchmetrics": 'raise RuntimeError("Encountered different devices in metric calculation (see ...).") from error',
}


@pytest.mark.parametrize("before", [MODEL, TRAINED], ids=["before the first step", "after it"])
@pytest.mark.parametrize("handled", HANDLED)
def test_a_mismatch_that_was_raised_again_is_one(run_here, before, handled):
    code, data, err = run_here(before + MISMATCH.format(handled=HANDLED[handled]), "--fail-on", "mismatch")
    assert (code, data["verdict"]) == (runner.FAILED, "mismatch")
    assert "x stayed on cpu, but cuda:0 is needed here." in data["explanation"] and "model(x)" in err


def test_an_error_while_a_mismatch_was_handled_is_no_mismatch_once_something_was_trained(run_here):
    code, data, _ = run_here(TRAINED + MISMATCH.format(handled='{}["step"]'), "--fail-on", "mismatch")
    assert (code, data["verdict"]) == (1, "accelerator")
    assert "the RuntimeError before it" in data["explanation"]


def test_two_dtypes_are_no_mismatch(run_here):
    code, data, err = run_here(
        TRAINED + 'step(torch.rand(4, 3, device="cuda").half())\n', "--fail-on", "mismatch"
    )
    assert (code, data["verdict"]) == (1, "accelerator")
    assert "x is float16 and model is float32: this is about dtypes" in err and "x = x.float()" in err


WORDS = (  # one list for the verdict and the explanation
    "grid_sampler(): expected input and grid to be on same device, but input is on cuda:0 and grid is on cpu",
    "Expected B and A to be on the same device, but found B on cuda:0 and A on cpu instead.",
    "all tensors must be on devices[0]",
    "Placeholder storage has not been allocated on MPS device!",
    "Expected a 'cuda' device type for generator but found 'cpu'",
)


@pytest.mark.parametrize("words", WORDS)
def test_what_is_explained_as_a_mismatch_is_the_verdict_too(run_here, words):
    code, data, _ = run_here(f"raise RuntimeError({words!r})\n", "--fail-on", "mismatch")
    assert (code, data["verdict"]) == (3, "mismatch") and data["explanation"]


def test_what_comes_from_the_same_loader_is_named_beside_what_stayed_behind(run_here):
    code = f"{MODEL}for x, y in [(torch.rand(4, 3), torch.rand(4, 2))]:\n    model(x)\n"
    assert "; y, from the same loop, is on cpu too" in run_here(code)[1]["explanation"]
    assert (
        "same loop" not in run_here(code.replace("rand(4, 2)", 'rand(4, 2, device="cuda")'))[1]["explanation"]
    )


def test_a_simulation_that_cannot_be_taken_away_loses_neither_verdict_nor_exit_code(run_here, monkeypatch):
    stop = session.Simulation.stop

    def half(self):
        stop(self)
        raise AttributeError("half imported")

    monkeypatch.setattr(session.Simulation, "stop", half)
    code, data, err = run_here(TRAINED + "raise SystemExit(9)")
    assert (
        (code, data["verdict"]) == (9, "accelerator")
        and "could not be taken away" in err
        and "half imported" in err
    )


def test_the_line_of_an_error_in_a_group_is_its_own(run_here):
    code = (
        f"import asyncio\n{MODEL}async def one():\n    return model(torch.rand(4, 3))\nasync def both():\n"
        "    async with asyncio.TaskGroup() as tasks:\n        tasks.create_task(one())\nasyncio.run(both())\n"
    )
    _, data, _ = run_here(code)
    assert data["verdict"] == "mismatch" and data["error"]["line"].endswith(
        "`return model(torch.rand(4, 3))`"
    )


ODD = {
    "frozen": "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Odd(Exception):\n    x: int = 1\nraise Odd()",
    "unprintable": "class Odd(Exception):\n    def __str__(self): raise ValueError('no')\nraise Odd()",
    "with an empty first line": 'raise RuntimeError("\\n\\n-- Process 0 terminated with the following error:\\nKeyError: 1")',
    "after a broken excepthook": "import sys\ndef hook(*a): raise ValueError('hook')\nsys.excepthook = hook\nraise KeyError(1)",
    "after it closed its output": "import sys\nsys.stdout.close()\nraise KeyError(1)",
    "without an output": "import sys\nsys.stdout = None\nraise KeyError(1)",
    "that nobody catches": "class Odd(BaseException): pass\nraise Odd",
    "without room for attributes": "class Odd(Exception):\n    def __setattr__(*_): raise TypeError\nraise Odd",
    "without an excepthook": "import sys\nsys.excepthook = None\nraise KeyError(1)",
    "under a low limit of recursion": (
        "import inspect, sys\nsys.setrecursionlimit(len(inspect.stack()) + 20)\nraise KeyError(1)"
    ),
    "as an exit code": "class Odd:\n    def __str__(self): raise ValueError\nraise SystemExit(Odd())",
    "that it told by itself": "import sys\ntry:\n    {}['lr']\nexcept KeyError:\n    sys.exit(1)",
    "after it made its output odd": (
        "import sys\nclass Odd:\n    def write(*_): raise RuntimeError\n    flush = write\nsys.stdout = sys.stderr = Odd()\n"
        "raise KeyError(1)"
    ),
    "after it closed all outputs": "import sys\nsys.stdout.close()\nsys.stderr = open('/dev/null', 'w')\nraise KeyError(1)",
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_error_loses_neither_the_verdict_nor_the_exit_code(run_here, name):
    code, data, err = run_here(TRAINED + ODD[name])
    assert (code, data["verdict"], data["exit_code"]) == (1, "accelerator", 1)
    assert "devicelab: Training ran on cuda:0" in err
    if name in ("frozen", "without room for attributes"):
        assert "Error in sys.excepthook" not in err and "devicelab/" not in err
    if name == "with an empty first line":
        assert "ended with RuntimeError: -- Process 0 terminated" in err


LIBRARY = """class Trainer:
    def fit(self, model, batches):
        try:
            for batch in batches:
                self._step(model, batch)
        except RuntimeError as error:
            raise RuntimeError("training failed in Trainer.fit") from error

    def _step(self, model, batch):
        model(batch).sum().backward()
"""


@pytest.mark.parametrize(
    ("handed", "line", "culprit"),
    [
        (
            "model, [torch.rand(4, 3)]",
            "job.py:14 `Trainer().fit(model, [torch.rand(4, 3)])`",
            "[torch.rand(4, 3)][0]",
        ),
        (
            "Scaled(), [torch.rand(4, 3).cuda()]",
            "job.py:13 `def __call__(self, x): return model(x) * self.scale`",
            "self.scale",
        ),
    ],
)
@pytest.mark.parametrize("module", ["site-packages/somebodys_trainer", "ultralytics/ultralytics/trainer"])
def test_an_error_deep_in_a_library_has_the_users_own_line(handed, line, culprit, module, run_here, tmp_path):
    file = tmp_path / f"{module}.py"
    file.parent.mkdir(parents=True)
    file.write_text(LIBRARY)
    code = (
        f"{MODEL}import sys; sys.path.append({str(file.parent)!r}); from {file.stem} import Trainer\n"
        "class Scaled:\n    def __init__(self): self.scale = torch.ones(2)\n"
        "    def __call__(self, x): return model(x) * self.scale\n"
    )
    _, data, _ = run_here(f"{code}Trainer().fit({handed})\n")
    assert data["verdict"] == "mismatch" and data["error"]["line"] == line, data
    assert file.parent.name not in data["explanation"] and file.name not in data["explanation"]
    assert culprit.partition("[")[0] in data["explanation"]


@pytest.mark.skipif(os.name != "posix", reason="Windows keeps numbers above 255")
@pytest.mark.parametrize(
    ("ending", "wanted"),
    [
        ("raise SystemExit(True)", 1),
        ("raise SystemExit(300)", 44),
        ("raise SystemExit(-1)", 255),
        ("class Own(KeyboardInterrupt): pass\nraise Own", 1),
    ],
)
def test_the_exit_code_is_the_number_that_others_see(ending, wanted, run_here):
    code, data, _ = run_here(TRAINED + ending)
    assert code == wanted and data["exit_code"] == wanted and type(data["exit_code"]) is int


def test_an_excepthook_that_exits_gives_the_exit_code(run_here):
    code, data, _ = run_here(
        TRAINED + "import sys\nsys.excepthook = lambda *_: sys.exit(7)\nraise KeyError(1)"
    )
    assert (code, data["exit_code"], data["error"]["message"]) == (7, 7, "KeyError: 1")


def test_an_error_that_the_script_told_before_it_gave_up_is_that_which_ended_it(run_here):
    handled = "__import__('sys').exit(2)"
    code, data, _ = run_here(TRAINED + MISMATCH.format(handled=handled), "--fail-on", "mismatch")
    assert (code, data["exit_code"], data["verdict"]) == (3, 2, "mismatch") and "x stayed on cpu" in data[
        "explanation"
    ]
    assert run_here(TRAINED + MISMATCH.format(handled="__import__('sys').exit(0)"))[1]["error"] is None


ENDS = {
    "os._exit": ("import os\nos._exit(9)", 9),
    "os._exit, a large number": ("import os\nos._exit(256 + 9)", 9),
    "a signal": ("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)", -15),
    "another program": ("import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'raise SystemExit(6)'])", 6),
    "a pool that waits for work": (
        "from concurrent.futures import ThreadPoolExecutor\nThreadPoolExecutor(2).submit(print)", 0,
    ),
    "an exit handler": ("import atexit\natexit.register(step, torch.ones(4, 3, device='cuda'))", 0),
    "an exit handler that fails": ("import atexit\natexit.register(lambda: 1 / 0)", 0),
}  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("name", ENDS)
def test_whatever_ends_a_script_its_verdict_comes_first(name, tmp_path):
    ending, code = ENDS[name]
    told = f"import os; open({str(tmp_path / 'told')!r}, 'w').write(os.environ['DEVICELAB_CHILDREN'])\n"
    (tmp_path / "job.py").write_text(told + TRAINED + ending)
    words = ("--simulate-gpu", "--json", str(tmp_path / "v.json"), str(tmp_path / "job.py"))
    done = warm.run("-m", "devicelab", "run", *words)
    assert done.returncode == code, done.stderr
    assert "devicelab: Training ran on cuda:0" in done.stderr
    data = json.loads((tmp_path / "v.json").read_text("utf-8"))
    [folder] = json.loads((tmp_path / "told").read_text())["devicelab.runner.child:begin"]
    assert not os.path.exists(folder), "what the processes told is cleared up"
    assert data["steps"] == (2 if name == "an exit handler" else 1)
    assert data["exit_code"] == (None if name == "another program" else code)
    assert ("another program in its place" in str(data["notes"])) is (name == "another program")


BARREN = """import copy
other = copy.deepcopy(model)
for _ in range(3):
    other(torch.rand(4, 3, device="cuda")).sum().backward()
    optimizer.step()
"""


IN_VAIN = """import torch
from torch import nn
net, x = nn.Linear(3, 2).to("cuda"), torch.rand(4, 3, device="cuda")
{first}
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
{second}
for _ in range(3):
    {step}
    optimizer.step()
"""
BACKWARD = "net(x.requires_grad_()).sum().backward()"


@pytest.mark.parametrize(
    ("first", "second", "step", "why"),
    [
        ("", "net = nn.Linear(3, 2).to('cuda')", BACKWARD, "another copy of the model"),
        ("net = net.cpu()", "import copy; net = copy.deepcopy(net).to('cuda')", BACKWARD, "holds (on cpu)"),
        (
            "",
            "net.load_state_dict(dict(net.state_dict()), assign=True)",
            BACKWARD,
            "another copy of the model",
        ),
        ("", "head = nn.Linear(2, 1).to('cuda')", "head(net(x).detach()).sum().backward()", ".detach()"),
        ("net.requires_grad_(False)", "", BACKWARD, "frozen (requires_grad=False)"),
        ("", "", f"{BACKWARD}; optimizer.zero_grad()", "cleared before the step"),
    ],
)
def test_why_an_optimizer_found_nothing(first, second, step, why, run_here):
    _, data, _ = run_here(IN_VAIN.format(first=first, second=second, step=step))
    assert any("no gradients in 3 steps" in note and why in note for note in data["notes"]), data["notes"]


def test_a_training_that_never_learns_is_said(run_here):
    code, data, err = run_here(MODEL + BARREN, "--fail-on", "no-learning")
    assert (code, data["learned"]) == (runner.FAILED, False)
    assert data["sentence"].startswith(
        "Nothing was learned: no step of an optimizer found a gradient. Training ran on cuda:0"
    )
    assert "the optimizer found no gradients in 3 steps, at job.py:14 `optimizer.step()`" in err
    assert any("another copy of the model" in note for note in data["notes"])
    code, data, err = run_here(TRAINED + BARREN, "--fail-on", "no-learning")
    assert (code, data["learned"]) == (0, True) and "no gradients" not in err, "it learned once"
    by_hand = "for p in model.parameters():\n    p.data -= 0.1 * p.grad\n"
    assert (
        "no gradients"
        not in run_here(MODEL + 'model(torch.rand(4, 3, device="cuda")).sum().backward()\n' + by_hand)[2]
    )


def test_the_optimizer_that_is_proposed_learns(run_here):
    _, data, _ = run_here(MODEL + BARREN)
    made = re.search(r"fix: after .* copies other: (.*)$", "\n".join(data["notes"]), re.MULTILINE)
    assert made and made[1] == "optimizer = torch.optim.SGD(other.parameters(), lr=0.1)"
    mended = BARREN.replace("for _", f"{made[1]}\nfor _")
    assert run_here(MODEL + mended, "--fail-on", "no-learning")[1]["learned"] is True


def test_one_optimizer_of_two_that_changes_nothing_is_said(run_here):
    _, data, _ = run_here(
        TRAINED + "optimizer = torch.optim.Adam(nn.Linear(2, 2).parameters())\noptimizer.step()"
    )
    assert data["sentence"].startswith("1 of 2 optimizers changed nothing. Training ran on cuda:0")
    assert data["learned"] is False


def test_a_report_that_can_no_longer_be_written_costs_neither_the_verdict_nor_the_exit_code(tmp_path, capfd):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = tmp_path / "job.py"
    for ending, code in (("", 2), ("\nraise SystemExit(5)", 5)):
        gone.mkdir(exist_ok=True)
        script.write_text(f"import shutil; shutil.rmtree({str(gone)!r}){ending}")
        assert runner.main(["--json", str(gone / "v.json"), str(script)]) == code
        err = capfd.readouterr().err
        assert "Nothing was computed here" in err and "could not be written: No such file or directory" in err


def test_the_report_is_written_where_the_user_stood(run_here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    script = tmp_path / "goes.py"
    script.write_text("import os\nos.chdir('elsewhere')\n")
    assert runner.main(["--json", "v.json", "goes.py"]) == 0
    assert json.loads((tmp_path / "v.json").read_text("utf-8"))["target"] == ["goes.py"]


def test_the_json_keeps_its_schema_and_names_nobody(run_here, monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "annabel")
    code = TRAINED + 'print("x")\nraise KeyError("/home/annabel/x.pt", "annabel")\n'
    _, data, err = run_here(code)
    jsonschema.validate(data, SCHEMA)
    assert (data["schema"], data["version"]) == ("devicelab/run", 1)
    assert "annabel" not in json.dumps(data) + err[err.index("devicelab: Training") :]


def test_a_terminal_without_letters_gets_the_verdict(run_here, monkeypatch, tmp_path):
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(out, encoding="ascii", errors="strict"))
    said.say("größe …")
    assert out.getvalue().decode() == "gr\\xf6\\xdfe \\u2026\n"


@pytest.mark.skipif(not SHARED, reason="this PyTorch does not know the setting")
def test_a_small_card_is_had_by_pytorchs_own_setting(run_here, tmp_path):
    asks = 'import torch; torch.empty(2**30, dtype=torch.uint8, device="cuda")'
    assert run_here(asks)[0] == 0
    # In a process of its own, as the variable is read: what other tests did to this one's memory plays no part.
    settings = {**os.environ, "PYTORCH_ALLOC_CONF": "per_process_memory_fraction:0.05"}
    command = [sys.executable, "-m", "devicelab", "run", "--simulate-gpu", str(tmp_path / "job.py")]
    done = subprocess.run(command, env=settings, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "tensor of 1.00 GiB is asked for, and there are 755 MiB in all." in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
@pytest.mark.parametrize("code", [0, 7])
def test_a_stderr_that_is_full_changes_no_exit_code(code, tmp_path):
    script = tmp_path / "job.py"
    script.write_text(f"raise SystemExit({code})")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "devicelab", "run", str(script)]
        assert subprocess.run(command, stderr=full).returncode == code


def test_a_file_that_plain_python_would_import_is_said(run_here, tmp_path):
    (tmp_path / "argparse.py").write_text("mine = 1")
    (tmp_path / "os.py").write_text("mine = 1")
    (tmp_path / "helper.py").write_text("")
    code, _, err = run_here("import argparse; assert hasattr(argparse, 'ArgumentParser')")
    assert code == 0 and "argparse.py lies beside job.py" in err and "Here it is not imported" in err
    assert "os.py" not in err and "helper.py" not in err


SHADOWING = {
    "torch.py": "print('mine')",
    "torch/__init__.py": "",
    "random.py": "print('mine')",
    "argparse.py": "x = 1",
    "pathlib.py": "x = 1",
    "typing.py": "raise ValueError('by itself')",
    "json/__init__.py": "x = 1",
}


@pytest.mark.parametrize("name", SHADOWING)
@pytest.mark.parametrize("command", ["run job.py", "explain error.txt"])
def test_a_file_in_the_way_of_torch_is_said_and_not_run(command, name, tmp_path):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(SHADOWING[name])
    (tmp_path / "job.py").write_text("import torch")
    (tmp_path / "error.txt").write_text("KeyError: 1")
    done = subprocess.run(
        [sys.executable, "-m", "devicelab", *command.split()], cwd=tmp_path, capture_output=True, text=True
    )
    first = name.split("/")[0]
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"{first} lies beside" in done.stderr and f" {first} my_{first}" in done.stderr
    assert "torch" not in name or "mine" not in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_signal_waits_until_the_last_words_are_said():
    code = (
        "import os, signal\nfrom devicelab.runner.ends import Ends\nends = Ends(print)\nends.watch()\n"
        "with ends.telling():\n    ends.leave()\n    os.kill(os.getpid(), signal.SIGTERM)\n    print('said', flush=True)\n"
        "print('went on', flush=True)\n"
    )
    done = warm.run("-c", code)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "said\n"), done.stderr
