"""The profiler's marks on the simulated card: seen where somebody profiles or listens, and as long as ever where nobody does."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode

from devicelab import simulate_gpu
from devicelab.costs import DISPATCH
from devicelab.errors import SimulationError
from devicelab.simgpu import current
from devicelab.versions import release


class Seen(TorchDispatchMode):
    """Notes every operator."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func._schema.name)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def step():
    with simulate_gpu("T4"):
        model = nn.Linear(2, 2).cuda()
        optimizer, data = torch.optim.SGD(model.parameters(), lr=0.1), torch.ones(2, 2, device="cuda")

        def run():
            optimizer.zero_grad()
            model(data).sum().backward()
            optimizer.step()

        yield run


def test_a_profile_has_the_marks_of_optimizers_and_of_the_learner(step):
    step()
    with profile() as found, record_function("mine"):
        step()
    names = {event.name for event in found.events()}
    assert {"mine", "Optimizer.step#SGD.step", "Optimizer.zero_grad#SGD.zero_grad"} <= names


def test_a_mode_above_sees_them(step):
    with Seen() as seen:
        step()
    assert seen.names.count("profiler::_record_function_enter_new") == 2


def test_a_mark_that_is_used_again_is_seen_once_somebody_profiles():
    mark = record_function("again")
    with simulate_gpu("T4"):
        with mark:
            pass
        with profile() as found, mark:
            pass
    assert "again" in {event.name for event in found.events()}
    with profile() as found, mark:
        pass
    assert "again" in {event.name for event in found.events()}


@record_function("factorial")
def factorial(n):
    return 1 if n < 2 else n * factorial(n - 1)


def test_a_mark_of_the_learners_may_be_entered_again_inside_itself(step):
    assert factorial(4) == 24


class Marked(nn.Module):
    def forward(self, x):
        with torch.profiler.record_function("x"):
            return x * 2


def test_torchscript_takes_a_mark(step):
    assert torch.jit.script(Marked())(torch.ones(1, device="cuda")).tolist() == [2]


def test_a_mark_may_be_left_after_the_simulation():
    simulation = simulate_gpu("T4")
    mark = record_function("Optimizer.step#Mine.step").__enter__()
    simulation.stop()
    mark.__exit__(None, None, None)


@pytest.mark.skipif(
    release(torch.__version__) < (2, 11), reason="there the simulated card does not hear of marks"
)
@pytest.mark.parametrize("mode", [nullcontext, Seen], ids=["unheard", "heard"])
def test_unheard_marks_take_the_time_of_heard_ones(step, mode):
    clock = current().clock
    with mode():
        begin = clock.now()
        with record_function("Optimizer.step#Mine.step"):
            pass
    assert clock.now() - begin == pytest.approx(2 * DISPATCH.seconds)


def test_a_profile_of_the_card_too_records_the_cpu_alone_and_says_so_once(step, capfd):
    with (
        pytest.warns(UserWarning, match="a simulated card has none: it records the CPU alone") as said,
        profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen,
    ):
        step()
    assert [str(one.message) for one in said if "CUDA" in str(one.message)] == []
    assert "CUDA event" not in capfd.readouterr().err, "C++ would complain at every operator"
    assert "aten::linear" in {event.key for event in seen.key_averages()}
    table = seen.key_averages().table(sort_by="self_cuda_time_total")
    assert "CPU total" in table and "CUDA total" not in table


def test_the_older_profiler_does_the_same(step, capfd):
    with (
        pytest.warns(UserWarning, match="records the CPU alone"),
        torch.autograd.profiler.profile(use_device="cuda"),
    ):
        step()
    assert "CUDA event" not in capfd.readouterr().err


def test_a_profile_of_the_card_alone_is_refused(step):
    with pytest.raises(SimulationError, match=r"profile ProfilerActivity\.CPU\. devicelab\.trace\(\) tells"):
        profile(activities=[ProfilerActivity.CUDA]).start()


def test_a_profile_of_the_cpu_is_none_of_our_business(step, recwarn):
    with profile(activities=[ProfilerActivity.CPU]):
        step()
    assert not [one for one in recwarn if "profiler" in str(one.message)]
