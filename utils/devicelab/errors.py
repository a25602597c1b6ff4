"""Errors that say what was wrong, what was expected and what to do."""

from collections.abc import Iterable


class DevicelabError(Exception):
    """The base of every error that devicelab raises on its own account."""


class InputError(DevicelabError, ValueError):
    """An argument has a value that is not allowed; the message lists what is."""


class SimulationError(DevicelabError, RuntimeError):
    """Something was asked of the simulated GPU that it does not imitate, or that would mislead."""


def listed(names: Iterable[object]) -> str:
    """Return the names as one readable list: "a, b or c"."""
    words = [str(name) for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise InputError unless low <= value <= high; NaN is outside of every range."""
    if not low <= value <= high:
        raise InputError(f"{name} must be between {low:,} and {high:,}, but it is {value:,}.")
