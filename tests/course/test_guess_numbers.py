"""Bets on a number: read as people write it, and held against what came out."""

import pytest

from devicelab import guess, widgets
from devicelab.course.guess.bet import NOT_SURE, TRUTH, Number
from devicelab.course.guess.guess import box
from devicelab.course.guess.numbers import number, off_by, shown, value_of
from devicelab.errors import InputError

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
    return Number("How many?", OWN, "bytes")


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

    bet = Number("How long?", {}, "ms")
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
    said = box(bet)
    assert "Noted: 88 bytes" in said and "<details>" in said and "12 times too small" in said
    measured = Number("How long?", {TRUTH: "measured", "close": "Yes."}, "ms")
    measured.place("3")
    assert box(measured) == '<p role="status">Noted: 3 ms. Now run the next cell.</p>'


def test_a_number_in_plain_text(capsys):
    assert guess("How many bytes?", unit="bytes").value is None
    said = capsys.readouterr().out
    assert said.startswith("How many bytes?\n  - a number (bytes)\n  - not sure\n") and "yours=500" in said
    assert guess("How many bytes?", unit="bytes", yours=500).value == 500


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
