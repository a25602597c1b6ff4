"""Nested tensors on the card: made, moved, differentiated and refused as CUDA does; their sizes are on the CPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.nested import as_nested_tensor

from devicelab import simulate_gpu

CUDA = torch.device("cuda")
pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("T4") as simulation:
        yield simulation


def rows(device="cuda", **options):
    return torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], device=device, **options)


MADE: dict[str, Callable[[], Any]] = {
    "of a tensor": lambda: as_nested_tensor(torch.ones(2, 3, device="cuda")),
    "of a tensor, device=": lambda: as_nested_tensor(torch.ones(2, 3), device=CUDA),
    "of a list": lambda: as_nested_tensor([torch.ones(2, 3, device="cuda")]),
    "of a list, device=": lambda: as_nested_tensor([torch.ones(2, 3)], device=CUDA),
    "of a list, jagged": lambda: as_nested_tensor([torch.ones(2, 3)], device=CUDA, layout=torch.jagged),
    "of padded rows": lambda: torch._nested_from_padded(
        torch.ones(2, 3, 4, device="cuda"), torch.tensor([[1, 2], [3, 4]])
    ),
    "moved": lambda: rows("cpu").to("cuda"),
    "moved with a gradient": lambda: rows("cpu", requires_grad=True).cuda(),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_a_nested_tensor_is_made_on_the_card(make):
    made = make()
    assert made.is_nested and made.is_cuda and (made * 2).is_cuda


def test_a_jagged_one_is_a_view_there_as_on_the_cpu():
    assert (rows("cpu", layout=torch.jagged)._base is None) == (rows(layout=torch.jagged)._base is None)


def test_its_sizes_are_on_the_cpu_and_its_parts_on_the_card():
    made = rows()
    assert [part.device.type for part in made.unbind()] == ["cuda", "cuda"]
    assert made._nested_tensor_size().device.type == made._nested_tensor_strides().device.type == "cpu"


@pytest.mark.parametrize("there", [lambda x: x.cpu(), lambda x: x.to("cpu"), lambda x: x.cpu().cuda()])
def test_gradients_come_back_through_a_move(there):
    leaf = torch.ones(2, 3, device="cuda", requires_grad=True)
    moved = there(as_nested_tensor([leaf, 2 * leaf]))
    moved.to_padded_tensor(0).sum().backward()
    assert leaf.grad is not None and leaf.grad.is_cuda and leaf.grad.tolist() == [[3.0] * 3] * 2


MIXED: dict[str, Callable[[], Any]] = {
    "a sum": lambda: rows() + rows("cpu"),
    "a product": lambda: torch.matmul(rows(), rows("cpu").transpose(1, 2)),
    "a layer": lambda: F.linear(rows(), torch.ones(5, 3)),
    "a jagged layer": lambda: F.linear(rows(layout=torch.jagged), torch.ones(5, 3)),
}


@pytest.mark.parametrize("mix", MIXED.values(), ids=MIXED)
def test_a_mix_with_the_cpu_is_refused(mix):
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        mix()
