"""Tracebacks that end in torch's own line, as on a real card.

An error is raised below torch's operators, in this package's code, so the frames of this package are left out where a traceback
is shown: by Python, by a thread, by IPython and Jupyter. Python offers no way to leave them out as the error passes.
"""

import functools
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from devicelab.simgpu.machine.machine import Machine
from devicelab.source import PACKAGE, chain, without

# Below torch's operators: the card, and who hears of them.
BELOW = (
    *(os.path.join(PACKAGE, name, "") for name in ("simgpu", "trace", "film")),
    os.path.join(PACKAGE, "devices.py"),
)


def trimmed(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the frames of this package that lie below torch's operators."""
    return without(trace, lambda filename: filename.startswith(BELOW))


def trim(error: BaseException) -> BaseException:
    """Trim the tracebacks of an error and of those that led to it; return it."""
    for link in chain(error):
        # not by an assignment, which a frozen error refuses
        BaseException.with_traceback(link, trimmed(link.__traceback__) or link.__traceback__)
    return error


def excepthook(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a sys.excepthook that shows the trimmed traceback."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> Any:
        trim(error)
        return original(kind, error, trimmed(trace) or trace)

    return hook


def thread_excepthook(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a threading.excepthook that shows the trimmed traceback."""

    def hook(args: Any) -> Any:
        if args.exc_value is not None:
            trim(args.exc_value)
            args = threading.ExceptHookArgs(
                (args.exc_type, args.exc_value, args.exc_value.__traceback__, args.thread)
            )
        return original(args)

    return hook


def described(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a TracebackException.__init__ (behind traceback.print_exc, logging and more) that leaves the frames out."""

    @functools.wraps(original)
    def __init__(self: Any, kind: Any, error: Any, trace: TracebackType | None, **kwargs: Any) -> None:
        original(self, kind, error, trimmed(trace) or trace, **kwargs)

    return __init__


def shown_by_ipython(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return an InteractiveShell._get_exc_info, which showtraceback asks what to show."""

    def _get_exc_info(shell: Any, exc_tuple: Any = None) -> Any:
        kind, error, trace = original(shell, exc_tuple)
        if isinstance(error, BaseException):
            trim(error)
        return kind, error, trimmed(trace) or trace

    return _get_exc_info


def install(machine: Machine) -> None:
    """Replace the functions that show tracebacks."""
    patches = machine.patches
    patches.wrap("sys.excepthook", excepthook)
    patches.wrap("threading.excepthook", thread_excepthook)
    patches.wrap("traceback.TracebackException.__init__", described)
    if "IPython.core.interactiveshell" in sys.modules:
        patches.wrap("IPython.core.interactiveshell.InteractiveShell._get_exc_info", shown_by_ipython)
