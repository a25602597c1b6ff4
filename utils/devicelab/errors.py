"""Errors that say what was wrong, what was expected and what to do."""

import os
from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path


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
    """Raise InputError unless `value` is a number with low <= value <= high, a whole one where `low` is; NaN is outside."""
    whole = isinstance(low, int) and isinstance(high, int)
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        what = "whole number" if whole else "number"
        raise InputError(f"{name} must be a {what} between {low:,} and {high:,}, but it is {value!r}.")
    if not low <= value <= high:
        raise InputError(f"{name} must be between {low:,} and {high:,}, but it is {value:,}.")


def path_of(name: str, value: object) -> Path:
    """Return `value` as a path; InputError where it is no text and no path."""
    if not isinstance(value, (str, os.PathLike)):
        raise InputError(f"{name} must be the name of a file or folder, but it is {value!r}.")
    return Path(value)
