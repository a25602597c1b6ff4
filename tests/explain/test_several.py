"""Several tensors that stayed behind: the fix of each; and nothing that was looked at lives on."""

import gc
import weakref

import pytest
import torch
from explain_scripts import Case, mended, run
from torch import nn

from devicelab import simulate_gpu
from devicelab.explain import explain

RESULTS = """a = torch.zeros(3, device=device)
b, c = torch.rand(2, 3)
z = torch.stack([a, b, c])
"""
BATCH = """batch = {"x": torch.zeros(3), "y": torch.zeros(3)}
w = torch.zeros(3, device=device)
z = torch.cat([w, batch["x"], batch["y"]])
"""


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (RESULTS, "b = b.to(device); c = c.to(device)"),
        (BATCH, 'batch["x"] = batch["x"].to(device); batch["y"] = batch["y"].to(device)'),
    ],
)
def test_fixes_at_one_place_are_one_line_which_mends_all(code, fix, tmp_path):
    error, found = run(code, tmp_path)
    assert error is not None and found.fix == fix and found.also == ()
    assert mended(Case(code, "", ""), tmp_path, rounds=1) is None


def test_a_fix_that_belongs_elsewhere_has_a_line_of_its_own(tmp_path):
    code = "a = torch.zeros(3, device=device)\nb = torch.zeros(3)\nc = torch.ones(3)\nz = torch.stack([a, b, c])\n"
    _, found = run(code, tmp_path)
    assert (found.fix, found.fix_at) == ("b = torch.zeros(3, device=device)", "in place of line 6")
    assert found.also == ("c = torch.ones(3, device=device)    (in place of line 7)",)
    assert "  and:     c = torch.ones" in str(found) and found.to_dict()["also"] == list(found.also)
    typed = code.replace("torch.zeros(3)\n", "torch.zeros(3, device=device)\n").replace(
        "torch.ones(3)", "torch.ones(3, device=device)"
    )
    assert run(typed, tmp_path) == (None, None)


def test_one_fix_that_mends_several_is_said_once(tmp_path):
    _, found = run(
        "pair = [torch.zeros(3), torch.ones(3)]\nz = torch.stack([torch.zeros(3, device=device), pair[0], pair[1]])\n",
        tmp_path,
    )
    assert found.fix == "pair = [t.to(device) for t in pair]" and found.also == ()


def fails(refs, raised):
    model, batch = nn.Linear(4, 2).to("cuda"), {"x": torch.zeros(2, 4)}
    refs += [weakref.ref(model), weakref.ref(batch["x"])]
    model(batch["x"].to("cuda"))
    if raised is not None:
        raise raised
    return model(batch["x"])


@pytest.mark.parametrize(
    "raised",
    [None, KeyError("x"), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")],
    ids=["mismatch", "other", "memory"],
)
def test_an_explanation_keeps_nothing_of_the_error_alive(raised):
    refs: list[weakref.ref] = []
    gc.collect()
    gc.disable()  # so only what nobody holds in a circle is gone
    try:
        with simulate_gpu("Tesla T4"):
            try:
                fails(refs, raised)
            except (RuntimeError, KeyError) as error:
                assert explain(error).what
            if raised is not None:
                raised.__traceback__ = None
            assert [one() for one in refs] == [None, None]
    finally:
        gc.enable()
