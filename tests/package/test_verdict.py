import pytest

from devicelab.trace import Line, Operator, Trace
from devicelab.verdict import is_mismatch, judge

CAUGHT = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"


def traced(*where: tuple[str, str], faults=(), card="cuda") -> Trace:
    operators = tuple(Operator("aten::mm", device, phase, None, 1, 1e-6) for phase, device in where)
    return Trace(operators, (), (), (), 1, 1.0, "measured", card, "NVIDIA L4", faults=faults)


@pytest.mark.parametrize(
    ("where", "word"),
    [
        ([("forward", "cpu"), ("backward", "cpu"), ("optimizer", "cpu")], "cpu"),
        ([("forward", "cuda:0"), ("backward", "cuda:0"), ("optimizer", "cuda:0")], "accelerator"),
        ([("forward", "cuda:0"), ("backward", "cuda:1")], "accelerator"),
        ([("forward", "mps:0"), ("backward", "mps:0")], "accelerator"),
        ([("other", "cpu"), ("forward", "cuda:0"), ("backward", "cuda:0")], "accelerator"),
        ([("forward", "cuda:0"), ("backward", "cuda:0"), ("optimizer", "cpu")], "mixed"),
        ([("forward", "cpu"), ("forward", "cuda:0"), ("backward", "cuda:0")], "mixed"),
        ([("forward", "cuda:0")], "no-training"),
        ([("other", "cpu")], "no-training"),
        ([], "no-training"),
    ],
)
def test_the_word_follows_from_where_the_training_ran(where, word):
    assert judge(traced(*where)).word == word


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_a_mismatch_that_ends_the_script_is_the_verdict_with_its_line():
    verdict = judge(traced(("other", "cuda:0")), raised(RuntimeError(CAUGHT)))
    assert verdict.word == "mismatch" and verdict.line.text == "raise error"
    assert verdict.sentence.startswith("Tensors on unlike devices met, at test_verdict.py:")
    assert verdict.explanation and verdict.explanation.splitlines()[0] in str(verdict)


def test_a_mismatch_after_training_says_what_ran_until_then():
    verdict = judge(traced(("forward", "cuda:0"), ("backward", "cuda:0")), raised(RuntimeError(CAUGHT)))
    assert verdict.word == "mismatch" and "Until then: Training ran on cuda:0" in verdict.sentence


def test_a_caught_mismatch_counts_only_where_nothing_was_trained():
    faults = ((CAUGHT, Line("train.py", 7, "model(x)")),)
    assert judge(traced(("other", "cpu"), faults=faults)).word == "mismatch"
    assert judge(traced(("forward", "cpu"), ("backward", "cpu"), faults=faults)).word == "cpu"


def test_another_error_does_not_change_the_word():
    verdict = judge(traced(("forward", "cpu"), ("backward", "cpu")), raised(KeyError("lr")))
    assert verdict.word == "cpu" and "ended with KeyError: 'lr'" in str(verdict) and not verdict.explanation


@pytest.mark.parametrize(
    "message",
    [
        CAUGHT,
        "Expected all tensors to be on the same device, but got mat1 is on cpu, different from other tensors on cuda:0 "
        "(when checking argument in method wrapper_CUDA_addmm)",
        "Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) should be the same or input should be a MKLDNN "
        "tensor and weight is a dense tensor",
        "Input and hidden tensors are not at the same device, found input tensor at cpu and hidden tensor at cuda:0",
        "indices should be either on cpu or on the same device as the indexed tensor (cpu)",
        "Expected query, key, and value to have the same device type, but got query.device: cuda:0 key.device: cpu",
        "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.",
        "attempting to assign a gradient with device type 'cuda' to a tensor with device type 'cpu'.",
        "'lengths' argument should be a 1D CPU int64 tensor, but got 1D cuda:0 Long tensor",
        "Tensors of the same index must be on the same device and the same dtype except `step` tensors",
    ],
)
def test_pytorchs_messages_about_devices_are_known(message):
    assert is_mismatch(message)


@pytest.mark.parametrize(
    "message", ["shape mismatch", "CUDA out of memory", "mat1 and mat2 shapes cannot be multiplied"]
)
def test_other_messages_are_not_taken_for_them(message):
    assert not is_mismatch(message)


def test_plain_data_has_the_word_and_the_sentence():
    data = judge(traced(("forward", "cpu"), ("backward", "cpu"), card="cpu"), notes=("a note",)).to_dict()
    assert data["verdict"] == "cpu" and data["sentence"].startswith("Training ran on cpu")
    assert data["error"] is None and data["notes"] == ["a note"]
