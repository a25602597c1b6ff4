"""The words of a refusal that mean tensors: in each of PyTorch's wordings."""

import pytest

from devicelab.film.hears import Operand, Refusal
from devicelab.film.message import MOST, parts

OPERANDS = (Operand("bias", 0, "cuda:0"), Operand("mat1", 1, "cpu"), Operand("mat2", 2, "cuda:0"))


def marked(message, operands=OPERANDS, operator="addmm"):
    """Return the words that mean something, with the memories that they mean, "operator" for the operator."""
    found = parts(Refusal("RuntimeError", message, operator, operands))
    assert "".join(part.text for part in found) == message[:MOST]
    return {part.text: part.memories or "operator" for part in found if part.memories or part.is_operator}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "Expected all tensors to be on the same device, but got mat1 is on cpu, different from other tensors on cuda:0 "
            "(when checking argument in method wrapper_CUDA_addmm)",
            {"mat1 is on cpu": (1,), "other tensors on cuda:0": (0, 2), "wrapper_CUDA_addmm": "operator"},
        ),
        (
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
            {"cuda:0": (0, 2), "cpu": (1,)},
        ),
        (
            "Expected all tensors to be on the same device, but got tensors is on cpu",
            {"tensors is on cpu": (1,)},
        ),
        ("expected the tensor to be on cuda", {"cuda": (0, 2)}),
        ("it found nothing of the kind on mps", {}),
        ("Expected one of cpu, cuda device type at start of device string", {"cpu": (1,)}),
    ],
)
def test_what_the_words_of_a_message_mean(message, expected):
    assert marked(message) == expected


def test_a_list_s_argument_means_all_of_it():
    operands = (Operand("tensors[0]", 0, "cpu"), Operand("tensors[1]", 1, "cpu"), Operand("out", 2, "cuda:0"))
    assert marked("but got tensors is on cpu", operands, "cat") == {"tensors is on cpu": (0, 1)}


def test_without_an_operator_nothing_is_marked():
    assert marked("the model is on cpu (wrapper_CUDA_addmm)", (), "") == {}


def test_a_long_message_is_cut():
    found = parts(Refusal("RuntimeError", "x" * 5000))
    assert [len(part.text) for part in found] == [MOST + 1] and found[0].text.endswith("…")
