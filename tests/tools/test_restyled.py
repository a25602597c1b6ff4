"""Right answers in other styles: what the tool writes, and that it tells of a check that rejects one."""

from pathlib import Path

import pytest

from tools.notebooks.nbfiles import SOLUTIONS
from tools.proof import restyled as tool
from tools.proof.restyled import Styles, handed, restyled


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("x.to(device)", "x.to(device=device)"),
        ("x.cpu()", 'x.to("cpu")'),
        ('torch.load(path, map_location="cpu")', 'torch.load(path, map_location=torch.device("cpu"))'),
        ("total += loss.detach()", "total = total + (loss.detach())"),
        ("(errors < 0.5).sum()", "errors.lt(0.5).sum()"),
    ],
)
def test_a_rule_rewrites(source, wanted):
    assert wanted in [text for _, text in restyled(source)]


def test_what_no_rule_knows_stays():
    assert list(restyled("print(1)")) == []


def test_an_answer_is_handed_over_in_other_ways(tmp_path):
    script = tmp_path / "train.py"
    script.write_text("x = x.to(device)\n", encoding="utf-8")
    texts = [Path(path).read_text("utf-8") for _, path in handed(script)]
    assert texts == ["x = x.to(device)\n", "x = x.to(device=device)\n"]
    assert [list(value.items()) for _, value in handed({"a": "cuda", "b": 1})] == [
        [("b", 1), ("a", "cuda")],
        [("a", "cuda:0"), ("b", 1)],
    ]
    assert [value() for _, value in handed(lambda: 3)] == [3, 3]


def test_what_must_not_be_is_said():
    assert Styles("01.q1", 1).faults == ["01.q1: only 1 other styles, 2 are wanted"]
    assert Styles("01.q1", 2, ["a partial: not yet"]).faults == ["01.q1: REJECTED, a partial: not yet"]


def test_a_check_that_knows_one_style_only_is_found(monkeypatch):
    monkeypatch.setattr(tool, "handed", lambda value: [("nothing at all", None)])
    (path,) = SOLUTIONS.glob("01_*.ipynb")
    faults = [fault for styles in tool.try_styles([path]) for fault in styles.faults]
    assert "01.q2: REJECTED, nothing at all: not yet" in faults
