"""When a bet is settled, what opens then, and what does not: each cell is run by an IPython of its own."""

import json
import subprocess
import sys

import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from devicelab.course.guess import settling
from devicelab.course.guess.bet import NOT_SURE, Choice, Number
from devicelab.course.guess.settling import Reply, settles
from devicelab.course.guess.tally import NONE, Tally, tally

ASK = "lab.guess('Where?', ['here', 'there'], until='place'{yours})"
HERE = ASK.format(yours=", yours='here'")
TOLD = "You said: here. Compare the output with your guess."


def shell_says(*cells: str) -> list[str]:
    """Return what each cell shows in a fresh IPython without a notebook, `lab` being there."""
    code = f"""
import contextlib, io, json
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell('import devicelab as lab')
said = []
for cell in {list(cells)!r}:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        shell.run_cell(cell, store_history=True)
    said.append(out.getvalue())
print(json.dumps(said))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("until", "source", "settled"),
    [
        ("small", "small = 1", True), ("small", "smaller = 1", False), ("small", "print(a.small)", True),
        ("lab.trace", "with lab.trace() as t:", True), ("c = b", "c = b * 2", True), ("c = b", "abc = b", False),
        ('"data is on"', 'print("data is on", 1)', True), ("", "x", False),
    ],
)  # fmt: skip
def test_a_cell_settles_what_waits_for_a_piece_of_its_code(until, source, settled):
    assert settles(until, source) is settled


def test_the_reply_opens_once_under_the_cell_that_settles_it_and_again_when_it_is_asked_again():
    said = shell_says(HERE, "x = 1", "place = 2", "place = 3", HERE, "place")
    assert [TOLD in text for text in said] == [False, False, True, False, False, True]


def test_nothing_opens_without_a_bet_after_an_error_or_before_the_question():
    unasked = shell_says("place = 1", ASK.format(yours=""), "place = 2", "place = 3")
    failed = shell_says(HERE, "place = 1 / 0", "place = syntax error", "place = 1")
    assert [text for text in unasked if "You said" in text] == []
    assert [TOLD in text for text in failed] == [False, False, False, True]


def test_a_cell_that_asks_does_not_settle_what_it_asks():
    assert TOLD not in shell_says(f"place = 0\n{HERE}")[0]


def test_a_cell_that_is_skipped_without_a_gpu_settles_nothing():
    cells = "import os; os.environ['DEVICELAB_GPU'] = 'off'; lab.start()", "import torch", HERE
    said = shell_says(*cells, "place = torch.ones(1, device='cuda')", "place = 1")
    assert "skipped" in said[3] and [TOLD in text for text in said[3:]] == [False, True]


def test_a_number_is_held_against_what_its_name_then_means():
    ask = "bet = lab.guess('How many?', unit='bytes', until='grown', yours=88)"
    *_, said, again = shell_says(ask, "grown = 880", "lab.tally()")
    assert "You bet 88 bytes; it is 880 bytes: your bet was 10 times too small." in said
    assert (
        'Furthest off: you said "88 bytes" to "How many?", and it was "880 bytes", 10 times too small.'
        in again
    )


def test_a_number_that_nothing_settles_is_said_to_be_so():
    said = shell_says("lab.guess('How many?', unit='bytes', until='place', yours=88);", "print('place')")
    assert "The bet on 'How many?' is not settled: 'place' is no name of a number." in said[1]


def notebook_says(*cells: str) -> list[list]:
    """Return the outputs of each cell of a notebook that is run from top to bottom."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in ("import devicelab as lab", *cells)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return [cell.outputs for cell in notebook.cells[1:]]


def test_in_a_notebook_the_reply_is_an_output_of_the_cell_and_comes_after_its_result():
    _, settled, told = notebook_says(HERE, "place = 1\nprint('result')\nplace", "lab.tally()")
    assert [output.output_type for output in settled] == ["stream", "execute_result", "display_data"]
    assert settled[-1].data["text/plain"] == TOLD
    assert "<b>You said: here.</b>" in settled[-1].data["text/html"]
    assert "Judge this one yourself" in told[0].data["text/plain"]


def test_without_a_bet_a_notebook_shows_what_it_did_before():
    asked, settled, told = notebook_says(ASK.format(yours=""), "place = 1\nprint('result')", "lab.tally()")
    assert "1 here" in asked[-1].data["text/plain"]  # where no widget can be drawn
    assert [output.output_type for output in settled] == ["stream"]
    assert told[0].data["text/plain"] == NONE


# --- what is said ----------------------------------------------------------------------------------------------------

WORDS = {
    "here": "True of x.",
    "there": "True of y.",
    "decides": "The place.",
    "next": "Go on.",
    "truth": "there",
}


def settled(bet, text, names=()):
    """Return the bet, placed and settled."""
    if text is not None:
        bet.place(text)
    bet.settle(dict(names))
    return bet


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("here", "You said: here. True of x.\nThe place."),
        ("there", "You said: there. True of y.\nThe place."),
        (NOT_SURE, "You were not sure.\nThe place.\nGo on."),
    ],
)
def test_their_words_first_then_what_decides_and_a_next_step_for_who_was_not_sure(choice, said):
    assert str(Reply(settled(Choice("Where?", WORDS, ["here", "there"]), choice).reply())) == said


def test_not_sure_of_a_number_hears_the_number_and_what_decides():
    words = {"decides": "Blocks.", "next": "Count.", "truth": 7, "close": "", "small": "", "large": ""}
    said = str(Reply(settled(Number("How many?", words, "days"), NOT_SURE).reply()))
    assert said == "You were not sure; it is 7 days.\nBlocks.\nCount."


def test_a_screen_reader_hears_the_reply_from_the_questions_box_and_a_copy_is_silent():
    said = Reply(("You said: <b>.", "The place."))
    assert 'role="alert"' in settling.settled_box(said) and "The place." in settling.settled_box(said)
    assert "role=" not in said._repr_html_() and "You said: &lt;b&gt;." in said._repr_html_()


@pytest.fixture
def looked_back(monkeypatch):
    """Return a function that tells the tally of these bets."""
    for name in list(settling.bets):
        monkeypatch.delitem(settling.bets, name)

    def tell(*placed) -> str:
        for bet in placed:
            monkeypatch.setitem(settling.bets, bet.question, bet)
        return str(tally())

    return tell


def test_the_tally_names_the_furthest_miss_first_and_marks_nothing(looked_back):
    said = looked_back(
        settled(Number("How many?", {"truth": 1024}, "bytes"), "88"),
        settled(Number("How long?", {"truth": 10}, "s"), "15"),
        settled(Choice("Where?", WORDS, ["here", "there"]), "here"),
        settled(Choice("Whence?", WORDS, ["here", "there"]), "there"),
        settled(Choice("Whither?", WORDS, ["here", "there"]), NOT_SURE),
        settled(Choice("Faster?", {}, ["yes", "no"]), "yes"),
        settled(Choice("Late?", WORDS, ["here", "there"]), None),
    ).splitlines()
    assert said == [
        'Furthest off: you said "88 bytes" to "How many?", and it was "1,024 bytes", 12 times too small.',
        'Otherwise than you said: you said "here" to "Where?", and it was "there".',
        'Judge this one yourself, by the times above: you said "yes" to "Faster?".',
        "As you said, or near it: 2 of your 6 bets.",
        "Not sure before, and told since: 1.",
        "What went otherwise than you said is what this lesson gave you.",
    ]


def test_a_bet_placed_after_its_result_is_answered_and_not_counted(looked_back):
    late = settled(Choice("Where?", WORDS, ["here", "there"]), None)
    late.place("here")
    assert late.reply()[0].startswith("You said: here.") and looked_back(late) == NONE


def test_all_as_it_was_said(looked_back):
    said = looked_back(settled(Choice("Where?", WORDS, ["here", "there"]), "there"))
    assert said == "As you said, or near it: 1 of your 1 bets."
    assert Tally([])._repr_html_() == f"<p>{NONE}</p>"
