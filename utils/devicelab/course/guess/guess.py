"""A guess before a cell is run: noted, never marked, answered under the result that settles it."""

from collections.abc import Sequence
from functools import cache
from importlib import resources
from types import ModuleType
from typing import overload

import yaml

from devicelab import html
from devicelab.errors import InputError, listed
from devicelab.picture import in_notebook

from .bet import NOT_SURE, TRUTH, Choice, Number
from .settling import Reply, bets, listen

# After Shift+Enter the answers lie behind the learner; tests/browser walks the ways that these name.
PROMPT = (
    "Choose first, then run the next cell. (Without a mouse: Shift+Tab goes back to the answers, Space chooses, "
    "Down goes on.)"
)
BET_PROMPT = (
    'A number first, or "not sure", then run the next cell. (Without a mouse: Shift+Tab goes back to the box; type, '
    "Enter; Tab and Down go on.)"
)
RUN = "(Run this cell to place your bet. Nothing to choose from even then? Write yours=1, or your number, into its call.)"
OPEN = "You have run it? Open this."


@overload
def guess(question: str, options: Sequence[str], *, until: str = "", yours: str | int = "") -> None: ...
@overload
def guess(question: str, *, unit: str, until: str = "", yours: str | float = "") -> Number: ...
def guess(
    question: str,
    options: Sequence[str] | None = None,
    *,
    unit: str | None = None,
    until: str = "",
    yours: str | float = "",
) -> Number | None:
    """Ask `question` before its cell is run: with `options` a choice, with `unit` a number; "not sure" is an answer.

    `until` is a piece of code of the cell that settles it: the reply opens under that cell's result. A number is compared by
    factor with what the name `until` then means, or with the known truth. Without `until` the reply waits folded, and the
    returned bet's `against(outcome)` shows both numbers. `yours` places the bet where widgets cannot be shown.
    """
    if (options is None) == (unit is None):
        raise InputError("guess needs either a list of options, or unit= for a number, and not both.")
    if options is not None:
        _check(options)
    bet = _asked(question, options, unit or "")
    bet.until, bet.fresh, bet.settled = until, True, False
    if yours != "":
        bet.place(str(yours))
    listen()
    _show(bet)
    return bet if isinstance(bet, Number) else None


def _asked(question: str, options: Sequence[str] | None, unit: str) -> Choice | Number:
    """Return the bet on a question, new or, where the question is the same as before, with what was bet then."""
    words, before = replies().get(question, {}), bets.get(question)
    bet = Number(question, words, unit) if options is None else Choice(question, words, options)
    if before is not None and vars(before).get("unit") == vars(bet).get("unit"):
        kept = (
            isinstance(bet, Number) or before.value in bet.options
        )  # the learner may have changed the options
        bet.value, bet.record = (before.value if kept else None), before.record
    bets[question] = bet
    return bet


def _check(options: object) -> None:
    if not isinstance(options, (list, tuple)) or len(options) < 2:
        raise InputError(f"guess needs a list of at least two options, but it got {options!r}.")
    if len(set(options)) < len(options) or NOT_SURE in options:
        raise InputError(
            f"Each option must differ, and {NOT_SURE!r} is added by itself; it got {listed(options)}."
        )


def answers(bet: Choice | Number) -> str:
    """Return what can be answered, a line each."""
    if isinstance(bet, Number):
        return f"  - a number ({bet.unit})\n  - {NOT_SURE}"
    return "\n".join(f"  {place} {option}" for place, option in enumerate(bet.options, start=1))


def without_widget(bet: Choice | Number) -> str:
    """Return how to bet where nothing is drawn to choose from, or what was bet."""
    how = "yours=500" if isinstance(bet, Number) else "yours=1"
    return (
        f"Noted: {bet.text}."
        if bet.value is not None
        else f"To bet, write {how} into this call and run it again."
    )


def _show(bet: Choice | Number) -> None:
    """Show the question with its widget, or as plain text where there is no notebook or no ipywidgets."""
    widgets = _widgets() if in_notebook() else None
    if widgets is None:
        print(bet.question, answers(bet), without_widget(bet), sep="\n")
        return
    from IPython.display import HTML, display

    def placed(text: str) -> str:
        try:
            bet.place(text)
        except InputError as error:
            return f"<p>{html.prose(str(error))}</p>"
        return box(bet)

    before = "" if bet.value is None else bet.text
    if isinstance(bet, Number):
        prompt, form = (
            BET_PROMPT,
            widgets.number(bet.question, bet.unit, before.removesuffix(bet.unit).strip(), NOT_SURE, placed),
        )
    else:
        prompt, form = PROMPT, widgets.choice(bet.question, bet.options, before or None, placed)
    bet.say = lambda said: setattr(form.children[-1], "value", said)
    display(HTML(f"<p><b>{html.prose(bet.question)}</b><br>{html.prose(prompt)}</p>"))
    display(widgets.view(form, f"{answers(bet)}\n{RUN}"), raw=True)


def _widgets() -> ModuleType | None:
    try:
        from devicelab import widgets
    except ImportError:
        return None
    return widgets


def box(bet: Choice | Number) -> str:
    """Return what the question's box says once a bet is placed, as HTML: it was noted, and where the reply will be."""
    if bet.settled:  # too late to be a bet, early enough to be curious
        return f"<p>The result stands there already:</p>{Reply(bet.reply())._repr_html_()}"
    noted = f'<p role="status">Noted: {html.prose(bet.text)}.'
    if bet.until:
        return f"{noted} The reply opens under the result that settles it.</p>"
    return f"{noted} Now run the next cell.</p>{_folded(bet)}"


def _folded(bet: Choice | Number) -> str:
    """Return the reply to a bet whose question does not name what settles it; nothing where only the run knows it."""
    if isinstance(bet, Choice):
        return html.details(OPEN, " ".join(str(Reply(bet.reply())).splitlines()))
    truth = bet.words.get(TRUTH)
    return html.details(OPEN, bet.verdict(truth)) if isinstance(truth, (int, float)) else ""


@cache
def replies() -> dict[str, dict]:
    """Return the reply to each option of each question of the lessons; that to a number has its `truth` too."""
    return yaml.safe_load(resources.files(__package__).joinpath("guesses.yaml").read_text("utf-8"))
