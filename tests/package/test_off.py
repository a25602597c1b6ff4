"""DEVICELAB_GPU=off: what needs a GPU is skipped with one sentence, and nothing else is."""

import os
import re

import nbformat
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from devicelab import off
from tools.notebooks import warm

NO_CUDA = "raise AssertionError('Torch not compiled with CUDA enabled')"
GPU = "This cell is skipped: it needs a GPU, and DEVICELAB_GPU is off."


@pytest.fixture
def shell(monkeypatch):
    """A shell of its own, in which the sentences are switched on."""
    shell = InteractiveShell()
    monkeypatch.setattr(off, "_shell", lambda: shell)
    assert off.skip_cells()
    yield shell
    off.run_cells(shell)


def run(shell, source, capsys):
    """Run a cell; return whether it counts as an error, and what it printed."""
    result = shell.run_cell(source)
    return not result.success, re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).strip()


@pytest.mark.parametrize(
    "words",
    [
        "Torch not compiled with CUDA enabled",
        "No CUDA GPUs are available",
        "Found no NVIDIA driver on your system. Please check ...",
        "Cannot access accelerator device when none is available.",
        "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If ...",
        "Tried to instantiate dummy base class Event",
        "no usable GPU: training here would take hours",
    ],
)
def test_torchs_words_for_no_gpu_become_one_sentence(shell, capsys, words):
    assert run(shell, f"raise RuntimeError({words!r})", capsys) == (False, GPU)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has an NVIDIA GPU")
@pytest.mark.parametrize(
    "line",
    ["torch.ones(2, device='cuda')", "torch.ones(2).to('cuda')", "torch.nn.Linear(2, 2).cuda()",
     "torch.cuda.get_device_name()", "torch.cuda.synchronize()", "torch.cuda.Event()", "torch.cuda.Stream()",
     "torch.cuda.get_rng_state()",
         "torch.Generator('cuda')", "torch.ones(2).pin_memory()", "torch.cuda.reset_peak_memory_stats()",
     "torch.set_default_device('cuda'); torch.ones(2)", "torch.cuda.mem_get_info()"],
)  # fmt: skip
def test_what_torch_really_says_here_is_known(shell, capsys, line):
    if "Event" in line and torch.version.cuda:
        pytest.skip("a CUDA build makes an event without a card: it asks for one when the event is recorded")
    try:
        failed, printed = run(shell, f"import torch\n{line}", capsys)
    finally:
        torch.set_default_device(None)
    assert not failed
    assert printed == "The rest of this cell is skipped: it needs a GPU, and DEVICELAB_GPU is off."


def test_what_ran_before_in_the_cell_stays_and_the_rest_is_named_as_such(shell, capsys):
    failed, printed = run(shell, f"x = 3\nprint(x)\n{NO_CUDA}\nprint('never')", capsys)
    assert not failed
    assert printed == "3\nThe rest of this cell is skipped: it needs a GPU, and DEVICELAB_GPU is off."
    assert shell.user_ns["x"] == 3


def test_names_of_a_skipped_cell_are_skipped_on_and_no_others(shell, capsys):
    run(shell, f"{NO_CUDA}\nmodel = 1\nimport os.path as path\nfor step in []: pass", capsys)
    for name in ("model", "path", "step"):
        assert run(shell, name, capsys) == (
            False,
            f"This cell is skipped: it needs '{name}', which a skipped cell would have made.",
        )
    failed, printed = run(shell, "modle", capsys)
    assert failed and "NameError: name 'modle' is not defined" in printed


def test_a_chain_of_names_is_followed(shell, capsys):
    run(shell, f"{NO_CUDA}\na = 1", capsys)
    run(shell, "b = a + 1", capsys)
    assert "needs 'b'" in run(shell, "b", capsys)[1]


def test_a_name_that_is_made_later_is_the_learners_again(shell, capsys):
    run(shell, f"{NO_CUDA}\na = 1", capsys)
    run(shell, "a = 2\ndel a", capsys)
    assert run(shell, "a = 3\na", capsys)[0] is False
    assert shell.user_ns["a"] == 3


@pytest.mark.parametrize(
    "source", ["1 / 0", "prnt(1)", "import torch; torch.ones(2) @ torch.ones(3)", "raise RuntimeError('CUDA')",
               "if True print(1)", "assert False"]
)  # fmt: skip
def test_errors_of_the_learners_own_stay_errors(shell, capsys, source):
    failed, printed = run(shell, source, capsys)
    assert failed and "skipped" not in printed


def test_the_last_expression_is_still_shown_and_awaited(shell, capsys):
    assert run(shell, "6 * 7", capsys)[1].endswith(": 42")
    assert run(shell, "import asyncio\nawait asyncio.sleep(0, 'slept')", capsys)[1].endswith(": 'slept'")


EXPECT = "import devicelab as lab\nwith lab.expect_error(RuntimeError, match='same device') as seen:\n    "


def test_an_expected_error_that_does_not_come_is_no_error(shell, capsys):
    failed, printed = run(shell, EXPECT + "pass", capsys)
    assert not failed and printed.startswith("The expected error did not come.")
    assert "needs 'seen'" in run(shell, "seen.error", capsys)[1]


def test_an_expected_error_over_what_was_skipped_is_no_error(shell, capsys):
    run(shell, f"{NO_CUDA}\nthere = 1", capsys)
    assert "needs 'there'" in run(shell, EXPECT + "there", capsys)[1]
    assert "needs a GPU" in run(shell, EXPECT + NO_CUDA, capsys)[1]


def test_another_error_than_the_expected_one_stays_an_error(shell, capsys):
    failed, printed = run(shell, EXPECT + "1 / 0", capsys)
    assert failed and "but ZeroDivisionError came" in printed


def test_switching_on_twice_and_off_leaves_the_shell_as_it_was(shell, capsys):
    assert off.skip_cells()
    assert run(shell, NO_CUDA, capsys)[1].count("skipped") == 1
    off.run_cells(shell)
    off.run_cells(shell)
    assert "run_code" not in vars(shell) and "showtraceback" not in vars(shell)
    assert run(shell, NO_CUDA, capsys)[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has an NVIDIA GPU")
def test_a_default_device_that_a_skipped_cell_set_and_could_not_put_back_is_gone(shell, capsys):
    run(
        shell,
        "import torch\ntorch.set_default_device('cuda')\ntorch.ones(2)\ntorch.set_default_device(None)",
        capsys,
    )
    assert run(shell, "str(torch.ones(2).device)", capsys)[1].endswith("'cpu'")


def test_without_ipython_nothing_is_switched_on(monkeypatch):
    monkeypatch.setattr(off, "_shell", lambda: None)
    assert off.skip_cells() is False


def notebook(*sources):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


def executed(made, **variables):
    with warm.kernels():
        NotebookClient(made, timeout=60, kernel_name="python3").execute(env={**os.environ, **variables})
    return ["".join(o.get("text", "") for o in cell.outputs) for cell in made.cells]


def test_run_all_in_a_real_kernel(tmp_path):
    here = {"DEVICELAB_GPU": "off", "IPYTHONDIR": str(tmp_path)}
    start = "import devicelab as lab; lab.start()"
    said = executed(
        notebook(start, "import torch\nx = torch.ones(2, device='cuda')", "x", "print(1)"), **here
    )
    assert "A cell that needs a GPU is skipped and says so." in said[0]
    assert "needs a GPU" in said[1] and "needs 'x'" in said[2] and said[3] == "1\n"
    with pytest.raises(CellExecutionError, match="NameError"):
        executed(notebook(start, "y"), **here)


def test_cuda_is_hidden_where_it_is_built_in(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: os.environ.get("CUDA_VISIBLE_DEVICES") != "")
    assert off.hide_gpus() is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_it_is_said_when_it_is_too_late_to_hide(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert "cannot be hidden any more. To hide them, restart the kernel" in (off.hide_gpus() or "")


def test_in_a_plain_script_the_error_stays():
    code = "import devicelab as lab, torch; lab.start(); torch.ones(2, device='cuda')"
    done = warm.run("-c", code, env={**os.environ, "DEVICELAB_GPU": "off"})
    assert done.returncode == 1
    assert done.stdout == "No GPU is used: DEVICELAB_GPU is off. Everything stays on the CPU.\n"
