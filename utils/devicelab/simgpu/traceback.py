"""Tracebacks that end in torch's own line, as on a real card.

An error is raised below torch's operators, in this package's code, so the frames of this package are left out where a traceback
is shown: by Python, by a thread, by IPython and Jupyter. Python offers no way to leave them out as the error passes.
"""

import functools
import os
import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from devicelab.source import PACKAGE, chain, without

if TYPE_CHECKING:
    from .session import Simulation

BELOW = tuple(os.path.join(PACKAGE, name, "") for name in ("simgpu", "trace"))  # torch's operators


def trimmed(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the frames of this package that lie below torch's operators."""
    return without(trace, lambda filename: filename.startswith(BELOW))


def trim(error: BaseException) -> BaseException:
    """Trim the tracebacks of an error and of those that led to it; return it."""
    for link in chain(error):
        link.__traceback__ = trimmed(link.__traceback__) or link.__traceback__
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


def install(simulation: "Simulation") -> None:
    """Replace the functions that show tracebacks."""
    simulation.patches.set(sys, "excepthook", excepthook(sys.excepthook))
    simulation.patches.set(threading, "excepthook", thread_excepthook(threading.excepthook))
    exception = traceback.TracebackException
    simulation.patches.set(exception, "__init__", described(exception.__init__))
    shell = sys.modules.get("IPython.core.interactiveshell")
    if shell is not None:
        show = shell.InteractiveShell._get_exc_info
        simulation.patches.set(shell.InteractiveShell, "_get_exc_info", shown_by_ipython(show))
