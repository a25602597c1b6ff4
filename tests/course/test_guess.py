"""Guesses: what a learner sees, and that every option of every lesson has its own reply."""

import ast
import importlib
import json
from pathlib import Path

import pytest

from devicelab import guess, widgets
from devicelab.course.guess.bet import NOT_SURE, TRUTH, Bet, number, off_by, shown, value_of
from devicelab.course.guess.guess import bet_reply, replies, reply
from devicelab.errors import InputError

guess_module = importlib.import_module(
    "devicelab.course.guess.guess"
)  # `from ... import guess` gives the function
NOTEBOOKS = sorted(Path(__file__).parents[2].glob("notebooks/*.ipynb"))


SIZES = {"close", "small", "large"}


def guesses_in(path: Path) -> list[tuple[str, list[str] | None]]:
    """Return question and options of every `lab.guess(...)` of a notebook; None for the options of a number."""
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
                found.append((question, options[0] if options else None))
    return found


def test_lessons_were_found():
    assert len(NOTEBOOKS) >= 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_option_of_a_lesson_has_its_own_reply(path):
    found = guesses_in(path)
    assert len(found) >= 2, "a lesson lets its reader guess at least twice"
    for question, options in found:
        assert question in replies(), f"guesses.yaml has no reply to {question!r}"
        own = replies()[question]
        if options is not None:
            assert set(options) == set(own) - {NOT_SURE}
            continue
        assert {key for key in own if isinstance(key, str)} - {NOT_SURE} == SIZES | {TRUTH}
        assert isinstance(own[TRUTH], (int, float)) or own[TRUTH] == "measured"


def test_no_two_options_of_a_question_have_one_reply():
    """Each wrong option is a misconception of its own, and is answered as such."""
    for question, own in replies().items():
        said = [words for key, words in own.items() if key not in (TRUTH, NOT_SURE)]
        assert len(set(said)) == len(said), question


def test_no_reply_is_left_over():
    asked = {question for path in NOTEBOOKS for question, _ in guesses_in(path)}
    assert set(replies()) == asked


def test_without_a_notebook_the_question_is_plain_text(capsys):
    guess("Where?", ["here", "there"])
    assert capsys.readouterr().out == "Where?\n  - here\n  - there\n  - not sure\n"


def test_a_reply_waits_folded_and_repeats_the_choice():
    question, options = next((q, own) for q, own in replies().items() if TRUTH not in own)
    option = next(iter(options))
    said = reply(question, option)
    assert f"Noted: {option}" in said and "<details>" in said


def test_backticked_words_are_code_in_question_choice_and_reply(shown_boxes, monkeypatch):
    monkeypatch.setattr(
        guess_module, "replies", lambda: {"Is `x` < `y`?": {"`x`": "Yes, `x`.", "`y`": "No."}}
    )
    guess("Is `x` < `y`?", ["`x`", "`y`"])
    assert "<b>Is <code>x</code> &lt; <code>y</code>?</b>" in shown_boxes[0].data
    said = reply("Is `x` < `y`?", "`x`")
    assert "Noted: <code>x</code>." in said and "<p>Yes, <code>x</code>.</p>" in said


def test_the_widget_notes_a_choice_and_marks_nothing_before():
    box = widgets.choice("Where?", ["here", "there"], None, lambda choice: f"<p>{choice}</p>")
    buttons, answer = box.children
    assert buttons.value is None and answer.value == ""
    buttons.value = "there"
    assert answer.value == "<p>there</p>"


@pytest.fixture
def shown_boxes(monkeypatch):
    """What `guess` displays, as if in a notebook."""
    boxes = []
    monkeypatch.setattr(guess_module, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", boxes.append)
    monkeypatch.setattr(guess_module, "_choices", {})
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
    assert "Shift+Tab back to it, Space chooses, Down leads on." in choice
    assert "Shift+Tab back to the box, a number, Enter; Tab, then Down leads on." in number


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


# --- numbers ---------------------------------------------------------------------------------------------------------

OWN = {
    TRUTH: 1024,
    "close": "Yes.",
    "small": "Blocks.",
    "large": "Not MiB.",
    88: "The numbers.",
    NOT_SURE: "Now you are.",
}


@pytest.fixture
def bet():
    return Bet("How many?", "bytes", OWN)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1024", 1024), ("1,024", 1024), ("1 024 bytes", 1024), ("1e6", 1e6), ("0.5", 0.5), ("0,5", 0.5),
     (".5", 0.5), ("12,345,678", 12345678), (" 0 ", 0)],
)  # fmt: skip
def test_a_number_is_read_as_people_write_it(text, value):
    assert number(text, "bytes") == value


@pytest.mark.parametrize("text", ["", "many", "-3", "1/2", "nan", "inf", "3 MB"])
def test_what_is_no_number_is_answered_with_what_is_wanted(text):
    with pytest.raises(InputError, match=r"no number from 0 up. Write digits, such as 500, 0.5 or 1e6"):
        number(text, "bytes")


@pytest.mark.parametrize(
    ("value", "words"),
    [(1024, "just that"), (512, "within a factor of 2"), (2048, "within a factor of 2"), (500, "2 times too small"),
     (88, "12 times too small"), (4e6, "3,900 times too large"), (0, "too small")],
)  # fmt: skip
def test_a_number_is_off_by_by_factor(value, words):
    assert off_by(value, 1024) == words


def test_a_truth_of_zero_knows_no_factor():
    assert off_by(0, 0) == "just that" and off_by(3, 0) == "too large"


@pytest.mark.parametrize(
    ("text", "said"),
    [("88", "The numbers."), ("100", "Blocks."), ("1000", "Yes."), ("1e6", "Not MiB."), ("not sure", "Now you are.")],
)  # fmt: skip
def test_each_size_and_each_known_misconception_has_its_own_sentence(bet, capsys, text, said):
    bet.place(text)
    bet.against(1024)
    printed = capsys.readouterr().out
    assert said in printed and "it is 1,024 bytes" in printed
    assert [word for word in OWN.values() if isinstance(word, str) and word in printed] == [said]


def test_after_run_all_no_bet_was_placed(bet, capsys):
    bet.against(1024)
    assert capsys.readouterr().out == "No bet placed; it is 1,024 bytes.\n"


def test_a_bet_stands_beside_a_measured_time(capsys):
    class Timing:
        median, origin = 0.002, "measured"

    bet = Bet("How long?", "ms", {})
    bet.place("20 ms")
    bet.against(Timing())
    assert capsys.readouterr().out == "You bet 20 ms; measured 2 ms: your bet was 10 times too large.\n"


@pytest.mark.parametrize(("unit", "value"), [("s", 0.5), ("ms", 500), ("µs", 5e5)])
def test_an_instruments_seconds_are_converted(unit, value):
    class Estimate:
        seconds, origin = 0.5, "estimated"

    assert value_of(Estimate(), unit) == (value, "estimated")
    with pytest.raises(InputError, match="the outcome is a time"):
        value_of(Estimate(), "bytes")


def test_an_outcome_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="compared with a number or with a timing, but it got str"):
        value_of("much", "bytes")


def test_the_answer_waits_folded_where_it_is_known_and_nothing_is_told_where_it_is_not(bet):
    bet.place("88")
    said = bet_reply(bet)
    assert "Noted: 88 bytes" in said and "<details>" in said and "12 times too small" in said
    measured = Bet("How long?", "ms", {TRUTH: "measured", "close": "Yes."})
    measured.place("3")
    assert bet_reply(measured) == "<p>Noted: 3 ms. Now run the next cell.</p>"


def test_a_number_in_plain_text(capsys):
    assert guess("How many bytes?", unit="bytes").value is None
    assert capsys.readouterr().out == "How many bytes?\n  - a number (bytes)\n  - not sure\n"


def test_a_cell_that_is_run_again_keeps_the_bet(capsys):
    guess("How many more?", unit="bytes").place("7")
    assert guess("How many more?", unit="bytes").text == "7 bytes"


def test_the_box_places_a_bet_by_enter_and_by_the_button():
    placed = []
    box = widgets.number(
        "How many?", "bytes", "", NOT_SURE, lambda text: placed.append(text) or f"<p>{text}</p>"
    )
    (text, button), answer = box.children[0].children, box.children[1]
    assert answer.value == "" and placed == []
    text.value = "88"  # what Enter sends
    button.click()
    text.value = "88"
    assert placed == ["88", NOT_SURE, "88"] and answer.value == "<p>88</p>"


@pytest.mark.parametrize("before", ["88", NOT_SURE])
def test_the_box_shows_the_bet_of_an_earlier_run(before):
    box = widgets.number("How many?", "bytes", before, NOT_SURE, lambda text: text)
    assert box.children[1].value == before


def test_numbers_are_shown_with_their_unit():
    assert (shown(1024, "bytes"), shown(0.01234, "s"), shown(3, "")) == ("1,024 bytes", "0.0123 s", "3")


@pytest.mark.parametrize("arguments", [{}, {"options": ["a", "b"], "unit": "s"}])
def test_a_guess_is_either_a_choice_or_a_number(arguments):
    with pytest.raises(InputError, match="either a list of options, or unit="):
        guess("Where?", **arguments)
