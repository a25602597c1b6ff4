"""The profiler's marks on the simulated card: seen where somebody profiles or listens, and as long as ever where nobody does."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.profiler import profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode

from devicelab import simulate_gpu
from devicelab.costs import DISPATCH
from devicelab.simgpu import current


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


def test_a_mark_may_be_left_after_the_simulation():
    with record_function("around"):
        simulation = simulate_gpu("T4")
        inner = record_function("inner").__enter__()
        simulation.stop()
        inner.__exit__(None, None, None)


@pytest.mark.parametrize("mode", [nullcontext, Seen], ids=["unheard", "heard"])
def test_unheard_marks_take_the_time_of_heard_ones(step, mode):
    clock = current().clock
    with mode():
        begin = clock.now()
        with record_function("mine"):
            pass
    assert clock.now() - begin == pytest.approx(2 * DISPATCH.seconds)
