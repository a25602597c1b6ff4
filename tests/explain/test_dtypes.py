"""Two dtypes on one device: told apart from two devices, live and in a text, and the line that is printed mends the script."""

import pytest
from explain_scripts import cases, failing, mended

from devicelab.explain import explain

SCRIPTS = cases("dtype_scripts.yaml")
FRAME = '  File "train.py", line 3, in step\n'


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_is_told_by_the_learners_names_and_the_fix_mends(name, tmp_path):
    case = SCRIPTS[name]
    _, found = failing(case, tmp_path)
    assert (found.kind, found.fix, found.seen) == ("dtype", case.fix, True), found
    assert "about dtypes, not about devices" in found.what and not found.known and found.helps
    assert mended(case, tmp_path) is None


def test_what_has_no_kernel_is_not_said_to_meet_another_dtype(tmp_path):
    _, found = failing(SCRIPTS["whole numbers in a product"], tmp_path)
    assert found.what.startswith("a is int64, and this operation has no kernel for it there") and found.line


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("out = net(batch)", "batch = batch.float()"),
        ("x = a + b", ".float()"),
        ("for x in net(y):", ".float()"),
    ],
)
def test_in_a_text_the_name_is_the_calls_argument(line, fix):
    found = explain(
        f"{FRAME}    {line}\nRuntimeError: mat1 and mat2 must have the same dtype, but got Half and Float"
    )
    assert (found.kind, found.fix, found.line) == ("dtype", fix, 3)


def test_in_a_text_the_labels_are_the_last_argument():
    text = (
        f"{FRAME}    loss = criterion(out, labels)\nRuntimeError: expected scalar type Long but found Float"
    )
    assert explain(text).fix == "labels = labels.long()"


@pytest.mark.parametrize(
    ("types", "kind"),
    [
        (("torch.cuda.HalfTensor", "torch.cuda.FloatTensor"), "dtype"),
        (("torch.FloatTensor", "torch.HalfTensor"), "dtype"),
        (("CUDAFloatTensor", "CUDAHalfTensor"), "dtype"),
        (("torch.mps.HalfTensor", "torch.mps.FloatTensor"), "dtype"),
        (("torch.cuda.HalfTensor", "torch.HalfTensor"), "mismatch"),
        (("torch.FloatTensor", "torch.cuda.HalfTensor"), "mismatch"),
        (("CPUFloatTensor", "CUDAFloatTensor"), "mismatch"),
    ],
)
def test_the_types_of_a_message_tell_dtypes_from_devices(types, kind):
    one, other = types
    for words in (
        f"Input type ({one}) and weight type ({other}) should be the same",
        f"Expected object of type {one} but found type {other} for argument #2 'weight'",
        f"expected type {one} but got {other}",
        f"Expected tensor for argument #1 'input' to have the same type as tensor for argument #2 'weight'; but type {one} "
        f"does not equal {other} (while checking arguments for cudnn_convolution)",
    ):
        assert explain(f"RuntimeError: {words}").kind == kind
