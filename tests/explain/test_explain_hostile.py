"""Long texts that look like a traceback and are none: the answer is right, and it comes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from explain_scripts import run

import devicelab as lab
from benchmarks import bench_explain
from devicelab.explain import explain
from devicelab.explain.sources import MOST_CODE
from devicelab.explain.told import TextFrame
from devicelab.explain.tracebacks import told_in

ROOT = Path(__file__).parents[2]
SIZE = 40_000  # a pattern that goes over a line for each of its letters would need minutes for all of these texts
GUARD = 120  # seconds, where one is enough
BLAMED = (
    "RuntimeError: Expected all tensors to be on the same device, but got mat1 is on cpu, different from other tensors on cuda:0 "
    "(when checking argument in method wrapper_CUDA_addmm)"
)
ANSWERS = f"""
import json
from benchmarks.bench_explain import texts
from devicelab.explain import explain
print(json.dumps([[name, found.kind, found.line, found.file] for name, text in texts({SIZE}) for found in [explain(text)]]))
"""


def last_own_line(text: str) -> TextFrame | None:
    return told_in(text)[-1].own


@pytest.fixture(scope="module")
def answers() -> list[list]:
    paths = os.pathsep.join((str(ROOT), str(ROOT / "utils")))
    done = subprocess.run(
        [sys.executable, "-c", ANSWERS],
        capture_output=True, text=True, timeout=GUARD, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_a_message_is_found_before_and_after_any_long_text(answers):
    told = [(name, kind) for name, kind, _, _ in answers if "the message" in name or "a frame" in name]
    assert len(told) == 5 * len(bench_explain.UNITS)
    wrong = [(name, kind) for name, kind in told if kind != "mismatch"]
    assert not wrong


def test_a_long_text_without_a_message_is_none(answers):
    told = {name: kind for name, kind, _, _ in answers if name.endswith(("one line", "many lines"))}
    assert len(told) == 2 * len(bench_explain.UNITS)
    known = {name.partition(", ")[0] for name, kind in told.items() if kind != "unknown"}
    assert known == {"'same device but a is on b and '"}  # it is one, over and over


def test_the_frame_below_a_long_text_and_the_one_around_it_are_found(answers):
    found = {name: (line, file) for name, _, line, file in answers if name.endswith("a frame")}
    assert len(found) == 2 * len(bench_explain.UNITS)
    other = {name: place for name, place in found.items() if place != (3, "train.py")}
    assert other == {  # the code is a frame itself
        "'a.py in ', as the code of a frame": (None, "a.py"),
        "'File a:1, in ', as the code of a frame": (1, "a"),
    }


def test_a_line_longer_than_anybody_types_is_not_looked_into():
    for name, culprit in (("x", "x"), ("x" * MOST_CODE, "the input of the layer")):
        found = explain(f"{bench_explain.FRAME.replace('(x)', f'({name})')}{BLAMED}")
        assert (found.culprit, found.line) == (culprit, 3)


@pytest.mark.parametrize("code", ["-" * 900 + "x", "f(" + "x" + ".a" * 480 + ")", "(" * 500, "x\0y"])
def test_a_line_that_python_cannot_parse_or_write_again_is_explained_all_the_same(code):
    found = explain(f"{bench_explain.FRAME.splitlines()[0]}\n    {code}\n{bench_explain.MESSAGE}")
    assert found.kind == "mismatch" and found.line == 3


def test_a_number_that_no_line_has_is_no_number():
    found = last_own_line(f'File "train.py", line {"1" * 5000}, in step\n    y = model(x)')
    assert found.line is None and found.file == "train.py"


def test_the_code_of_a_frame_is_not_the_next_frames_line():
    text = (
        'File "train.py", line 3, in step\nFile "/usr/lib/python3.8/threading.py", line 5, in run\n    go()'
    )
    found = last_own_line(text)
    assert (found.line, found.code) == (3, "")


MANY = """import torch
a = torch.ones(3, device="cuda")
b = torch.ones(3)
y = {}
"""


@pytest.mark.parametrize(
    "expression", ["a + b" + " + b" * 150, "a" + ".data" * 150 + " + b", "a" + ".clone()" * 150 + " + b"]
)
def test_a_long_expression_names_who_stayed_behind(tmp_path, expression):
    _, found = run(MANY.format(expression), tmp_path)
    assert found.culprit == "b" and found.code.startswith("y = a")


def test_an_expression_that_is_too_deep_is_judged_by_its_names(tmp_path):
    _, found = run(MANY.format("a + b" + " + b" * 900), tmp_path)
    assert found.known and found.culprit == "b"


def test_tensors_by_the_hundred_are_all_named():
    with lab.simulate_gpu("Tesla T4"):
        found = explain(bench_explain.mixed(200))
    assert found.culprit == "model.1.weight" and len(found.others) == 99
