"""Warnings name the line that called torch, wherever in C++ or below the dispatch mode they come from."""

import warnings

import pytest
import torch
import torch.nn.functional as F

from devicelab.simgpu import simulate_gpu


@pytest.fixture(autouse=True)
def always():
    """C++ gives most of its warnings once in a process."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@pytest.fixture
def simulation():
    with simulate_gpu("T4") as running:
        yield running


def warned(program, action="always"):
    """Run a program of a few lines; return what it warned of, as (file, line, text)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        exec(compile(program, "program.py", "exec"), {"torch": torch, "F": F, "__name__": "program"})
    return [(said.filename, said.lineno, str(said.message)) for said in caught]


PROGRAMS = {
    "a factory": "torch.tensor(x)",
    "a method that makes a tensor": "x.new_tensor(x)",
    "an output of another size": "torch.add(x, x, out=torch.ones(2, device=x.device))",
    "a function that is looked at first": "torch.meshgrid(x, x)",
    "a composite": "torch.stft(torch.ones(40, device=x.device), 8, return_complex=True)",
    "an attribute": "x[None, None].T",
    "a copy": "x.to(torch.complex64).to(torch.float32)",
    "a layer": "F.grid_sample(torch.ones(1, 1, 2, 2, device=x.device), torch.ones(1, 2, 2, 2, device=x.device))",
    "a factory that is going away": "torch.range(0, 1, device=x.device)",
    "a loss": "F.mse_loss(x, x[:1])",
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_warning_names_the_line_that_plain_torch_names(program):
    plain = warned(f"x = torch.ones(3)\n{program}")
    with simulate_gpu("T4"):
        assert warned(f"x = torch.ones(3, device='cuda')\n{program}") == plain
        assert warned(f"x = torch.ones(3)\n{program}") == plain
    assert plain


def test_each_line_is_warned_of_once(simulation):
    again = "x = torch.ones(1, device='cuda')\nfor _ in range(3):\n    torch.tensor(x)\n    torch.tensor(x)"
    assert [line for _, line, _ in warned(again, "default")] == [3, 4]


@pytest.mark.parametrize(
    ("action", "count"), [("always", 3), ("default", 1), ("module", 1), ("once", 1), ("ignore", 0)]
)
def test_filters_act_as_without_a_simulation(simulation, action, count):
    again = "x = torch.ones(1, device='cuda')\nfor _ in range(3):\n    torch.tensor(x)"
    assert len(warned(again, action)) == count
    assert len(warned(again, action)) == count


def test_a_filter_for_the_callers_module_acts(simulation):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", module=__name__)
        torch.tensor(torch.ones(1, device="cuda"))
    assert not caught


def test_a_warning_that_is_made_an_error_is_raised(simulation):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=__name__)
        with pytest.raises(UserWarning, match="copy construct"):
            torch.tensor(torch.ones(1, device="cuda"))


def test_a_debugged_wait_names_its_line(simulation):
    torch.cuda.set_sync_debug_mode("warn")
    try:
        assert warned("x = torch.ones(1, device='cuda')\nx.item()") == [
            ("program.py", 2, "called a synchronizing CUDA operation")
        ]
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_others_warnings_pass_as_they_are(simulation):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("mine", stacklevel=1)
        F.softmax(torch.ones(2, device="cuda"))
    assert [said.filename for said in caught] == [__file__] * 2
