"""Numbers as learners write them, and how far one is off: by factor."""

import re
from collections.abc import Mapping

from devicelab import units
from devicelab.errors import InputError

NEAR = 2.0  # a bet within this factor of the truth is a good one: an order of magnitude is what is asked for
EXACT = 0.01  # relative difference below which a bet counts as the number itself
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


def factor(bet: float, truth: float) -> float:
    """Return by what factor the two differ, from 1 up; infinite where one of them alone is 0."""
    if bet == truth:
        return 1.0
    return max(bet / truth, truth / bet) if bet and truth else float("inf")


def off_by(bet: float, truth: float) -> str:
    """Return how far a bet is off, by factor: "within a factor of 2", "10 times too small"."""
    if abs(bet - truth) <= EXACT * abs(truth):
        return "just that"
    if bet == 0 or truth == 0:
        return "too small" if bet < truth else "too large"
    if size_class(bet, truth) == "close":
        return f"within a factor of {NEAR:g}"
    times = float(f"{factor(bet, truth):.2g}")
    return f"{shown(times, 'times')} too {size_class(bet, truth)}"


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
