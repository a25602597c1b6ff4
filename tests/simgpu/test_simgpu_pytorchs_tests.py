"""What PyTorch's own CUDA tests found: each kind of fault, by the behaviour that mends it."""

import pytest
import torch
from torch import _prims, _refs

from devicelab import simulate_gpu


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("T4") as simulation:
        yield simulation


# --- operators written in Python ------------------------------------------------------------------------------------


def test_what_an_operator_written_in_python_makes_lies_on_the_card():
    x = torch.rand(2, 3, device="cuda")
    assert _prims.amax(x, (0,)).is_cuda and _refs.amin(x, (0, 1)).is_cuda and _refs.softmax(x, 1).is_cuda
    assert _prims.empty_strided((2,), (1,), dtype=torch.float32, device=x.device, requires_grad=False).is_cuda
    torch.testing.assert_close(_refs.mean(x).cpu(), x.cpu().mean())


def test_an_operator_written_in_python_refuses_a_mix_and_stays_on_the_cpu_with_cpu_tensors():
    x = torch.rand(2, 3)
    assert _prims.amax(x, (0,)).device.type == "cpu"
    with pytest.raises(RuntimeError, match="same device"):
        _prims.add(x, x.cuda())
