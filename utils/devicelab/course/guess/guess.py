"""A guess before a cell is run: noted, never marked, answered when the learner has seen the outcome."""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from types import ModuleType
from typing import overload

import yaml

from devicelab import html
from devicelab.errors import InputError, listed
from devicelab.picture import in_notebook

from .bet import NOT_SURE, TRUTH, Bet

# After Shift+Enter the answers lie behind the learner; tests/browser walks the ways that these name.
PROMPT = (
    "Your guess first, then the next cell. By keyboard: Shift+Tab back to it, Space chooses, Down leads on."
)
BET_PROMPT = (
    'Your bet first, or "not sure", then the next cell. '
    "By keyboard: Shift+Tab back to the box, a number, Enter; Tab, then Down leads on."
)
OPEN = "You have run it? Open this."
_bets: dict[str, Bet] = {}  # by question: a cell that is run again keeps what was bet
_choices: dict[str, str] = {}  # by question, likewise


@overload
def guess(question: str, options: Sequence[str]) -> None: ...
@overload
def guess(question: str, *, unit: str) -> Bet: ...
def guess(question: str, options: Sequence[str] | None = None, *, unit: str | None = None) -> Bet | None:
    """Ask `question` before its cell is run: with `options` a choice, with `unit` a number; "not sure" is an answer.

    The reply waits, folded, for the outcome. A number is compared by factor: the returned bet's `against(outcome)` shows
    both. Where widgets cannot be shown, the question is shown as text.
    """
    if (options is None) == (unit is None):
        raise InputError("guess needs either a list of options, or unit= for a number, and not both.")
    if unit is not None:
        return _number(question, unit)
    _check(options)
    choices = [*(options or ()), NOT_SURE]
    plain = "\n".join([question, *(f"  - {choice}" for choice in choices)])
    before = _choices.get(question)

    def chosen(choice: str) -> str:
        _choices[question] = choice
        return reply(question, choice)

    known = before if before in choices else None  # the learner may have changed the options
    _show(question, PROMPT, plain, lambda w: w.choice(question, choices, known, chosen))
    return None


def _number(question: str, unit: str) -> Bet:
    bet = _bets.setdefault(question, Bet(question, unit, replies().get(question, {})))
    plain = f"{question}\n  - a number ({unit})\n  - {NOT_SURE}"

    def placed(text: str) -> str:
        try:
            bet.place(text)
        except InputError as error:
            return f"<p>{html.prose(str(error))}</p>"
        return bet_reply(bet)

    before = "" if bet.value is None else bet.text.removesuffix(unit).strip()
    _show(question, BET_PROMPT, plain, lambda w: w.number(question, unit, before, NOT_SURE, placed))
    return bet


def _check(options: object) -> None:
    if not isinstance(options, (list, tuple)) or len(options) < 2:
        raise InputError(f"guess needs a list of at least two options, but it got {options!r}.")
    if len(set(options)) < len(options) or NOT_SURE in options:
        raise InputError(
            f"Each option must differ, and {NOT_SURE!r} is added by itself; it got {listed(options)}."
        )


def _show(question: str, prompt: str, plain: str, widget: Callable[[ModuleType], object]) -> None:
    """Show the question with its widget, or as plain text where there is no notebook or no ipywidgets."""
    if not in_notebook():
        print(plain)
        return
    from IPython.display import HTML, display

    try:
        from devicelab import widgets
    except ImportError:
        print(plain)
        return
    display(HTML(f"<p><b>{html.prose(question)}</b><br>{html.prose(prompt)}</p>"))
    display(widget(widgets))


def reply(question: str, choice: str) -> str:
    """Return what is said to a choice, as HTML: it was noted, and a folded sentence for after the run."""
    answers = replies().get(question, {})
    if choice == NOT_SURE:
        words = answers.get(NOT_SURE, "A good place to start: the next cell shows it.")
    else:
        words = answers.get(choice, "Compare the output with your guess.")
    return _noted(choice) + html.details(OPEN, words)


def bet_reply(bet: Bet) -> str:
    """Return what is said to a bet, as HTML: it was noted; where the truth is known beforehand, a folded verdict too."""
    truth = bet.replies.get(TRUTH)
    folded = html.details(OPEN, bet.verdict(truth)) if isinstance(truth, (int, float)) else ""
    return _noted(bet.text) + folded


def _noted(text: str) -> str:
    return f"<p>Noted: {html.prose(text)}. Now run the next cell.</p>"


@cache
def replies() -> dict[str, dict]:
    """Return the reply to each option of each question of the lessons; that to a number has its `truth` too."""
    return yaml.safe_load(resources.files(__package__).joinpath("guesses.yaml").read_text("utf-8"))
