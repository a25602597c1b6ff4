"""Guesses: what a learner sees, and that every option of every lesson has its own reply."""

import ast
import json
from pathlib import Path

import pytest

from devicelab import guess, widgets
from devicelab.course.guess import NOT_SURE, replies, reply
from devicelab.errors import InputError

NOTEBOOKS = sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb"))


def guesses_in(path: Path) -> list[tuple[str, list[str]]]:
    """Return question and options of every `lab.guess(...)` of a notebook."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    found = []
    for source in sources:
        if "lab.guess(" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "lab.guess":
                found.append(tuple(ast.literal_eval(argument) for argument in node.args))
    return found


def test_lessons_were_found():
    assert len(NOTEBOOKS) >= 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_option_of_a_lesson_has_its_own_reply(path):
    found = guesses_in(path)
    assert len(found) >= 2, "a lesson lets its reader guess at least twice"
    for question, options in found:
        assert question in replies(), f"guesses.yaml has no reply to {question!r}"
        assert set(options) == set(replies()[question]) - {NOT_SURE}


def test_no_reply_is_left_over():
    asked = {question for path in NOTEBOOKS for question, _ in guesses_in(path)}
    assert set(replies()) == asked


def test_without_a_notebook_the_question_is_plain_text(capsys):
    guess("Where?", ["here", "there"])
    assert capsys.readouterr().out == "Where?\n  - here\n  - there\n  - not sure\n"


def test_a_reply_waits_folded_and_repeats_the_choice():
    question, options = next(iter(replies().items()))
    option = next(iter(options))
    said = reply(question, option)
    assert f"Noted: {option}" in said and "<details>" in said


def test_the_widget_notes_a_choice_and_marks_nothing_before():
    box = widgets.choice("Where?", ["here", "there"], lambda choice: f"<p>{choice}</p>")
    buttons, answer = box.children
    assert buttons.value is None and answer.value == ""
    buttons.value = "there"
    assert answer.value == "<p>there</p>"


@pytest.mark.parametrize("options", [["one"], "text", ["a", "a"], ["a", NOT_SURE]])
def test_unusable_options_are_refused(options):
    with pytest.raises(InputError):
        guess("Where?", options)
