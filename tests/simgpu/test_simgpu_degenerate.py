"""Calls that leave early because there is nothing to compute: their results lie on the card, and their `out=` must too.

Functions that make such a result from nothing were found by running PyTorch's operator database with its tensors cut to
nothing and its numbers set to 0; so were those that look at `out=` on a way of their own.
"""

import pytest
import torch
import torch.nn.functional as F

from devicelab.simgpu import simulate_gpu


@pytest.fixture(autouse=True)
def simulation():
    with simulate_gpu("T4") as running:
        yield running


def none(*shape, dtype=torch.float32):
    return torch.empty(*shape, dtype=dtype, device="cuda")


def ones(*shape):
    return torch.ones(*shape, device="cuda")


FROM_NOTHING = {
    "combinations of none": lambda: torch.combinations(ones(3), 0),
    "combinations by name": lambda: torch.combinations(input=ones(3), r=0),
    "a Vandermonde matrix without columns": lambda: torch.vander(ones(2), 0),
    "an integral over nothing": lambda: torch.trapezoid(none(0)),
    "over no width": lambda: torch.trapezoid(none(3, 0), none(3, 0)),
    "by the older name": lambda: torch.trapz(none(2, 0), dx=0.5),
    "a condition": lambda: torch.linalg.cond(none(0, 3)),
    "conditions": lambda: torch.linalg.cond(none(2, 0, 0), "fro"),
    "a rank": lambda: torch.linalg.matrix_rank(none(0, 0)),
    "a spectral norm": lambda: torch.linalg.matrix_norm(none(0, 3), 2),
    "a largest sum": lambda: torch.linalg.matrix_norm(none(2, 0), float("inf"), keepdim=True),
    "a norm": lambda: torch.linalg.norm(none(0, 5), 1),
    "no labels": lambda: F.one_hot(none(0, dtype=torch.long), 3),
    "no labels in rows": lambda: F.one_hot(none(2, 0, dtype=torch.long), num_classes=5),
    "no distances": lambda: F.pdist(ones(1, 3)),
    "no attention": lambda: F.scaled_dot_product_attention(*[none(1, 1, 0, 4)] * 3),
}


@pytest.mark.parametrize("make", FROM_NOTHING.values(), ids=FROM_NOTHING)
def test_a_result_made_of_nothing_lies_on_the_card(make):
    try:
        out = make()
    except IndexError as error:
        pytest.skip(f"this PyTorch refuses it: {error}")
    assert out.device == torch.device("cuda", 0)
    assert (out + out).is_cuda


def test_the_same_of_the_cpu_stays_on_the_cpu():
    assert torch.combinations(torch.ones(3), 0).device.type == "cpu"
    assert torch.trapezoid(torch.empty(0)).device.type == "cpu"
    assert F.one_hot(torch.empty(0, dtype=torch.long), 3).device.type == "cpu"
    with pytest.raises(RuntimeError, match="at least two devices"):
        ones(1) + torch.vander(torch.ones(1), 0).new_ones(1)


OUT = {
    "diff": (lambda out: torch.diff(ones(3), 0, out=out), "expected device cuda:0 but found cpu"),
    "diff by name": (
        lambda out: torch.diff(ones(2, 3), n=0, dim=0, out=out),
        "expected device cuda:0 but found cpu",
    ),
    "diff, once": (lambda out: torch.diff(ones(3), out=out), "Expected all tensors to be on the same device"),
    "a first power": (
        lambda out: torch.linalg.matrix_power(ones(2, 2), 1, out=out),
        "matrix_power: Expected result and input tensors to be on the same device",
    ),
    "one tensor": (
        lambda out: torch.cat([ones(3)], out=out),
        "Expected all tensors to be on the same device",
    ),
    "one matrix": (
        lambda out: torch.linalg.multi_dot([ones(2, 2), ones(2, 2)], out=out),
        r"multi_dot\(\): expected out tensor to be on device cuda:0 but got cpu",
    ),
    "no columns": (
        lambda out: torch.mm(none(2, 0), none(0, 2), out=out),
        "Expected all tensors to be on the same device",
    ),
    "no values": (
        lambda out: torch.cumsum(none(0), 0, out=out),
        "Expected (all tensors to be on the same device|out tensor to have device cuda:0)",
    ),
}


@pytest.mark.parametrize(("call", "words"), OUT.values(), ids=OUT)
def test_an_out_tensor_elsewhere_is_refused_where_nothing_is_computed(call, words):
    with pytest.raises(RuntimeError, match=words):
        call(torch.empty(0))


def test_a_zeroth_difference_is_a_copy_where_both_lie_on_the_card():
    out = none(3)
    assert torch.diff(ones(3), 0, out=out) is out
    assert out.tolist() == [1, 1, 1]
    assert torch.diff(ones(3), 0).is_cuda


OPERANDS = {
    "no rows to index": lambda: ones(3).index_select(0, torch.empty(0, dtype=torch.long)),
    "none to add": lambda: ones(3).index_add_(0, torch.empty(0, dtype=torch.long), torch.empty(0)),
    "none to put": lambda: ones(3).put_(torch.empty(0, dtype=torch.long), torch.empty(0)),
    "none to scatter": lambda: ones(3).scatter_(0, torch.empty(0, dtype=torch.long), torch.empty(0)),
    "an empty product": lambda: torch.bmm(none(0, 2, 2), torch.ones(0, 2, 2)),
    "an empty sum": lambda: none(0) + torch.empty(0),
    "an empty tensor beside another": lambda: torch.cat([torch.empty(0), ones(3)]),
    "no distance": lambda: torch.cdist(none(0, 2), torch.ones(3, 2)),
    "no choice": lambda: torch.where(torch.ones(0, dtype=torch.bool), none(0), torch.empty(0)),
}


@pytest.mark.parametrize("call", OPERANDS.values(), ids=OPERANDS)
def test_an_operand_elsewhere_is_refused_also_where_there_is_nothing_in_it(call):
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        call()
