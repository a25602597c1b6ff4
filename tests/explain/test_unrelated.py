"""Three hundred errors that have nothing to do with devices get no device fix, whatever stands around them."""

from pathlib import Path

import pytest
import yaml

from devicelab.explain import explain

pytestmark = pytest.mark.text

DATA = Path(__file__).parents[1] / "data" / "unrelated_errors.txt"
ERRORS = [line.split(" | ", 1) for line in DATA.read_text("utf-8").splitlines() if not line.startswith("#")]
TEXTS = yaml.safe_load(DATA.with_name("unrelated_texts.yaml").read_text("utf-8"))
LOG = """2025-01-02 10:00:00 WARNING CUDA out of memory on first try, batch size halved
/opt/py/lib/python3.11/site-packages/torch/cuda/__init__.py:235: UserWarning: NVIDIA GeForce RTX 5090 with CUDA capability \
sm_120 is not compatible with the current PyTorch installation.
  warnings.warn(
2025-01-02 10:00:05 INFO epoch 1 done on cuda:0
"""
TORCHS = """  File "/opt/py/lib/python3.11/site-packages/torch/nn/modules/module.py", line 1375, in convert
    if str(e) == "Cannot copy out of meta tensor; no data!":
"""
EARLIER = """Traceback (most recent call last):
  File "/home/kim/p/train.py", line 20, in step
    y = model(x)
RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!

During handling of the above exception, another exception occurred:

"""


def python(place: str, last: str) -> str:
    path = f"/opt/py/lib/python3.11/site-packages/{place}" if "/" in place else f"/home/kim/p/{place}"
    return f"""Traceback (most recent call last):
  File "/home/kim/p/train.py", line 44, in <module>
    run(model.to(device), batch)
{TORCHS}  File "{path}", line 7, in inner
    return call(x)
{last}
"""


def notebook(place: str, last: str) -> str:
    name = last.partition(":")[0]
    return f"""---------------------------------------------------------------------------
{name.rpartition(".")[2]:<42}Traceback (most recent call last)
Cell In[7], line 2
      1 import torch
----> 2 run(model.to(device), batch)

File /opt/py/lib/python3.11/site-packages/torch/nn/modules/module.py:1369, in Module.to.<locals>.convert(t)
   1374 except NotImplementedError as e:
-> 1375     if str(e) == "Cannot copy out of meta tensor; no data!":

{last}
"""


FORMS = {
    "python": python,
    "notebook": notebook,
    "below a log": lambda place, last: LOG + python(place, last),
    "after a mismatch": lambda place, last: EARLIER + python(place, last),
    "of a rank": lambda place, last: "".join(
        f"[rank0]: {line}\n" for line in python(place, last).splitlines()
    ),
}


def test_there_are_three_hundred_of_many_libraries():
    assert len(ERRORS) + len(TEXTS) >= 300 and len({place.partition("/")[0] for place, _ in ERRORS}) > 80


@pytest.mark.parametrize("form", FORMS)
def test_none_gets_a_device_fix_and_each_is_called_by_its_name(form):
    wrong = []
    for place, line in ERRORS:
        last = line.replace("\\n", "\n").replace("\\t", "\t")
        found = explain(FORMS[form](place, last))
        name = last.partition(":")[0].rpartition(".")[2]
        told = found.what.startswith(f"This {name} is not an error about devices")
        if found.kind != "unknown" or found.fix or not told or not found.line:
            wrong.append((last, found.kind, found.what))
        assert bool(found.earlier) is (form == "after a mismatch")
    assert wrong == []


@pytest.mark.parametrize("text", TEXTS)
def test_what_other_programs_say_gets_no_device_fix(text):
    found = explain(text)
    assert (found.kind, found.fix) == ("unknown", None)
