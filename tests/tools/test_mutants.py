"""The breakers break what they say, and no broken reference answer passes its check."""

import ast
import importlib

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from devicelab.course.looking import seen as looking
from tools.notebooks.nbfiles import SOLUTIONS, find, short, write
from tools.proof import mutants as tool
from tools.proof.breakers import mutants
from tools.proof.mutants import Tried, answer_lines, counts, faults, plain, report, run_cell


def broken(source: str) -> dict[str, str]:
    """Return the mutants of a source, by what was done."""
    return {mutant.what: mutant.source for mutant in mutants(source, range(1, 100))}


@pytest.mark.parametrize(
    ("source", "what", "wanted"),
    [
        ("x = y.to(d)", ".to() dropped", "x = y"),
        ("x = y.to(d)", ".to() sent to 'cpu'", "x = y.to('cpu')"),
        ("x = x.to(d)", "the moved tensor not kept", "x.to(d)"),
        ("model.to(d)", "the move left out", "pass"),
        ("a = zeros(3, device='cuda')", "'cuda' for 'cpu' swapped", "a = zeros(3, device='cpu')"),
        ("a = zeros(3, device=d)", "device= dropped", "a = zeros(3)"),
        ("a = zeros(3, device=d)", "device= set to 'cpu'", "a = zeros(3, device='cpu')"),
        ("c = load(f, map_location=d)", "map_location= dropped", "c = load(f)"),
        ("y = x.to(d, non_blocking=True)", "non_blocking= dropped", "y = x.to(d)"),
        ("self.register_buffer('m', t)", "a buffer made a plain attribute", "self.m = t"),
        ("torch.cuda.synchronize()", "the wait left out", "pass"),
        ("a = f()\nevent.synchronize()", "waited one line earlier", "event.synchronize()\na = f()"),
        ("event.synchronize()\na = f()", "waited one line later", "a = f()\nevent.synchronize()"),
        ("d = t.device", "t.device replaced by 'cuda'", "d = torch.device('cuda')"),
        ("d = t.device.type", "t.device.type compared without .type", "d = t.device"),
        ("d = t.device", "t.device without its number", "d = t.device.type"),
        ("ok = cuda.is_available()", "is_available() taken for True", "ok = True"),
        ("ok = a == b", "a == b turned round", "ok = not a == b"),
        ("v = loss.item()", ".item() dropped", "v = loss"),
        ("p = (*a, *b)", "*a left out", "p = (*b,)"),
        ("with torch.no_grad():\n    f()\n    g()", "the with left out", "f()\ng()"),
        (
            "with torch.device('meta'):\n    f()",
            "'meta' for 'cpu' swapped",
            "with torch.device('cpu'):\n    f()",
        ),
        ("n = p.nbytes", "p.nbytes replaced by a count", "n = p.numel()"),
        ("n = sum(p for p in q if p.a)", "the condition dropped", "n = sum((p for p in q))"),
        ("p = a if b else c", "always c", "p = c"),
        ("x = x.to(d)\ny = f(x)\nreturn_(y)", "moved after its use", "y = f(x)\nx = x.to(d)\nreturn_(y)"),
        (
            "x = x.to(d)\nfor i in r:\n    f(x)",
            "moved anew at each use in the loop",
            "for i in r:\n    f(x.to(d))",
        ),
    ],
)
def test_each_breaker(source, what, wanted):
    assert broken(source)[what] == wanted


def test_mutants_differ_from_the_source_and_from_each_other():
    source = "def f(x, d):\n    x = x.to(d)\n    return x"
    texts = [mutant.source for mutant in mutants(source, range(1, 100))]
    assert len(set(texts)) == len(texts) and ast.unparse(ast.parse(source)) not in texts


def test_a_wait_has_nowhere_to_go_before_the_first_line_or_past_a_return():
    found = broken("def f(x):\n    cuda.synchronize()\n    return x")
    assert list(found) == ["the wait left out"]


def test_lines_outside_of_the_answer_are_left_alone():
    source = "a = b.to(d)\n### BEGIN SOLUTION\nx = y.to(d)\n### END SOLUTION"
    assert {mutant.line for mutant in mutants(source, answer_lines(source))} == {3}


def test_a_cell_gives_its_last_value_and_its_lines():
    space = {}
    assert run_cell("x = 2\nx + 1", space, "<cell>") == 3 and space["x"] == 2
    assert run_cell("x = 2", space, "<cell>") is None


def test_a_survivor_and_too_few_are_faults():
    assert faults([Tried("01.q1", 9, [], ["line 3: .to() dropped"])]) == [
        "01.q1: PASSED although line 3: .to() dropped"
    ]
    assert faults([Tried("01.q1", 4)]) == ["01.q1: only 4 mutants change anything, 5 are wanted"]
    assert "equivalent; at most 10%" in faults([Tried("01.q1", 5, ["a", "b"])])[0]
    assert faults([]) == ["no answer was found that can be broken"]
    assert faults([Tried("01.q1", 20, ["a"])]) == []
    assert report([Tried("01.q1", 20, ["line 1: a"])])[-1] == "equivalent, 01.q1 line 1: a"


def test_values_are_compared_with_their_device():
    import torch

    assert plain(torch.ones(2)) != plain(torch.ones(2, device="meta"))
    assert plain({"a": [1.00001, object]}) == plain({"a": (1.00002, object)})


SETUP = """import torch
from devicelab.course.looking import watch
from devicelab.course.question import Question

q1 = Question(lambda f: watch(f, torch.ones(2), "cuda"), "", "", ("?",), "")"""
ANSWER = "def f(x, d):\n    ### BEGIN SOLUTION\n    return x.to(d) + 1\n    ### END SOLUTION"


def test_a_judge_that_looks_at_nothing_is_found(tmp_path, capsys, monkeypatch):
    cells = [new_code_cell(source) for source in (SETUP, ANSWER, "q1.check(f)")]
    write(tmp_path / "01_hole.ipynb", new_notebook(cells=cells))
    monkeypatch.setattr(tool, "find", lambda _: [tmp_path / "01_hole.ipynb"])
    assert tool.main([]) == 1
    said = capsys.readouterr().out
    assert "PASSED although line 3: .to() dropped" in said
    assert "equivalent,  line 3: .to() sent to 'cuda'" in said
    assert looking.watched is None
    assert "1 questions, 0 wrong answers rejected, 0 alternatives accepted; of 1 answers" in said


def test_the_counts_are_those_of_the_stored_outputs():
    one = [path for path in find(SOLUTIONS) if path.name.startswith("02")]
    assert counts(one, [Tried("02.q2", 21), Tried("02.q3", 19)]) == (
        "4 questions, 14 wrong answers rejected, 4 alternatives accepted; of 2 answers with device handling 40 mutants "
        "were caught"
    )


def breakable(path) -> bool:
    """Whether a solution has an answer with device handling."""
    questions = importlib.import_module(f"devicelab.course.ex{path.name[:2]}").questions
    return any(question.kind in tool.BREAKABLE for question in questions)


@pytest.mark.slow
@pytest.mark.parametrize("path", [*filter(breakable, find(SOLUTIONS))], ids=short)
def test_no_broken_reference_answer_passes(path, capsys):
    passed = tool.main([path.name[:2]]) == 0
    said = capsys.readouterr().out
    assert passed, said
    with capsys.disabled():
        print(f"\n{said}")
