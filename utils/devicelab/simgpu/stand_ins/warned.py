"""Warnings that name the line that called torch, as on a real card.

C++, and our own code below an operator, warn in the name of the Python function that is running: a stand-in, or the dispatch
mode. Where such a warning is about to be shown it is given anew in the name of the caller, so that its filters, and what was
shown at its line before, decide.
"""

import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from itertools import dropwhile
from types import FrameType
from typing import Any

from devicelab.simgpu.machine.machine import Machine
from devicelab.source import DEVICELAB, OWNERS

OPERATORS = "torch._ops"  # by which the dispatch mode calls the operators


def frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield a frame and its callers."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def is_ours(frame: FrameType) -> bool:
    """Say whether a frame is this package's, or lies between it and an operator."""
    return OWNERS[frame.f_code.co_filename] == DEVICELAB or frame.f_globals.get("__name__") == OPERATORS


def caller(filename: str, line: int, frame: FrameType) -> tuple[FrameType, FrameType] | None:
    """Return the frame that a warning names and the first below it that is not ours; None where it names another's line."""
    named = next(
        (at for at in frames(frame) if (at.f_code.co_filename, at.f_lineno) == (filename, line)), None
    )
    if named is None or not is_ours(named):
        return None
    found = next(dropwhile(is_ours, frames(named)), None)
    between = next(
        (at for at in frames(named) if at is found or OWNERS[at.f_code.co_filename] == DEVICELAB), None
    )
    return None if found is None or between is found else (named, found)


def showing(original: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a stand-in for what shows a warning."""

    @functools.wraps(original)
    def _showwarnmsg(said: Any) -> None:
        found = caller(said.filename, said.lineno, sys._getframe(1))
        if found is None:
            original(said)
            return
        named, at = found
        named.f_globals.pop("__warningregistry__", None)  # ours remembers nothing for all others
        warnings.onceregistry.pop((str(said.message), said.category), None)  # type: ignore[attr-defined]
        names = at.f_globals
        registry = names.setdefault("__warningregistry__", {})
        module = names.get("__name__", "<string>")
        warnings.warn_explicit(
            said.message,
            said.category,
            at.f_code.co_filename,
            at.f_lineno,
            module,
            registry,
            source=said.source,
        )

    return _showwarnmsg


def install(machine: Machine) -> None:
    """Stand before what shows warnings."""
    machine.patches.wrap("warnings._showwarnmsg", showing)
