"""Each constructor in torch's own list follows the default device to the simulated card as it follows to `meta`."""

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils import _device

import devicelab as lab

INDICES, VALUES = torch.tensor([[0, 1], [0, 1]]), torch.tensor([1.0, 2.0])
POINTERS, COLUMNS, BLOCKS = torch.tensor([0, 1, 2]), torch.tensor([0, 1]), torch.ones(2, 1, 1)
ROWS = (POINTERS, COLUMNS, VALUES, (2, 2))
# name below torch -> the arguments of one or more calls
CALLS: dict[str, list[tuple[Any, ...]]] = {
    "arange": [(3,)],
    "as_tensor": [([1.0],), (VALUES,)],
    "asarray": [([1.0],), (VALUES,)],
    "bartlett_window": [(4,)],
    "blackman_window": [(4,)],
    "empty": [(2,)],
    "empty_permuted": [((2, 3), (1, 0))],
    "empty_strided": [((2, 3), (3, 1))],
    "eye": [(2,)],
    "fft.fftfreq": [(4,)],
    "fft.rfftfreq": [(4,)],
    "full": [((2,), 1.0)],
    "hamming_window": [(4,)],
    "hann_window": [(4,)],
    "kaiser_window": [(4,)],
    "linspace": [(0, 1, 3), (torch.tensor(0.0), torch.tensor(1.0), 3)],
    "logspace": [(0, 1, 3), (torch.tensor(0.0), 1.0, 3)],
    "nested.nested_tensor": [([[1.0, 2.0], [3.0]],), ([VALUES, VALUES[:1]],)],
    "ones": [(2,)],
    "rand": [(2,)],
    "randint": [(5, (2,))],
    "randn": [(2,)],
    "randperm": [(4,)],
    "range": [(0, 3)],
    "scalar_tensor": [(1.0,)],
    "sparse_bsc_tensor": [(POINTERS, COLUMNS, BLOCKS, (2, 2))],
    "sparse_bsr_tensor": [(POINTERS, COLUMNS, BLOCKS, (2, 2))],
    "sparse_compressed_tensor": [ROWS],
    "sparse_coo_tensor": [(INDICES, VALUES, (2, 2)), ([[0, 1], [0, 1]], [1.0, 2.0], (2, 2))],
    "sparse_csc_tensor": [ROWS],
    "sparse_csr_tensor": [ROWS, ([0, 1, 2], [0, 1], [1.0, 2.0], (2, 2))],
    "tensor": [([1.0],), (VALUES,)],
    "tril_indices": [(2, 2)],
    "triu_indices": [(2, 2)],
    "zeros": [(2,)],
}
ON_CPU_ONLY = {"empty_quantized"}  # quantized tensors: no kernel for `meta` to compare with
MORE: dict[str, dict[str, Any]] = {"sparse_compressed_tensor": {"layout": torch.sparse_csr}}
CASES = {
    f"{name}({', '.join(type(item).__name__ for item in arguments)})": (name, arguments)
    for name, calls in CALLS.items()
    for arguments in calls
}
# sparse and nested tensors are in beta, torch.range is deprecated
pytestmark = pytest.mark.filterwarnings("ignore")


def make(name: str, arguments: tuple[Any, ...]) -> torch.Tensor:
    return operator.attrgetter(name)(torch)(*arguments, **MORE.get(name, {}))


@contextmanager
def set_as_default(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


def test_the_list_is_torchs_own():
    known = {operator.attrgetter(name)(torch) for name in CALLS.keys() | ON_CPU_ONLY}
    assert known == _device._device_constructors()


@pytest.fixture(scope="module")
def types_on_meta() -> dict[str, str]:
    """What each call answers under the default device `meta`, asked before there is a simulated card."""
    with torch.device("meta"):
        return {case: make(*CASES[case]).device.type for case in CASES}


@pytest.fixture(scope="module")
def two_cards(types_on_meta: dict[str, str]) -> Iterator[None]:
    with lab.simulate_gpu(count=2):
        yield


@pytest.mark.parametrize("default", [torch.device, set_as_default])
@pytest.mark.parametrize("case", CASES)
def test_a_constructor_follows_as_it_follows_to_meta(
    case: str, default: Callable[[str], Any], types_on_meta: dict[str, str], two_cards: None
):
    name, arguments = CASES[case]
    with default("cuda:1"):
        device = make(name, arguments).device
    assert str(device) == types_on_meta[case].replace("meta", "cuda:1")
    assert make(name, arguments).device.type == "cpu"
    assert all(item.device.type == "cpu" for item in arguments if isinstance(item, torch.Tensor))


def test_nearly_all_of_them_follow(types_on_meta: dict[str, str]):
    here = {name for name, device in types_on_meta.items() if device != "meta"}
    assert here <= {"nested.nested_tensor(list)", "range(int, int)"}


def test_a_default_of_cpu_brings_a_cards_tensor_home():
    with lab.simulate_gpu():
        there = VALUES.to("cuda")
        assert torch.tensor(there.tolist()).device.type == "cpu" and torch.as_tensor(there) is there
        with torch.device("cpu"):
            made = [torch.tensor(there), torch.as_tensor(there), torch.asarray(there)]
            assert torch.as_tensor(there, device="cuda") is there
        assert [item.device.type for item in made] == ["cpu"] * 3
        assert made[1].tolist() == VALUES.tolist()


def test_what_follows_keeps_its_values_and_its_promise_to_copy():
    with lab.simulate_gpu(), torch.device("cuda"):
        here = VALUES.to("cuda")
        assert torch.as_tensor(here) is here
        copied = torch.tensor(here.detach())
        copied += 1
        assert here.tolist() == VALUES.tolist() and torch.tensor(VALUES).tolist() == VALUES.tolist()
        assert torch.fft.fftfreq(4).tolist() == [0.0, 0.25, -0.5, -0.25]
