"""The exercises are what the solutions give, nobody has answered them, and the cutter refuses what it does not understand."""

import asyncio
import json
import os

import pytest
from lesson_rules import untouched
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebook_rules import Page

from tools.notebooks import exercises
from tools.notebooks.exercises import CutError, answers, answers_drift, cut, drift, generate, generate_answers
from tools.notebooks.nbfiles import (
    EXERCISES,
    NoNotebooks,
    device_environment,
    find,
    private_environment,
    read,
    short,
    write,
)
from tools.notebooks.remake import execute

SOLVED = """def move(model, x):
    ### BEGIN SOLUTION
    ### STUB: return model, x
    model = model.to("cuda")
    return model, x.to("cuda")
    ### END SOLUTION


answer = move"""


def test_the_exercises_are_what_the_solutions_give():
    assert drift() == []


FIRST, *REST = find(EXERCISES)


@pytest.mark.parametrize(
    "path", [FIRST, *(pytest.param(path, marks=pytest.mark.slow) for path in REST)], ids=short
)
def test_an_untouched_exercise_runs_and_passes_nothing(path, tmp_path):
    environment = os.environ | private_environment(tmp_path) | device_environment("simulated")
    assert list(untouched(Page(path, asyncio.run(execute(path, environment))))) == []


def test_the_packages_answers_are_those_of_the_solutions():
    assert answers_drift() == []


def test_the_stub_takes_the_place_of_the_solution():
    assert cut(SOLVED) == "def move(model, x):\n    return model, x\n\n\nanswer = move"


def test_a_solution_without_a_stub_leaves_a_placeholder_that_runs():
    source = "### BEGIN SOLUTION\nx = 1\n### END SOLUTION"
    assert cut(source) == "# Your code here\n..."
    exec(cut(source))


def test_several_stub_lines_keep_their_order_and_indentation():
    source = "if x:\n    ### BEGIN SOLUTION\n    ### STUB: for i in x:\n    ### STUB:     ...\n    y()\n    ### END SOLUTION"
    assert cut(source) == "if x:\n    for i in x:\n        ..."


def test_two_solutions_in_one_cell():
    one = "### BEGIN SOLUTION\n### STUB: {0} = ...\n{0} = 1\n### END SOLUTION"
    assert cut(one.format("a") + "\n" + one.format("b")) == "a = ...\nb = ..."


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("### BEGIN SOLUTION\nx = 1", "without '### END SOLUTION'"),
        ("x = 1\n### END SOLUTION", "without '### BEGIN SOLUTION'"),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION", "a second"),
        ("### STUB: x = 1", "outside of a solution"),
        ("### BEGIN SOLUTIONS\nx = 1", "is not one of"),
        ("### STUB return 1", "is not one of"),
    ],
)
def test_markers_that_do_not_pair_up_are_refused(source, words):
    with pytest.raises(CutError, match=words):
        cut(source)


@pytest.fixture
def pair(tmp_path):
    """Two folders with one solution in the first."""
    solutions, made = tmp_path / "solutions", tmp_path / "exercises"
    cells = [
        new_markdown_cell("# Title", id="title"),
        new_code_cell(SOLVED, id="q1", execution_count=1),
        new_code_cell("q1.check(1)", id="wrong", metadata={"tags": ["wrong-answer"]}),
        new_code_cell("q1.check(2)", id="other", metadata={"tags": ["other-right-answer"]}),
        new_markdown_cell("Why", id="why", metadata={"tags": ["solution-only"]}),
        new_code_cell("q1.check(answer)", id="check", metadata={"tags": ["change"]}),
    ]
    write(solutions / "01_a.ipynb", new_notebook(cells=cells))
    return solutions, made


def test_an_exercise_keeps_ids_and_drops_answers(pair):
    generate(*pair)
    exercise = read(pair[1] / "01_a.ipynb")
    assert [cell.id for cell in exercise.cells] == ["title", "q1", "check"]
    assert exercise.cells[1].execution_count is None and 'to("cuda")' not in exercise.cells[1].source
    assert "generated from solutions/01_a.ipynb" in exercise.metadata.devicelab.generated
    assert drift(*pair) == []
    assert generate(*pair) == [f"{pair[1]}/01_a.ipynb: unchanged"]


def test_drift_is_found(pair):
    assert "is missing" in drift(*pair)[0]
    generate(*pair)
    solution = read(pair[0] / "01_a.ipynb")
    solution.cells[0].source = "# Another title"
    write(pair[0] / "01_a.ipynb", solution)
    assert "is not what its solution gives" in drift(*pair)[0]


def test_a_stray_exercise_is_found_and_removed(pair):
    generate(*pair)
    (pair[0] / "01_a.ipynb").rename(pair[0] / "02_b.ipynb")
    assert [line.rpartition(".ipynb")[2] for line in drift(*pair)] == [" is missing.", " has no solution."]
    generate(*pair)
    assert [path.name for path in pair[1].iterdir()] == ["02_b.ipynb"]


def test_an_answer_that_drifted_is_found(pair, tmp_path):
    notebook, stored = read(pair[0] / "01_a.ipynb"), tmp_path / "answers.json"
    notebook.cells[1].update(id="q1-answer", source="import torch\n\n\n" + SOLVED)
    write(pair[0] / "01_a.ipynb", notebook)
    assert "is not what the solutions give" in answers_drift(pair[0], stored)[0]
    assert generate_answers(pair[0], stored) == [f"{stored}: written"]
    assert generate_answers(pair[0], stored) == [f"{stored}: unchanged"]
    texts = json.loads(stored.read_text("utf-8"))["01.q1"]
    assert "\n".join(texts["given"]) == cut(SOLVED)
    assert "\n".join(texts["answer"]) == "\n".join(line for line in SOLVED.split("\n") if "###" not in line)
    notebook.cells[1].source = SOLVED.replace("return model, x.to", "return model, 2 * x.to")
    write(pair[0] / "01_a.ipynb", notebook)
    assert "is not what the solutions give" in answers_drift(pair[0], stored)[0]


def test_no_answer_at_all_is_a_fault(pair, tmp_path):
    with pytest.raises(NoNotebooks, match="no cell with an answer"):
        answers(pair[0])
    (tmp_path / "answers.json").write_text("{}")
    with pytest.raises(NoNotebooks):
        answers_drift(pair[0], tmp_path / "answers.json")


def test_no_pair_at_all_is_a_fault(tmp_path):
    with pytest.raises(NoNotebooks):
        drift(tmp_path / "solutions", tmp_path / "exercises")


def test_a_solution_without_anything_to_cut_is_a_fault(pair):
    write(pair[0] / "01_a.ipynb", new_notebook(cells=[new_markdown_cell("# Title", id="title")]))
    with pytest.raises(CutError, match="nothing to cut"):
        drift(*pair)


def test_the_command_says_what_is_wrong(pair, monkeypatch, capsys):
    monkeypatch.setattr(exercises, "drift", lambda: drift(*pair))
    assert exercises.main(["--check"]) == 1
    assert "is missing" in capsys.readouterr().out
    generate(*pair)
    assert exercises.main(["--check"]) == 0


def test_the_command_fails_without_a_solution(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(exercises, "drift", lambda: drift(tmp_path, tmp_path))
    assert exercises.main(["--check"]) == 1
    assert "no notebook" in capsys.readouterr().out
