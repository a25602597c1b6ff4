"""A number as a device means the card with that number, everywhere PyTorch accepts one."""

import copy
import pickle

import pytest
import torch
from torch import nn

from devicelab.simgpu import simulate_gpu

CUDA1 = torch.device("cuda", 1)
REAL_DEVICE = torch.device


def outcome(call):
    """Return what a call gives or raises, in words."""
    try:
        return repr(call())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


WITHOUT_A_CARD = outcome(lambda: torch.device(0))  # a CPU wheel refuses, a CUDA wheel says cuda:0


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("Tesla T4", count=2) as simulation:
        yield simulation


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.ones(1).to(1),
        lambda: torch.ones(1).to(device=1),
        lambda: torch.ones(1).cuda(1),
        lambda: nn.Linear(1, 1).to(1).weight,
        lambda: nn.Linear(1, 1).to(device=1).weight,
        lambda: nn.Linear(1, 1).cuda(1).weight,
        lambda: nn.Linear(1, 1, device=1).weight,
        lambda: nn.Linear(1, 1, device="meta").to_empty(device=1).weight,
        lambda: torch.zeros(2, device=1),
        lambda: torch.arange(2, device=1),
        lambda: torch.tensor([1], device=1),
        lambda: torch.zeros_like(torch.ones(1), device=1),
        lambda: torch.ones(1).new_zeros(1, device=1),
        lambda: torch.UntypedStorage(2, device=1),
        lambda: torch.Generator(1),
    ],
)
def test_a_number_is_a_card(make):
    assert make().device == CUDA1


def test_torch_device_of_a_number():
    assert torch.device(1) == CUDA1 and torch.device(device=1) == CUDA1
    assert torch.device(0).index == 0 and str(torch.device(0)) == "cuda:0"
    with torch.device(1):
        assert torch.ones(1).device == CUDA1
    torch.set_default_device(1)
    try:
        assert nn.Linear(1, 1).weight.device == CUDA1
    finally:
        torch.set_default_device(None)


def test_a_number_without_a_card_is_refused_when_used():
    with pytest.raises(torch.AcceleratorError, match="invalid device ordinal"):
        torch.zeros(1, device=2)


def test_the_stand_in_behaves_as_torch_device():
    assert isinstance(CUDA1, torch.device) and not isinstance("cuda", torch.device)
    assert isinstance(torch.device("cpu"), torch.device | None) and isinstance(
        torch.device("cpu"), REAL_DEVICE
    )
    assert torch.device is not REAL_DEVICE and torch.device == REAL_DEVICE
    assert {REAL_DEVICE: 1}[torch.device] == 1 and {torch.device: 1}[type(CUDA1)] == 1
    assert repr(torch.device) == "<class 'torch.device'>" and torch.device.type is REAL_DEVICE.type
    assert copy.deepcopy(CUDA1) == pickle.loads(pickle.dumps(CUDA1)) == CUDA1
    with pytest.raises(RuntimeError, match="Expected one of cpu, cuda"):
        torch.device("gpu")


def test_torchscript_knows_the_stand_ins():
    @torch.jit.script
    def make(n: int, device: torch.device):
        return torch.zeros(n, device=device) + torch.ones(n, device=device)

    assert make(2, torch.device("cpu")).tolist() == [1.0, 1.0]


def test_devices_pickled_while_simulating_are_read_without(card):
    data = pickle.dumps([CUDA1, torch.device])
    card.stop()
    assert pickle.loads(data) == [CUDA1, REAL_DEVICE]
    assert torch.device is REAL_DEVICE
    assert outcome(lambda: torch.device(0)) == WITHOUT_A_CARD


def test_a_reference_kept_from_the_simulation_goes_on_as_torch_does(card):
    kept = torch.device
    card.stop()
    assert kept("cpu") == torch.device("cpu") and isinstance(torch.device("cpu"), kept)
    assert outcome(lambda: kept(0)) == WITHOUT_A_CARD
