"""The simulated card gives the CPU's values, forward and backward, over PyTorch's operator database.

DEVICELAB_OPDB_FRACTION=1 runs all of it with all samples; by default a tenth of the operators runs with a few.
Random operators are compared by shape, dtype, layout and device, because each card has a generator of its own.
"""

import warnings
from collections.abc import Callable
from typing import Any

import opdb
import pytest
import torch

from devicelab.simgpu import simulate_gpu

pytestmark = pytest.mark.filterwarnings("ignore")
# On the CPU as well, torch.fft.ihfft2(x, dim=0, out=out) leaves part of `out` as it was.
OUT_EXCEPTIONS = {*opdb.EXCEPTIONS, "fft.ihfft2", "fft.ihfftn"}
Run = Callable[[Any, Any, str], Any]


def reference(op: Any, sample: Any, run: Run) -> tuple[Any, bool] | None:
    """Return what the CPU says, and whether its values can be compared; None where the CPU refuses the sample."""
    try:
        with opdb.DrawsRandomNumbers() as draws:
            expected = run(op, sample, "cpu")
    except Exception:
        return None
    return expected, not draws.found and opdb.name_of(op) not in opdb.UNINITIALIZED


def check(op: Any, run: Run, dtype: torch.dtype = torch.float32) -> int:
    """Compare all samples of an operator; return how many the CPU could run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = [(sample, reference(op, sample, run)) for sample in opdb.samples(op, dtype)]
        with simulate_gpu():
            for sample, expected in known:
                if expected is not None:
                    with opdb.Witness() as witness:
                        found = run(op, sample, "cuda:0")
                    opdb.compare(found, expected[0], expected[1], opdb.belongs(sample))
                    assert not witness.escaped
    return sum(expected is not None for _, expected in known)


def test_the_exceptions_are_few() -> None:
    assert len(opdb.EXCEPTIONS) <= 0.005 * len(opdb.entries())
    assert set(opdb.EXCEPTIONS) <= {opdb.name_of(op) for op in opdb.entries()}


@pytest.mark.parametrize("op", opdb.chosen(), ids=opdb.name_of)
def test_forward_and_backward(op: Any) -> None:
    if opdb.name_of(op) in opdb.EXCEPTIONS:
        pytest.xfail(opdb.EXCEPTIONS[opdb.name_of(op)])
    assert check(op, opdb.forward_and_backward) > 0


@pytest.mark.parametrize("op", [op for op in opdb.chosen() if op.inplace_variant], ids=opdb.name_of)
def test_in_place(op: Any) -> None:
    check(op, opdb.in_place)


@pytest.mark.parametrize(
    "op",
    [op for op in opdb.chosen() if op.supports_out and opdb.name_of(op) not in OUT_EXCEPTIONS],
    ids=opdb.name_of,
)
def test_out(op: Any) -> None:
    check(op, opdb.into_out)


@pytest.mark.parametrize("op", opdb.chosen(torch.complex64, opdb.FRACTION / 4), ids=opdb.name_of)
def test_complex(op: Any) -> None:
    check(op, opdb.forward_and_backward, torch.complex64)


def test_the_exceptions_by_their_usual_names() -> None:
    with simulate_gpu():
        rank = torch.linalg.matrix_rank(torch.zeros(0, 0, device="cuda"))
        assert (str(rank.device), rank.item()) == ("cuda:0", 0)


def test_the_comparison_can_fail() -> None:
    with pytest.raises(AssertionError, match="lies on cpu"):
        opdb.compare(torch.ones(2), torch.ones(2), True)
    with simulate_gpu(), pytest.raises(AssertionError, match="not close"):
        opdb.compare(torch.ones(2, device="cuda"), torch.zeros(2), True)
