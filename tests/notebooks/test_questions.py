"""What must hold for every question: its cells, its judge's words and its notebook belong together."""

import ast
import asyncio
import importlib
import os
import re
from pathlib import Path

import pytest
from lesson_rules import checks, outcome
from notebook_rules import Page

from devicelab.course import exercises
from devicelab.course.question import Question, answers
from tools.notebooks.exercises import BEGIN, END
from tools.notebooks.nbfiles import (
    EXERCISES,
    SOLUTIONS,
    device_environment,
    find,
    private_environment,
    read,
    short,
    tags,
)
from tools.notebooks.remake import execute
from tools.proof.mutants import is_plain

FROM_A_STUB = {"mend", "find", "faster"}


def questions_of(path) -> tuple[Question, ...]:
    """Return the questions of a solution's exercise module."""
    module = f"devicelab.course.ex{path.name[:2]}"
    return __import__(module, fromlist=["questions"]).questions


def pairs():
    """Return each question with its solution, by its key."""
    return [pytest.param(path, q, id=q.key) for path in find(SOLUTIONS) for q in questions_of(path)]


def cell_of(path, question, part):
    """Return the source of a question's cell."""
    number = question.key.partition(".q")[2]
    return next(cell.source for cell in read(path).cells if cell.id == f"q{number}-{part}")


def definitions(source):
    """Return the syntax trees of the functions and classes, or else of all statements."""
    body = ast.parse(source).body
    named = [node for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    return [ast.dump(node) for node in named or body]


def test_each_solution_has_its_questions_and_each_module_its_solution():
    asked = {
        int(path.name[:2]): [question.key for question in questions_of(path)] for path in find(SOLUTIONS)
    }
    assert asked == answers.keys()
    modules = Path(exercises.__file__).parent.glob("ex??.py")
    assert sorted(asked) == sorted(int(module.stem[2:]) for module in modules)


@pytest.mark.parametrize(
    "name", [*(f"ex{path.name[:2]}" for path in find(SOLUTIONS)), "rescue", "rescue.faults"]
)
def test_what_notebooks_import_is_the_module_in_exercises(name):
    here = "devicelab.course"
    assert importlib.import_module(f"{here}.{name}") is importlib.import_module(f"{here}.exercises.{name}")


@pytest.mark.parametrize(("path", "question"), pairs())
def test_the_words_are_there(path, question):
    assert question.start_here.strip() and question.praise.strip()
    assert len(question.hints) >= 3 and all(hint.strip() for hint in question.hints)
    assert len(set(question.hints)) == len(question.hints)
    assert "?" in question.hints[0], "the first hint asks something"
    assert "!" not in question.start_here + question.praise + "".join(question.hints)


@pytest.mark.parametrize(("path", "question"), pairs())
def test_the_reference_answer_is_the_one_in_the_solution(path, question):
    lines = cell_of(path, question, "answer").split("\n")
    kept = "\n".join(line for line in lines if not line.strip().startswith("### "))
    assert definitions(question.answer) and set(definitions(question.answer)) <= set(definitions(kept))


@pytest.mark.parametrize(("path", "question"), pairs())
def test_the_stub_is_the_one_in_the_exercise(path, question):
    given = cell_of(EXERCISES / path.name, question, "answer")
    assert question.stub and given.endswith(question.stub)
    assert (not re.search(r"\.\.\.|^path", question.stub)) == (question.kind in FROM_A_STUB)


@pytest.mark.parametrize("path", find(SOLUTIONS), ids=short)
def test_the_exercise_ends_with_the_progress(path):
    shown = [cell.source for cell in read(path).cells if cell.cell_type == "code"][-1]
    assert shown == f"lab.progress({int(path.name[:2])})"


@pytest.mark.parametrize("path", find(SOLUTIONS), ids=short)
def test_wrong_answers_look_right(path):
    """They are checked in a cell of their own, and no text of the answer is repeated in a reply."""
    page = Page.load(path)
    for name, cells in checks(page).items():
        question = questions_of(path)[int(name[1:]) - 1]
        fixes = [
            line.strip() for line in question.answer.split("\n") if ".to(" in line and "return" not in line
        ]
        for cell in cells:
            if "wrong-answer" in tags(cell):
                told = [line for line in fixes if line in outcome(cell) and line not in cell.source]
                assert told == [], f"{cell.id} gives the answer away: {told}"


def test_each_answer_is_marked_once():
    cells = [cell for path in find(SOLUTIONS) for cell in read(path).cells if is_plain(cell)]
    marked = [cell for cell in cells if BEGIN in cell.source]
    assert marked and all(cell.source.count(BEGIN) == cell.source.count(END) == 1 for cell in marked)


@pytest.mark.slow
@pytest.mark.parametrize("path", find(SOLUTIONS), ids=short)
def test_the_outcomes_are_the_same_on_the_cpu_alone(path, tmp_path):
    environment = os.environ | private_environment(tmp_path) | device_environment("off")
    run = Page(path, asyncio.run(execute(path, environment)))
    stored = {cell.id: outcome(cell) for cells in checks(Page.load(path)).values() for cell in cells}
    assert stored
    for cells in checks(run).values():
        for cell in cells:
            assert re.match(r"[\w ]+\.", outcome(cell))[0] == re.match(r"[\w ]+\.", stored[cell.id])[0], (
                cell.id
            )
