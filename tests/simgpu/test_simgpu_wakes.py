"""What makes a CUDA context, so that nvidia-smi would list this process, and what only asks."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import devicelab as lab
from devicelab import simulate_gpu

TWO = TensorDataset(torch.ones(2, 1))
ASKS = {
    "is_available": lambda: torch.cuda.is_available(),
    "device_count": lambda: torch.cuda.device_count(),
    "is_initialized": lambda: torch.cuda.is_initialized(),
    "init": lambda: torch.cuda.init(),
    "get_device_name": lambda: torch.cuda.get_device_name(),
    "get_device_properties": lambda: torch.cuda.get_device_properties(0),
    "get_device_capability": lambda: torch.cuda.get_device_capability(),
    "current_device": lambda: torch.cuda.current_device(),
    "set_device, to the current one": lambda: torch.cuda.set_device(0),
    "current_stream": lambda: torch.cuda.current_stream(),
    "memory_allocated": lambda: torch.cuda.memory_allocated(),
    "memory_reserved": lambda: torch.cuda.memory_reserved(),
    "a seed": lambda: torch.cuda.manual_seed(1),
    "a module on the CPU": lambda: torch.nn.Linear(2, 2)(torch.ones(2)),
    "is_pinned": lambda: torch.ones(2).is_pinned(),
    "a DataLoader without pinning": lambda: next(iter(DataLoader(TWO))),
}
WAKES = {
    "the first tensor": lambda: torch.empty(1, device="cuda"),
    "a copy": lambda: torch.ones(1).cuda(),
    "synchronize": lambda: torch.cuda.synchronize(),
    "accelerator.synchronize": lambda: torch.accelerator.synchronize(),
    "mem_get_info": lambda: torch.cuda.mem_get_info(),
    "a stream": lambda: torch.cuda.Stream(),
    "an event that is recorded": lambda: torch.cuda.Event().record(),
    "pin_memory": lambda: torch.ones(2).pin_memory(),
    "pin_memory=True": lambda: torch.ones(2, pin_memory=True),
    "empty_like, pinned": lambda: torch.empty_like(torch.ones(2), pin_memory=True),
    "a DataLoader that pins": lambda: next(iter(DataLoader(TWO, pin_memory=True))),
}


@pytest.fixture
def machine():
    with simulate_gpu("Tesla T4", count=2) as simulation:
        yield simulation


def awake(machine) -> list[bool]:
    """Say which cards have a context, as the driver would see it."""
    return [machine.memory(card.index)[0] > 0 for card in machine.cards]


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_a_question_makes_no_context(machine, ask):
    ask()
    assert awake(machine) == [False, False]
    assert lab.clock() < 0.01


@pytest.mark.parametrize("wake", WAKES.values(), ids=WAKES)
def test_memory_waits_and_pinning_make_a_context_on_the_current_card_only(machine, wake):
    wake()
    assert awake(machine) == [True, False]
    assert lab.clock() > 0.1


def test_a_question_for_the_name_sets_pytorch_up_and_makes_no_context(machine):
    torch.cuda.get_device_name()
    assert torch.cuda.is_initialized()
    assert awake(machine) == [False, False]


def test_choosing_another_card_wakes_it_as_cuda_12_does(machine):
    with torch.cuda.device(1):
        pass
    assert awake(machine) == [False, True]


def test_pinning_takes_the_context_that_is_there(machine):
    torch.ones(1, device="cuda:1")
    torch.ones(1).pin_memory()
    assert awake(machine) == [False, True]


def test_an_estimate_wakes_nothing(machine):
    lab.estimate(lambda: torch.ones(4).sum(), gpu="Tesla T4")
    assert awake(machine) == [False, False]
