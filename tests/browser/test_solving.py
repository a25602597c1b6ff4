"""Exercises solved as a learner solves them: from the empty notebook, wrong first, then right."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from lab_page import ROOT, error_texts, open_notebook, pop_ups, run_all, run_cell
from playwright.sync_api import Locator, Page
from shoot import take_pictures

from tools.notebooks.nbfiles import EXERCISES, SOLUTIONS, find, read, short, tags

pytestmark = pytest.mark.browser
PICTURES = ROOT / "build" / "screenshots"
SOLVED = find(SOLUTIONS)[
    :3
]  # the rest is judged in the same way, without a browser, by tests/notebooks/test_questions.py


@dataclass(frozen=True)
class Task:
    """A question of a solution: what a learner types, and what has to be answered."""

    name: str
    untouched: str
    wrong: str
    said: str
    right: str
    praise: str
    hint: str
    solution: str


def words(text: str) -> str:
    """Return a text on one line, as it is compared: a browser breaks lines in its own way and shows `words` as code."""
    return " ".join(text.replace("`", "").split())


def typed(wrong: str, check: str) -> str:
    """Return a wrong answer as it is typed into the answer's cell; one that stands in the call gets the checked name."""
    call, _, argument = check.rstrip().removesuffix(")").partition("(")
    above, _, inside = wrong.rstrip().removesuffix(")").rpartition(call + "(")
    return above.rstrip() or f"{argument} = {inside}"


def tasks(path: Path) -> list[Task]:
    """Return the questions of a solution, each with its first wrong answer and the feedback that is stored for it."""
    cells = read(path).cells
    source = {cell.id: cell.source for cell in cells}
    found = []
    for question in import_module(f"devicelab.course.ex{path.name[:2]}").questions:
        name = question.key.split(".")[1]
        wrong = next(c for c in cells if c.id.startswith(f"{name}-wrong") and "wrong-answer" in tags(c))
        answer = [line for line in source[f"{name}-answer"].split("\n") if not line.strip().startswith("###")]
        found.append(
            Task(
                name,
                untouched=f"Not attempted. {question.start_here}",
                wrong=typed(wrong.source, source[f"{name}-check"]),
                said=wrong.outputs[-1].data["text/plain"],
                right="\n".join(answer),
                praise=f"Passed. {question.praise}",
                hint=f"Hint. (1 of {len(question.hints)}) {question.hints[0]}",
                solution=f"Solution. One way: {question.answer}",
            )
        )
    return found


def mark_cells(page: Page, path: Path) -> None:
    """Give each cell on the page its id, which JupyterLab does not show; cells put in later do not disturb it."""
    script = "(ids) => document.querySelectorAll('.jp-Notebook .jp-Cell').forEach((c, i) => c.dataset.cell = ids[i])"
    page.evaluate(script, [cell.id for cell in read(path).cells])


def cell(page: Page, name: str) -> Locator:
    """Return a marked cell."""
    return page.locator(f'.jp-Cell[data-cell="{name}"]')


def new_cell_above_the_selected(page: Page, name: str) -> Locator:
    """Put a cell in with the key A, as a learner does to ask for a hint, and mark it."""
    page.keyboard.press("a")
    page.evaluate("(name) => document.querySelector('.jp-Cell.jp-mod-active').dataset.cell = name", name)
    return cell(page, name)


def said(check: Locator) -> str:
    """Return the reply of a check; the buttons for help are an output of their own below it."""
    return words(check.locator(".jp-OutputArea-output").first.inner_text())


def solve(page: Page, server, task: Task) -> None:
    """Answer one question wrong, ask for a hint, answer right and ask for the solution."""
    answer, check = cell(page, f"{task.name}-answer"), cell(page, f"{task.name}-check")
    assert said(check) == words(task.untouched)
    run_cell(page, server, answer, task.wrong)
    run_cell(page, server, check)
    assert said(check) == words(task.said)
    asked = new_cell_above_the_selected(page, f"{task.name}-hint")
    assert words(run_cell(page, server, asked, f"{task.name}.hint()")) == words(task.hint)
    run_cell(page, server, answer, task.right)
    run_cell(page, server, check)
    assert said(check) == words(task.praise)
    assert words(run_cell(page, server, asked, f"{task.name}.solution()")) == words(task.solution)


def filled(bar: Locator) -> float:
    """Return how much of a progress bar is coloured, from 0 to 1."""
    inner, outer = (bar.locator(place).evaluate("e => e.clientWidth") for place in ("td div div", "td > div"))
    return inner / outer


@pytest.mark.parametrize("path", SOLVED, ids=short)
def test_an_exercise_is_solved_wrong_then_right(path, page, server):
    copy = f"my_course/exercises/E{path.name}"
    open_notebook(page, server, copy)
    run_all(page, server)
    mark_cells(page, server.root / copy)
    bar, questions = cell(page, "progress").locator(".jp-OutputArea-output"), tasks(path)
    assert f"0 of {len(questions)} passed" in bar.inner_text()
    assert filled(bar) == 0
    for task in questions:
        solve(page, server, task)
    run_cell(page, server, cell(page, "progress"))
    assert f"{len(questions)} of {len(questions)} passed" in bar.inner_text()
    assert filled(bar) == 1
    assert (error_texts(page), pop_ups(page)) == ([], [])
    take_pictures(page, PICTURES, f"exercise-{path.stem}")


def test_three_exercises_are_solved():
    assert len(SOLVED) == 3


def test_a_wrong_answer_is_typed_as_a_learner_would():
    assert typed("def f():\n    return 1\n\n\nq1.check(f)", "q1.check(f)") == "def f():\n    return 1"
    assert typed('q2.check(dict.fromkeys("ab", 1))', "q2.check(places)") == 'places = dict.fromkeys("ab", 1)'


def test_every_exercise_lies_in_the_learners_course(server):
    given = find(server.root / EXERCISES.name)
    mine = find(server.root / "my_course" / "exercises")
    assert [path.name for path in mine] == [f"E{path.name}" for path in given]
