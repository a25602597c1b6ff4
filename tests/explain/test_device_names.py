"""A name that is none of a device: what was meant, and the fix typed in."""

import pytest
import torch

from devicelab.explain import explain
from devicelab.explain.device_names import mended

WRONG = {
    "gpu": "cuda",
    "/gpu:0": "cuda:0",
    "/device:GPU:1": "cuda:1",
    "GPU:1": "cuda:1",
    "gpu0": "cuda:0",
    "cuda0": "cuda:0",
    "cuda 0": "cuda:0",
    "cuda:None": "cuda",
    "cuda:cuda:1": "cuda:1",
    "mps:mps": "mps",
    "cuda:-1": "cuda:0",
    "cuda:": "cuda",
    "cuda:all": "cuda",
    "cuda:0,1": "cuda",
    "0,1": "cuda",
    "Cuda:1": "cuda:1",
    "dpcpp:0": "xpu:0",
    "intel": "xpu",
    "rocm": "cuda",
    "metal": "mps",
    "cpu ": "cpu",
}
PORTABLE = ("auto", "None", "", "c")
ELSEWHERE = {"dml": "torch_directml.device()", "tpu": "torch_xla.device()", "npu": "import torch_npu"}


def refused(code: str, **names: object) -> Exception:
    with pytest.raises(RuntimeError) as seen:
        exec(code, {"torch": torch, **names})
    return seen.value


def told(code: str, error: Exception) -> str:
    """Explain the text of an error that a line raised; return the fix."""
    found = explain(
        f'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\n    {code}\nRuntimeError: {error}'
    )
    assert found.kind == "device string" and found.why and found.fix
    return found.fix


@pytest.mark.parametrize("given", WRONG)
def test_the_line_is_mended_and_runs(given):
    code = f'd = torch.device("{given}")'
    fix = told(code, refused(code))
    scope: dict[str, object] = {"torch": torch}
    exec(fix, scope)
    assert scope["d"] == torch.device(WRONG[given])


@pytest.mark.parametrize("given", PORTABLE)
def test_a_name_that_chooses_none_becomes_a_choice(given):
    code = f'd = torch.device("{given}")'
    scope: dict[str, object] = {"torch": torch}
    exec(told(code, refused(code)), scope)
    assert scope["d"] == torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("given", ELSEWHERE)
def test_devices_of_other_packages_name_the_package(given):
    code = f'd = torch.device("{given}")'
    assert ELSEWHERE[given] in told(code, refused(code))


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ('d = torch.device(f"cuda:{number}")', torch.device("cuda:1")),
        ('d = torch.device("cuda:" + number)', torch.device("cuda:1")),
        ('d = torch.device("cuda:" + str(number))', torch.device("cuda:1")),
    ],
)
def test_a_prefix_that_stands_there_twice_is_taken_away(code, wanted):
    fix = told(code, refused(code, number="cuda:1"))
    scope: dict[str, object] = {"torch": torch, "number": "cuda:1"}
    exec(fix, scope)
    assert scope["d"] == wanted


def test_a_number_that_is_none_leaves_the_name_alone():
    code = 'd = torch.device(f"cuda:{number}")'
    assert told(code, refused(code, number=None)) == 'd = torch.device("cuda")'


def test_without_a_line_the_name_alone_is_said():
    assert mended("", "gpu", '"cuda"') == '"cuda"'


def test_the_number_is_told_by_a_text_that_has_no_line():
    assert explain("RuntimeError: Invalid device string: '0'").fix == '"cuda:0"'
