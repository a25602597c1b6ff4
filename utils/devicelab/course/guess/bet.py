"""A number bet before a cell is run, and compared by factor once the true one is known."""

import re
from collections.abc import Mapping

from devicelab import units
from devicelab.errors import InputError

NOT_SURE = "not sure"
NEAR = 2.0  # a bet within this factor of the truth is a good one: an order of magnitude is what is asked for
EXACT = 0.01  # relative difference below which a bet counts as the number itself
TRUTH = "truth"  # the key of the true number in guesses.yaml; the word `measured` where only the run knows it
_SECONDS = {"s": 1.0, "seconds": 1.0, "ms": 1e-3, "milliseconds": 1e-3, "µs": 1e-6, "microseconds": 1e-6}
_NUMBER = re.compile(r"\d[\d,_ ]*(?:\.\d+)?(?:e[+-]?\d+)?|\.\d+", re.IGNORECASE)


def number(text: str, unit: str = "") -> float:
    """Return the number that a learner wrote: 1024, 1,024, 1e3, 0.5, 0,5 or "0.5 ms"; InputError says what is wanted."""
    words = text.strip().removesuffix(unit).strip()
    if re.fullmatch(r"\d+,(?:\d{1,2}|\d{4,})", words):  # a decimal comma; "1,024" is a thousand
        words = words.replace(",", ".")
    if not _NUMBER.fullmatch(words):
        raise InputError(f"{text!r} is no number from 0 up. Write digits, such as 500, 0.5 or 1e6.")
    return float(re.sub(r"[,_ ]", "", words))


def shown(value: float, unit: str) -> str:
    """Return a number with its unit: 1024 bytes becomes "1,024 bytes", 0.01234 s becomes "0.0123 s"."""
    digits = f"{value:,.0f}" if float(value).is_integer() else units.digits(value)
    return f"{digits} {unit}".strip()


def size_class(bet: float, truth: float) -> str:
    """Return "close" for a bet within the factor NEAR of the truth, else "small" or "large"."""
    if bet == truth or (truth > 0 and truth / NEAR <= bet <= truth * NEAR):
        return "close"
    return "small" if bet < truth else "large"


def off_by(bet: float, truth: float) -> str:
    """Return how far a bet is off, by factor: "within a factor of 2", "10 times too small"."""
    if abs(bet - truth) <= EXACT * abs(truth):
        return "just that"
    if bet == 0 or truth == 0:
        return "too small" if bet < truth else "too large"
    if size_class(bet, truth) == "close":
        return f"within a factor of {NEAR:g}"
    factor = float(f"{max(bet / truth, truth / bet):.2g}")
    return f"{shown(factor, 'times')} too {size_class(bet, truth)}"


def reply_to(bet: float, truth: float, replies: Mapping[object, str]) -> str:
    """Return the sentence for this bet: that of a number it comes near to (a known misconception), else its size's."""
    for key, words in replies.items():
        if isinstance(key, (int, float)) and abs(bet - key) <= EXACT * max(abs(key), EXACT):
            return words
    return replies.get(size_class(bet, truth), "")


def value_of(outcome: object, unit: str) -> tuple[float, str]:
    """Return the number of an instrument's result, or a plain number, in `unit`, and the word that says whence it came.

    A Timing has its median, an Estimate its seconds; both are converted where `unit` is one of time.
    """
    for name in ("median", "seconds"):
        value = getattr(outcome, name, None)
        if isinstance(value, (int, float)):
            if unit not in _SECONDS:
                raise InputError(f"The bet is in {unit!r}, but the outcome is a time. Give a plain number.")
            return value / _SECONDS[unit], str(getattr(outcome, "origin", "estimated"))
    try:
        return float(outcome), ""  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(
            f"A bet is compared with a number or with a timing, but it got {type(outcome).__name__}."
        ) from None


class Bet:
    """A number that was bet on a question, or not yet; `against` shows it beside the outcome."""

    def __init__(self, question: str, unit: str, replies: Mapping[object, str]) -> None:
        self.question, self.unit, self.replies = question, unit, replies
        self.value: float | str | None = None

    def place(self, text: str) -> None:
        """Place the bet, or place it anew; `text` is a number or "not sure"."""
        self.value = NOT_SURE if text.strip().lower() == NOT_SURE else number(text, self.unit)

    @property
    def text(self) -> str:
        """What was bet, with its unit."""
        return shown(self.value, self.unit) if isinstance(self.value, float) else str(self.value)

    def verdict(self, truth: float, word: str = "it is") -> str:
        """Return bet and truth in one line, and the sentence that goes with this bet in another."""
        outcome = f"{word} {shown(truth, self.unit)}"
        if self.value is None:
            return f"No bet placed; {outcome}."
        if isinstance(self.value, str):
            return f"You were not sure; {outcome}. {self.replies.get(NOT_SURE, '')}".strip()
        how = off_by(self.value, truth)
        return f"You bet {self.text}; {outcome}: your bet was {how}.\n{reply_to(self.value, truth, self.replies)}".strip()

    def against(self, outcome: object) -> None:
        """Print the bet beside the outcome: a number in the bet's unit, or an instrument's result."""
        value, origin = value_of(outcome, self.unit)
        print(self.verdict(value, origin or "it is"))

    def __repr__(self) -> str:
        return f"A bet on {self.question!r}: {'not placed' if self.value is None else self.text}."

    def _ipython_display_(self) -> None:
        """Show nothing where the cell ends with the guess: its box stands there already."""
