"""Whose code a frame holds: one table, and everybody who asks must answer by it."""

import linecache
import statistics
import sys
import sysconfig
from pathlib import Path
from traceback import extract_tb
from typing import Any

import numpy
import pytest
import torch

import devicelab as lab
from devicelab import source
from devicelab.course.guard.snapshot import Snapshot
from devicelab.course.question.cells import definition_of
from devicelab.estimate.keep import Undo
from devicelab.estimate.unknown import asked_by_torch
from devicelab.expect import trimmed
from devicelab.explain.frames import frames_of
from devicelab.explain.tracebacks import told_in
from devicelab.runner.script import is_own
from devicelab.simgpu.stand_ins import traceback as simulated
from devicelab.source import DEVICELAB, LIBRARY, PYTHON, TORCH, USER, Line, whose, whose_elsewhere
from devicelab.trace.lines import Places
from devicelab.variants.functions import _own_line
from devicelab.verdict import line_of

PURE = sysconfig.get_path("purelib")
STANDARD = sysconfig.get_path("stdlib")
PACKAGE = str(Path(lab.__file__).parent)
TORCH_FOLDER = str(Path(torch.__file__).parent)

# Paths of this machine, and names of code without a file.
TABLE = {
    f"{TORCH_FOLDER}/nn/functional.py": TORCH,
    f"{TORCH_FOLDER}/_ops.py": TORCH,
    "<eval_with_key>.17": TORCH,
    "/tmp/torchinductor_ada/ab/cabc.py": TORCH,
    f"{TORCH_FOLDER}vision/models/resnet.py": LIBRARY,
    f"{TORCH_FOLDER}_geometric/nn.py": LIBRARY,
    f"{PACKAGE}/trace/lines.py": DEVICELAB,
    f"{PACKAGE}_of_mine/train.py": USER,
    numpy.__file__: LIBRARY,
    pytest.__file__: LIBRARY,
    f"{PURE}/transformers/trainer.py": LIBRARY,
    "/usr/lib/python3/dist-packages/yaml/__init__.py": LIBRARY,
    statistics.__file__: PYTHON,
    "<frozen importlib._bootstrap>": PYTHON,
    "<frozen runpy>": PYTHON,
    "<__array_function__ internals>": PYTHON,
    f"{STANDARD}-course/train.py": USER,
    __file__: USER,
    "/home/ada/.venv/train.py": USER,
    "/home/ada/venv/project/my_ops.py": USER,
    "/home/ada/my-site-packages-demo/train.py": USER,
    "/home/ada/torch/nn_train.py": USER,
    "/home/ada/frozen/train.py": USER,
    "train.py": USER,
    "/tmp/ipykernel_12/345.py": USER,
    "<ipython-input-5-0123456789ab>": USER,
    "/tmp/ipython-input-5-3046318829.py": USER,
    "<string>": USER,
    "<stdin>": USER,
    "<q1-answer>": USER,
}
FROM_ELSEWHERE = {
    "/opt/conda/lib/python3.8/site-packages/torch/nn/functional.py": TORCH,
    "/opt/conda/lib/python3.8/site-packages/torchvision/models/resnet.py": LIBRARY,
    "/root/pytorch/torch/nn/modules/linear.py": TORCH,
    r"C:\Python39\lib\site-packages\torch\nn\functional.py": TORCH,
    r"C:\Users\ada\Miniconda3\Lib\threading.py": PYTHON,
    "/usr/lib/python3.8/threading.py": PYTHON,
    "/usr/local/lib/python2.7/dist-packages/yaml/__init__.py": LIBRARY,
    "/home/bob/course/utils/devicelab/trace/lines.py": DEVICELAB,
    r"C:\Users\ada\train.py": USER,
    "/home/bob/lib/train.py": USER,
}


@pytest.mark.parametrize(("path", "owner"), TABLE.items())
def test_each_file_has_one_owner(path, owner):
    assert whose(path) == owner
    assert whose_elsewhere(path) == owner


CHECKOUTS = [
    "/home/ada/transformers/src/transformers/trainer.py",
    r"C:\Users\ada\ultralytics-main\ultralytics\engine\trainer.py",
    "/home/ada/.cache/torch/hub/ultralytics_yolov5_master/models/yolo.py",
    "/home/ada/.cache/huggingface/modules/transformers_modules/org/model/modeling.py",
]


@pytest.mark.parametrize("path", CHECKOUTS)
def test_a_checkout_of_a_library_is_the_librarys_unless_its_own_script_runs(path, monkeypatch):
    owners = source._Owners()
    assert owners[path] == LIBRARY
    assert whose_elsewhere(path) == USER and source.is_checkout(path), "in a text it is the last resort"
    monkeypatch.setattr(sys.modules["__main__"], "__file__", CHECKOUTS[0], raising=False)
    assert source._Owners()[path] == USER


def test_what_pip_checks_out_into_the_environment_is_a_library(monkeypatch):
    monkeypatch.setattr(source, "_SOURCES", source._below("/work/.env/src"))
    assert source._Owners()["/work/.env/src/clip/clip/model.py"] == LIBRARY
    assert source._Owners()["/work/src/clip/train.py"] == USER


@pytest.mark.parametrize(("path", "owner"), FROM_ELSEWHERE.items())
def test_a_path_of_another_machine_is_told_by_its_shape(path, owner):
    assert whose_elsewhere(path) == owner


def from_file(path: str, body: str, /, **variables: object) -> dict[str, object]:
    """Run code that says it stands in a file, whose lines can be shown."""
    linecache.cache[path] = (len(body), None, body.splitlines(keepends=True), path)
    space = {"__name__": "elsewhere", "torch": torch, **variables}
    exec(compile(body, path, "exec"), space)
    return space


def failing(path: str) -> Exception:
    """Return an error that was raised in a file, by a call from this one."""
    stop: Any = from_file(path, "def stop():\n    raise KeyError('failed')\n")["stop"]
    with pytest.raises(KeyError) as caught:
        stop()
    return caught.value


@pytest.fixture(autouse=True)
def _forget():
    before = dict(linecache.cache)
    yield
    linecache.cache.clear()
    linecache.cache.update(before)


@pytest.mark.parametrize(("path", "owner"), TABLE.items())
def test_everybody_who_looks_at_an_error_agrees(path, owner):
    error = failing(path)
    mine = owner == USER
    assert (line_of(error).file == path) is mine
    assert (_own_line(error) == "raise KeyError('failed')") is mine
    frames = frames_of(error)
    assert (frames[-1].frame.f_code.co_filename == path) is (owner != DEVICELAB)
    assert frames[-1].is_learners is (mine or owner == DEVICELAB)
    shown = [line for line in trimmed(error).splitlines() if line.startswith("  ") and "in stop" in line]
    assert any("your code, line 2, in stop" in line for line in shown) is mine
    assert bool(shown) is (owner != DEVICELAB)


@pytest.mark.parametrize(("path", "owner"), {**TABLE, **FROM_ELSEWHERE}.items())
def test_a_pasted_traceback_is_read_by_the_same_table(path, owner):
    text = f'File "train.py", line 1, in main\n    fail()\nFile "{path}", line 2, in fail\n    raise\n'
    assert (told_in(text)[-1].own.line == 2) is (owner == USER)


@pytest.mark.parametrize(("path", "owner"), TABLE.items())
def test_everybody_who_looks_at_a_running_frame_agrees(path, owner):
    places = Places()
    line = places.line(from_file(path, "def here():\n    return look(1)\n", look=places.here)["here"]())
    assert (line.file == path) is (owner == USER)
    assert (line.via != "") is (owner == LIBRARY)
    asks = from_file(path, "def asks():\n    return asked()\n", asked=asked_by_torch)["asks"]
    assert asks() is (owner in source.PASSED_OVER)


@pytest.mark.parametrize(("path", "owner"), TABLE.items())
def test_everybody_who_looks_into_a_function_agrees(path, owner):
    held = [1]
    function = from_file(path, "def change():\n    held.append(2)\n", held=held)["change"]
    assert (definition_of(function) is not None) is (owner == USER)
    for keeper in (lambda one: Snapshot([one]), Undo):
        kept = keeper(function)
        function()
        kept.restore()
        assert (held == [1]) is (owner == USER)
        held[:] = [1]


def raised_by_way_of(*paths: str) -> BaseException:
    """Return an error that went through these files, the innermost one last."""
    call: Any = lambda: {}["missing"]  # type: ignore[misc, index]  # noqa: E731
    for path in reversed(paths):
        call = from_file(path, "def call():\n    inner()\n", inner=call)["call"]
    with pytest.raises(KeyError) as caught:
        call()
    return caught.value


OPERATORS = torch._ops.__file__


def shown(error: BaseException, hides) -> list[str]:
    """Return the files that are left of a traceback."""
    return [frame.filename for frame in extract_tb(source.without(error.__traceback__, hides))][1:-1]


def test_what_is_hidden_from_a_traceback_takes_torchs_passing_on_with_it_and_nothing_of_the_users():
    error = raised_by_way_of("train_ops.py", OPERATORS, f"{PACKAGE}/simgpu/x.py", OPERATORS, "my_ops.py")
    assert shown(error, is_own) == ["train_ops.py", OPERATORS, "my_ops.py"]
    assert shown(error, lambda filename: False) == [
        "train_ops.py", OPERATORS, f"{PACKAGE}/simgpu/x.py", OPERATORS, "my_ops.py"
    ]  # fmt: skip


def test_below_torchs_operators_only_the_simulation_and_the_trace_are_left_out():
    error = raised_by_way_of(f"{PACKAGE}/timing/x.py", f"{PACKAGE}/trace/x.py", f"{PACKAGE}/simgpu/x.py")
    files = [frame.filename for frame in extract_tb(simulated.trimmed(error.__traceback__))]
    assert files[1:-1] == [f"{PACKAGE}/timing/x.py"]


@pytest.mark.parametrize(
    ("path", "name", "place"),
    [
        ("/home/ada/train.py", "train.py", "train.py:3"),
        (r"C:\Users\ada\train.py", "train.py", None),
        ("/home/ada/ipykernel_tools/train.py", "train.py", "train.py:3"),
        ("/home/ada/ipython-input-notes.py", "ipython-input-notes.py", "ipython-input-notes.py:3"),
        ("/tmp/ipykernel_12/345.py", "the cell", "line 3"),
        ("/tmp/ipython-input-3046318829.py", "the cell", "line 3"),
        ("/tmp/ipython-input-5-3046318829.py", "cell [5]", "line 3"),
        ("<ipython-input-5-0123456789ab>", "cell [5]", "line 3"),
        ("<string>", "your code", "line 3"),
    ],
)
def test_a_cell_is_called_a_cell_and_a_file_by_its_name(path, name, place):
    assert source.name_of(path) == name
    if place:
        assert str(Line(path, 3, "x.item()")) == f"{place} `x.item()`"


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        (f"{TORCH_FOLDER}/nn/functional.py", "torch/nn/functional.py"),
        (f"{TORCH_FOLDER}vision/models/resnet.py", "torchvision/models/resnet.py"),
        (f"{PURE}/transformers/trainer.py", "transformers/trainer.py"),
    ],
)
def test_a_librarys_file_is_seen_from_where_it_is_installed(path, inside):
    assert source.inside(path) == inside


def test_a_line_is_read_as_the_file_is_now(tmp_path):
    path = tmp_path / "train.py"
    path.write_text("x = 1\n    y = 2  \n")
    assert source.line_at(str(path), 2).text == "y = 2"
    path.write_text("x = 1\n    z = 30  \n")
    assert source.line_at(str(path), 2).text == "z = 30" and source.line_at(str(path), 9).text == ""


def test_an_error_and_its_causes_are_followed_as_python_shows_them_and_once():
    first, second, third = KeyError(1), KeyError(2), KeyError(3)
    third.__cause__, second.__context__ = second, first
    assert list(source.chain(third)) == [third, second, first]
    second.__suppress_context__ = True
    assert list(source.chain(third)) == [third, second]
    second.__cause__ = third
    assert list(source.chain(third)) == [third, second]
