"""All or nothing: what must not be cut in two by another thread, or by Ctrl-C."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.RLock()


@contextmanager
def undivided() -> Iterator[None]:
    """Run a block while no other thread runs one; Ctrl-C is heard when it has ended."""
    with _lock:
        heard: list[tuple[Any, ...]] = []
        before = signal.getsignal(signal.SIGINT)
        # Only the main thread may set a handler, and only there Python raises KeyboardInterrupt.
        here = threading.current_thread() is threading.main_thread() and callable(before)
        if here:
            signal.signal(signal.SIGINT, lambda *told: heard.append(told))
        try:
            yield
        finally:
            if here:
                signal.signal(signal.SIGINT, before)
        if heard:
            before(*heard[0])  # type: ignore[misc,operator]


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()  # whoever held it is not in the child


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
