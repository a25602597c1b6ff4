"""`python -m devicelab run`: what becomes of the verdict when a script's error, or its output, is an odd one."""

import io
import json
import sys
from importlib import resources

import jsonschema
import pytest

from devicelab import runner

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


@pytest.fixture
def run_here(monkeypatch, tmp_path, capfd):
    """Return a function that runs code as a script on a simulated card; what it changes is put back."""
    for name in ("argv", "path", "excepthook"):
        value = getattr(sys, name)
        monkeypatch.setattr(sys, name, list(value) if isinstance(value, list) else value)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])

    def run(code: str, *words: str) -> tuple[int, dict, str]:
        script, report = tmp_path / "job.py", tmp_path / "verdict.json"
        script.write_text(code, "utf-8")
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
        ended = runner.main(["--simulate-gpu", "--json", str(report), *words, str(script)])
        return ended, json.loads(report.read_text("utf-8")), capfd.readouterr().err

    return run


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


ODD = {
    "frozen": "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Odd(Exception):\n    x: int = 1\nraise Odd()",
    "unprintable": "class Odd(Exception):\n    def __str__(self): raise ValueError('no')\nraise Odd()",
    "with an empty first line": 'raise RuntimeError("\\n\\n-- Process 0 terminated with the following error:\\nKeyError: 1")',
    "after a broken excepthook": "import sys\ndef hook(*a): raise ValueError('hook')\nsys.excepthook = hook\nraise KeyError(1)",
    "after it closed its output": "import sys\nsys.stdout.close()\nraise KeyError(1)",
    "without an output": "import sys\nsys.stdout = None\nraise KeyError(1)",
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_error_loses_neither_the_verdict_nor_the_exit_code(run_here, name):
    code, data, err = run_here(TRAINED + ODD[name])
    assert (code, data["verdict"], data["exit_code"]) == (1, "accelerator", 1)
    assert "devicelab: Training ran on cuda:0" in err
    if name == "with an empty first line":
        assert "ended with RuntimeError: -- Process 0 terminated" in err


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
    runner.say("größe …")
    assert out.getvalue().decode() == "gr\\xf6\\xdfe \\u2026\n"
