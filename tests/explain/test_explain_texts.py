"""Pasted texts: every wording from PyTorch 0.4 to today, and every form of a traceback."""

import ast
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from devicelab.explain import explain
from devicelab.explain.catalogue import SURE
from devicelab.explain.others import FAMILIES
from devicelab.explain.reading import read
from devicelab.explain.wordings import DTYPE, MISPLACED

pytestmark = pytest.mark.text

TEXTS = yaml.safe_load((Path(__file__).parents[1] / "data" / "explain_texts.yaml").read_text("utf-8"))


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_read_in_a_message(name):
    case = TEXTS[name]
    found = read(case["text"])
    assert found is not None
    assert found.family == case["kind"]
    for key, got in (
        ("argument", found.argument),
        ("at", found.argument_device),
        ("other", found.other_device),
    ):
        if key in case:
            assert got == case[key], found


@pytest.mark.parametrize("name", TEXTS)
def test_a_pasted_message_is_explained(name):
    case = TEXTS[name]
    found = explain(case["text"])
    assert found.kind == case["kind"] and not found.seen and found.fix
    assert found.known is (case["kind"] != DTYPE) and found.helps
    assert "text alone" in str(found)
    assert len(str(replace(found, tell=(), elsewhere=())).splitlines()) <= 8
    for key in ("culprit", "fix"):
        if key in case:
            assert getattr(found, key) == case[key], found


@pytest.mark.parametrize("name", [name for name in TEXTS if TEXTS[name]["kind"] in (*MISPLACED, DTYPE)])
def test_what_is_to_be_typed_is_python(name):
    fix = explain(TEXTS[name]["text"]).fix
    assert ast.parse(f"x{fix}" if fix.startswith(".") else fix), fix


def test_every_family_has_a_text():
    assert {*FAMILIES, DTYPE} - {TEXTS[name]["kind"] for name in TEXTS} == {"no mps"}


FAMILIES_TOLD = {
    "No CUDA GPUs are available": ("no device", "yes"),
    "CUDA error: no kernel image is available for execution on the device": ("no kernel image", "yes"),
    "Expected a 'cuda' device type for generator but found 'cpu'": ("generator", "yes"),
    "Cannot re-initialize CUDA in forked subprocess": ("fork", "yes"),
    "MPS framework doesn't support float64": ("mps float64", "yes"),
    "The operator 'aten::linalg_qr' is not currently implemented for the MPS device.": (
        "mps operator",
        "yes",
    ),
    "No HIP GPUs are available": ("no amd card", "mostly"),
    "HIP error: no kernel image is available for execution on the device": (
        "hip invalid device function",
        "mostly",
    ),
}


@pytest.mark.parametrize("message", FAMILIES_TOLD)
def test_the_answer_of_a_family_is_told_apart_and_documented_as_an_entry_is(message):
    kind, sure = FAMILIES_TOLD[message]
    found = explain(f"RuntimeError: {message}")
    assert found.kind == kind and found.tell and found.source.startswith("https://")
    assert found.sure.startswith(SURE[sure])
    assert ("from the text only" in found.sure) is ("MPS" in message or "HIP" in message)


@pytest.mark.parametrize("name", [name for name in TEXTS if TEXTS[name]["kind"] == "memory"])
def test_a_full_card_is_called_that_first(name):
    assert explain(TEXTS[name]["text"]).what.startswith("Out of memory: ")


def test_the_mac_without_mps():
    for said in ("not linked with support for mps devices", "The MPS backend is supported on macOS 14.0+."):
        assert explain(f"RuntimeError: PyTorch is {said}").kind == "no mps"


WARNING = TEXTS["operator that runs on the CPU of a mac"]["text"]


def test_an_operator_that_ran_on_the_cpu_is_not_told_to_do_so():
    found = explain(WARNING)
    assert found.what == "The operator linalg_svd runs on the CPU: mps does not have it."
    for words in (
        "the result back",
        "another operator",
        "to the CPU on purpose",
        "an error, which shows the line",
    ):
        assert words in found.why
    assert "PYTORCH_ENABLE_MPS_FALLBACK" not in str(found)


def test_its_line_makes_the_warning_an_error():
    with warnings.catch_warnings():
        exec(explain(WARNING).fix)
        with pytest.raises(UserWarning, match="linalg_svd"):
            warnings.warn(WARNING.removeprefix("UserWarning: "), UserWarning, stacklevel=1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ZeroDivisionError: division by zero",
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)",
        "RuntimeError: Trying to backward through the graph a second time",
        "ValueError: Expected input batch_size (4) to match target batch_size (3).",
        "KeyError: 'device'",
    ],
)
def test_a_text_about_something_else_is_not_made_into_a_device_error(text):
    found = explain(text)
    assert found.kind == "unknown" and not found.known and "not an error about devices" in str(found)


PYTHON = """Traceback (most recent call last):
  File "/home/ann/project/train.py", line 42, in <module>
    train()
  File "/home/ann/project/train.py", line 17, in train
    outputs = model(inputs)
  File "/usr/lib/python3/site-packages/torch/nn/modules/module.py", line 727, in _call_impl
    result = self.forward(*input, **kwargs)
  File "/usr/lib/python3/site-packages/torch/nn/functional.py", line 1370, in linear
    ret = torch.addmm(bias, input, weight.t())
RuntimeError: Expected object of device type cuda but got device type cpu for argument #2 'mat1' in call to _th_addmm
"""
JUPYTER = """---------------------------------------------------------------------------
RuntimeError                              Traceback (most recent call last)
Cell In[7], line 3
      1 for images, labels in loader:
      2     images = images.to(device)
----> 3     outputs = model(images)
      4     loss = criterion(outputs, labels)

File /usr/lib/python3.11/site-packages/torch/nn/modules/linear.py:125, in Linear.forward(self, input)
    124 def forward(self, input: Tensor) -> Tensor:
--> 125     return F.linear(input, self.weight, self.bias)

""" + TEXTS["today addmm layer on the CPU"]["text"]
OLD_JUPYTER = """---------------------------------------------------------------------------
RuntimeError                              Traceback (most recent call last)
<ipython-input-9-3d2a9b6a8c5e> in <module>()
      5 x = x.cuda()
----> 6 y = embed(x)

/usr/local/lib/python3.6/dist-packages/torch/nn/modules/module.py in __call__(self, *input, **kwargs)
    475         else:
--> 477             result = self.forward(*input, **kwargs)

RuntimeError: Expected object of backend CPU but got backend CUDA for argument #3 'index'
"""
LESSON = """  your code, line 4
      outputs = model(inputs)
  ... 2 lines inside torch
  torch/nn/modules/linear.py, in forward
      return F.linear(input, self.weight, self.bias)
""" + TEXTS["today addmm input on the CPU"]["text"]


@pytest.mark.parametrize(
    ("text", "culprit", "line", "file", "fix"),
    [
        (PYTHON, "inputs", 17, "train.py", 'inputs = inputs.to("cuda")'),
        (JUPYTER, "model", 3, "cell [7]", 'model = model.to("cuda")'),
        (OLD_JUPYTER, "embed", 6, "cell [9]", 'embed = embed.to("cuda")'),
        (LESSON, "inputs", 4, "your code", 'inputs = inputs.to("cuda")'),
    ],
    ids=["python", "jupyter", "old jupyter", "lesson"],
)
def test_the_learners_line_and_name_are_found_in_a_pasted_traceback(text, culprit, line, file, fix):
    found = explain(text)
    assert (found.culprit, found.line, found.file, found.fix) == (culprit, line, file, fix), found
    assert "/home/ann" not in str(found)
