"""Run one entry of PyTorch's operator database on the CPU and on the simulated card, and compare."""

import os
import random
import zlib
from itertools import islice
from typing import Any

import numpy
import torch
from torch.testing._internal import common_utils
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo import core
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

# It looks for a unittest.TestCase by reading the sources of the whole stack, at each sample: nine tenths of the time.
common_utils.extract_test_fn = lambda: None
core.extract_test_fn = common_utils.extract_test_fn  # since 2.10 it has the name of its own


def seed(number: int = common_utils.SEED) -> None:
    """Seed as PyTorch's samples are seeded, but for accelerators that never start.

    torch.manual_seed keeps the whole stack as text for each of these, each time: a third of what was left.
    """
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(number)
    random.seed(number)
    numpy.random.seed(number)


common_utils.set_rng_seed = seed

FRACTION = float(os.environ.get("DEVICELAB_OPDB_FRACTION", "0.1"))
SAMPLES = 100 if FRACTION == 1 else 6  # of each operator's; the first ones differ most
# Operators whose values or devices do not agree, each with the reason. At most 0.5 % of the database.
# Called as torch.linalg.matrix_rank it is right (test_simgpu_values.py); the database's name for it is older than the
# simulation.
CPU_DRIVERS = ("gelsy", "gelss", "gelsd")  # of lstsq: CUDA has gels alone
EMPTY = "of an empty matrix, torch makes the result without looking at it"
EXCEPTIONS: dict[str, str] = {"linalg.matrix_rank": EMPTY, "linalg.matrix_rank.hermitian": EMPTY}
# What a CPU cannot run either, so there is nothing to compare with.
CUDA_SOURCE = "compiles CUDA source text, which is refused"
UNINITIALIZED = ("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided")


def name_of(op: Any) -> str:
    """Return the operator's name with its variant."""
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name


def entries(dtype: torch.dtype = torch.float32) -> list[Any]:
    """Return all entries that both the CPU and CUDA have for a dtype."""
    both = [op for op in op_db if dtype in op.supported_dtypes("cpu") & op.supported_dtypes("cuda")]
    return [op for op in both if "jiterator" not in op.name]


def chosen(dtype: torch.dtype = torch.float32, fraction: float = FRACTION) -> list[Any]:
    """Return that fraction of the entries, always the same ones."""
    return [op for op in entries(dtype) if zlib.crc32(name_of(op).encode()) % 1000 < 1000 * fraction]


def samples(op: Any, dtype: torch.dtype) -> list[Any]:
    """Return a few sample inputs on the CPU; to be called while nothing is simulated."""
    seed(0)
    requires_grad = op.supports_autograd and dtype in op.supported_backward_dtypes("cpu")
    generated = op.sample_inputs("cpu", dtype, requires_grad=requires_grad)
    kept = (sample for sample in generated if sample.kwargs.get("driver") not in CPU_DRIVERS)
    return list(islice(kept, SAMPLES))


def on(device: str, value: Any) -> Any:
    """Return the arguments with every tensor a leaf on `device`."""

    def leaf(item: Any) -> Any:
        if not isinstance(item, torch.Tensor):
            is_device = isinstance(item, torch.device) or (isinstance(item, str) and item == "cpu")
            return torch.device(device) if is_device else item
        return item.detach().clone().to(device).requires_grad_(item.requires_grad)

    return tree_map(leaf, value)


def tensors(value: Any) -> list[torch.Tensor]:
    """Return all tensors in a nested value."""
    return [item for item in tree_flatten(value)[0] if isinstance(item, torch.Tensor)]


def belongs(sample: Any) -> str:
    """Return where a sample's results belong: on the card, unless it has neither a tensor nor a device (torch.arange(3))."""
    return (
        "cuda:0"
        if tensors((sample.input, sample.args, sample.kwargs)) or sample.kwargs.get("device")
        else "cpu"
    )


def forward_and_backward(op: Any, sample: Any, device: str) -> tuple[Any, list[Any]]:
    """Run an operator on `device`; return its outputs and the gradients of its inputs."""
    first, rest, named = arguments = on(device, (sample.input, sample.args, sample.kwargs))
    seed(0)
    out = op.op(first, *rest, **named)
    inputs = [tensor for tensor in tensors(arguments) if tensor.requires_grad]
    roots = [tensor for tensor in tensors(sample.output_process_fn_grad(out)) if tensor.requires_grad]
    if not roots or not inputs:
        return out, []
    ones = [torch.ones_like(root) for root in roots]
    gradients = torch.autograd.grad(roots, inputs, ones, allow_unused=True)
    return out, [with_memory(gradient) for gradient in gradients]


def with_memory(gradient: torch.Tensor | None) -> torch.Tensor | None:
    """Return real zeros for autograd's zeros without memory, of which 2 * zeros crashes torch below a dispatch mode."""
    return torch.zeros_like(gradient) if gradient is not None and gradient._is_zerotensor() else gradient


def in_place(op: Any, sample: Any, device: str) -> Any:
    """Run an operator's in-place variant on `device`; return the tensor, and whether the same object came back."""
    first, rest, named = on(device, (sample.input, sample.args, sample.kwargs))
    with torch.no_grad():
        out = op.inplace_variant(first, *rest, **named)
    return first, out is first


def into_out(op: Any, sample: Any, device: str) -> Any:
    """Run an operator with `out=` on `device`, into empty tensors; return them."""
    first, rest, named = on(device, (sample.input, sample.args, sample.kwargs))
    with torch.no_grad():
        out = tree_map(torch.empty_like, op.op(first, *rest, **named))
        op.op(first, *rest, **{key: value for key, value in named.items() if key != "device"}, out=out)
    return out


class DrawsRandomNumbers(TorchDispatchMode):
    """Notes whether an operator that PyTorch marks as random runs."""

    found = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found |= torch.Tag.nondeterministic_seeded in func.tags
        return func(*args, **(kwargs or {}))


class Witness(TorchDispatchMode):
    """Notes every operator that had an operand on a card and gave a result elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.escaped: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        on_card = any(tensor.is_cuda for tensor in tensors((args, kwargs or {})))
        if on_card and func not in LEAVE_THE_CARD and not all(tensor.is_cuda for tensor in tensors(out)):
            self.escaped.append(str(func))
        return out


LEAVE_THE_CARD = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)  # copies: they say where to


def compare(found: Any, expected: Any, values: bool, where: str = "cuda:0") -> None:
    """Assert that two nested results agree, and that every tensor of the first lies on `where`."""
    found_tensors, expected_tensors = tensors(found), tensors(expected)
    assert len(found_tensors) == len(expected_tensors)
    for one, other in zip(found_tensors, expected_tensors, strict=True):
        assert str(one.device) == where, f"the result lies on {one.device}"
        assert (one.shape, one.dtype, one.layout) == (other.shape, other.dtype, other.layout)
        assert one.is_leaf == other.is_leaf
        assert one.layout != torch.strided or one.stride() == other.stride()
        if values:
            torch.testing.assert_close(one.cpu(), other.resolve_conj(), equal_nan=True, rtol=1e-4, atol=1e-5)


def agree(found: Any, expected: Any) -> bool:
    """Say whether two nested results on the CPU have the same values."""
    try:
        compare(found, expected, True, "cpu")
    except AssertionError:
        return False
    return True
