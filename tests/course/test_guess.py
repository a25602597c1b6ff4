"""Guesses: what a learner sees, and that every option of every lesson has its own reply."""

import ast
import importlib
import json
from pathlib import Path

import pytest

from devicelab import guess, widgets
from devicelab.course.guess import settling
from devicelab.course.guess.bet import DECIDES, KEYS, NOT_SURE, TRUTH, Choice
from devicelab.course.guess.guess import box, replies
from devicelab.errors import InputError

guess_module = importlib.import_module(
    "devicelab.course.guess.guess"
)  # `from ... import guess` gives the function
NOTEBOOKS = sorted(Path(__file__).parents[2].glob("notebooks/*.ipynb"))


SIZES = {"close", "small", "large"}


def guesses_in(path: Path) -> list[tuple[str, list[str] | None, bool]]:
    """Return question and options of every `lab.guess(...)`, and whether it says `until`; None for a number's options."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    found = []
    for source in sources:
        if "lab.guess(" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "lab.guess":
                question, *options = [ast.literal_eval(argument) for argument in node.args]
                options += [ast.literal_eval(word.value) for word in node.keywords if word.arg == "options"]
                until = any(word.arg == "until" for word in node.keywords)
                found.append((question, options[0] if options else None, until))
    return found


def test_lessons_were_found():
    assert len(NOTEBOOKS) >= 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_option_of_a_lesson_has_its_own_reply(path):
    found = guesses_in(path)
    assert len(found) >= 2, "a lesson lets its reader guess at least twice"
    for question, options, until in found:
        assert question in replies(), f"guesses.yaml has no reply to {question!r}"
        own = replies()[question]
        assert DECIDES in own or not until, f"{question!r} is settled, and nothing says what decides"
        beside = {NOT_SURE, *KEYS}
        if options is not None:
            assert set(options) == set(own) - beside
            assert own.get(TRUTH) in (None, *options)
            continue
        assert {key for key in own if isinstance(key, str)} - beside == SIZES
        assert isinstance(own[TRUTH], (int, float)) or own[TRUTH] == "measured"


def test_no_two_options_of_a_question_have_one_reply():
    """Each wrong option is a misconception of its own, and is answered as such."""
    for question, own in replies().items():
        said = [words for key, words in own.items() if key not in (NOT_SURE, *KEYS)]
        assert len(set(said)) == len(said), question


def test_no_reply_is_left_over():
    asked = {question for path in NOTEBOOKS for question, *_ in guesses_in(path)}
    assert set(replies()) == asked


@pytest.fixture(autouse=True)
def nothing_asked(monkeypatch):
    """No question was asked before."""
    for question in list(settling.bets):
        monkeypatch.delitem(settling.bets, question)


def test_without_a_notebook_the_question_is_plain_text_and_says_how_to_bet(capsys):
    guess("Where?", ["here", "there"])
    question, how = capsys.readouterr().out.rsplit("\n", 2)[:2]
    assert question == "Where?\n  1 here\n  2 there\n  3 not sure"
    assert "write yours=1 into this call" in how


@pytest.mark.parametrize(("yours", "noted"), [(2, "there"), ("there", "there"), ("3", "not sure")])
def test_a_bet_is_placed_without_a_widget(yours, noted, capsys):
    guess("Where?", ["here", "there"], yours=yours)
    assert capsys.readouterr().out.endswith(f"Noted: {noted}.\n")


def test_a_bet_that_is_no_answer_is_told_the_answers():
    with pytest.raises(
        InputError, match=r"'somewhere' is none of the answers. Choose from here, there or not sure"
    ):
        guess("Where?", ["here", "there"], yours="somewhere")


def test_a_reply_waits_folded_where_nothing_settles_it():
    question, own = next((q, own) for q, own in replies().items() if TRUTH not in own)
    bet = Choice(question, own, [key for key in own if key not in KEYS])
    bet.place("1")
    assert f"Noted: {bet.options[0]}" in box(bet) and "<details>" in box(bet)
    bet.until = "x"
    assert "opens under the result" in box(bet) and "<details>" not in box(bet)


def test_backticked_words_are_code_in_question_choice_and_reply(shown_boxes, monkeypatch):
    monkeypatch.setattr(
        guess_module, "replies", lambda: {"Is `x` < `y`?": {"`x`": "Yes, `x`.", "`y`": "No."}}
    )
    guess("Is `x` < `y`?", ["`x`", "`y`"], yours="`x`")
    assert "<b>Is <code>x</code> &lt; <code>y</code>?</b>" in shown_boxes[0].data
    said = shown_boxes[1].children[1].value
    assert "Noted: <code>x</code>." in said and "<code>x</code>. Yes, <code>x</code>.</p>" in said


def test_the_widget_notes_a_choice_and_marks_nothing_before():
    box = widgets.choice("Where?", ["here", "there"], None, lambda choice: f"<p>{choice}</p>")
    buttons, answer = box.children
    assert buttons.value is None and answer.value == ""
    buttons.value = "there"
    assert answer.value == "<p>there</p>"


def test_where_no_widget_can_be_drawn_its_output_holds_the_text():
    form = widgets.choice("Where?", ["here", "there"], None, str)
    bundle = widgets.view(form, "Where?\n  1 here")
    assert bundle["text/plain"] == "Where?\n  1 here"
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == form.model_id


@pytest.fixture
def shown_boxes(monkeypatch):
    """What `guess` displays, as if in a notebook."""
    boxes = []
    monkeypatch.setattr(guess_module, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda shown, raw=False: boxes.append(shown))
    monkeypatch.setattr(widgets, "view", lambda form, plain: form)
    return boxes


def test_a_cell_that_is_run_again_keeps_the_choice_and_its_reply(shown_boxes):
    guess("Where to?", ["here", "there"])
    shown_boxes[-1].children[0].value = "there"
    guess("Where to?", ["here", "there"])
    buttons, answer = shown_boxes[-1].children
    assert buttons.value == "there" and "Noted: there." in answer.value
    guess("Where from?", ["here", "there"])
    assert shown_boxes[-1].children[0].value is None


def test_the_prompts_tell_the_way_by_keyboard(shown_boxes):
    guess("Where to?", ["here", "there"])
    guess("How far?", unit="km")
    choice, number = (shown.data for shown in shown_boxes if hasattr(shown, "data"))
    assert "Shift+Tab goes back to the answers, Space chooses, Down goes on." in choice
    assert "Shift+Tab goes back to the box; type, Enter; Tab and Down go on." in number


def test_a_choice_that_is_no_longer_offered_is_forgotten(shown_boxes):
    guess("Where to?", ["here", "there"])
    shown_boxes[-1].children[0].value = "there"
    guess("Where to?", ["here", "elsewhere"])
    buttons, answer = shown_boxes[-1].children
    assert buttons.value is None and answer.value == ""


@pytest.mark.parametrize("options", [["one"], "text", ["a", "a"], ["a", NOT_SURE]])
def test_unusable_options_are_refused(options):
    with pytest.raises(InputError):
        guess("Where?", options)
