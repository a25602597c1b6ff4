"""Operators of one's own, by torch.library: each device's kernel runs for its tensors, and no other."""

import pytest
import torch

from devicelab import simulate_gpu

made = torch.library.Library("devicelab_library", "DEF")
for name in ("both", "of_cpu", "of_cuda", "of_all"):
    made.define(f"{name}(Tensor x, Tensor? y=None) -> Tensor")
made.impl("both", lambda x, y=None: x + 1, "CPU")
made.impl("both", lambda x, y=None: x + 2, "CUDA")
made.impl("of_cpu", lambda x, y=None: x + 1, "CPU")
made.impl("of_cuda", lambda x, y=None: x + 2, "CUDA")
made.impl("of_all", lambda x, y=None: x + 3, "CompositeExplicitAutograd")


@torch.library.custom_op("devicelab_library::decorated", mutates_args=(), device_types="cpu")
def decorated(x: torch.Tensor) -> torch.Tensor:
    """Have a kernel for the CPU."""
    return x + 1


@torch.library.custom_op("devicelab_library::registered", mutates_args=(), device_types="cpu")
def registered(x: torch.Tensor) -> torch.Tensor:
    """Have a kernel for each."""
    return x + 1


@registered.register_kernel("cuda")
def _(x):
    return x + 2


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("T4") as simulation:
        yield simulation


OPERATORS = torch.ops.devicelab_library
RESULTS = {  # on the CPU and on the card; None: there is no kernel
    "both": (1, 2),
    "of_cpu": (1, None),
    "of_cuda": (None, 2),
    "of_all": (3, 3),
    "decorated": (1, None),
    "registered": (1, 2),
}


@pytest.mark.parametrize("name", RESULTS)
def test_each_device_has_its_own_kernel(name):
    operator = getattr(OPERATORS, name)
    for device, expected in zip(("cpu", "cuda"), RESULTS[name], strict=True):
        x = torch.zeros(2, device=device)
        if expected is None:
            words = f"Could not run 'devicelab_library::{name}' with arguments from the '{device.upper()}' backend"
            with pytest.raises(NotImplementedError, match=words):
                operator(x)
        else:
            out = operator(x)
            assert out.device == x.device and out.tolist() == [expected] * 2


def test_the_cards_kernel_runs_where_one_operand_lies_there():
    here, there = torch.zeros(2), torch.zeros(2, device="cuda")
    assert OPERATORS.both(there, here).tolist() == [2, 2]
    assert OPERATORS.both(here, there).device.type == "cpu"
    assert OPERATORS.both(here, there).tolist() == [2, 2]


def test_a_kernel_for_the_card_sees_tensors_of_the_card():
    seen = []

    @torch.library.custom_op("devicelab_library::looks", mutates_args=(), device_types="cuda")
    def looks(x: torch.Tensor) -> torch.Tensor:
        seen.append((x.device.type, x.is_cuda, torch.empty_like(x).device.type))
        return x + torch.ones(2, device="cuda")

    assert looks(torch.zeros(2, device="cuda")).device.type == "cuda" and seen == [("cuda", True, "cuda")]
    with pytest.raises(NotImplementedError, match="'CPU' backend"):
        looks(torch.zeros(2))
