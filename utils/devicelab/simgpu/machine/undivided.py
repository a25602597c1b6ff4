"""All or nothing: what must not be cut in two by another thread, by Ctrl-C or another signal, or by a fork."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.RLock()
Heard = list[tuple[Callable[..., object], tuple[Any, ...]]]


@contextmanager
def undivided() -> Iterator[None]:
    """Run a block while no other thread runs one; signals are heard when it has ended, also where it fails."""
    with _lock:
        heard: Heard = []
        before = _handlers()
        try:
            for number, handler in before.items():
                signal.signal(number, lambda *told, handler=handler: heard.append((handler, told)))
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            _tell(heard)


def _handlers() -> dict[int, Callable[..., object]]:
    """Return the handlers written in Python, which may raise anywhere; only the main thread runs them, and may set others."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {number: signal.getsignal(number) for number in signal.valid_signals()}
    return {number: handler for number, handler in found.items() if callable(handler)}


def _tell(heard: Heard) -> None:
    """Call the handlers of the signals that came, each, in order."""
    if heard:
        handler, told = heard.pop(0)
        try:
            handler(*told)
        finally:
            _tell(heard)


if hasattr(os, "register_at_fork"):  # a fork waits for the end of a block, or the child would have half of it
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
