"""Ways to end a process that pass Python by: os._exit, a program in its place, a signal. The last words are said before."""

import functools
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

ABORTED = -signal.SIGABRT


def as_seen(status: int) -> int:
    """Return the exit code that others see of a status: a number from 0 to 255, but on Windows."""
    return int(status) & 0xFF if os.name == "posix" else int(status)


# Functions of os that do not return, and the exit code that their arguments mean; None: another program goes on.
FINAL: dict[str, Callable[..., int | None]] = {
    "_exit": as_seen,
    "abort": lambda: ABORTED,
    "execv": lambda *_: None,
    "execve": lambda *_: None,
}
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Ends:
    """Calls `last_words` with the exit code before the process ends in one of these ways."""

    def __init__(self, last_words: Callable[[int | None], object]) -> None:
        self._last_words = last_words
        self._originals: dict[str, Any] = {}
        self._signals: list[int] = []

    def watch(self) -> None:
        """Stand before these functions, and answer signals that nobody else does."""
        for name, code_of in FINAL.items():
            original = self._originals[name] = getattr(os, name)
            setattr(os, name, self._before(original, code_of))
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) == signal.SIG_DFL:
                    signal.signal(number, self._killed)
                    self._signals.append(number)

    def leave(self) -> None:
        """Put everything back; what the script has put in its place stays."""
        for name, original in self._originals.items():
            setattr(os, name, original)
        for number in self._signals:
            if signal.getsignal(number) == self._killed:
                signal.signal(number, signal.SIG_DFL)
        self._signals.clear()

    def _before(self, original: Any, code_of: Callable[..., int | None]) -> Any:
        @functools.wraps(original)
        def final(*arguments: Any, **named: Any) -> None:
            with suppress(Exception):  # whatever is asked of it in vain, the original says
                self._last_words(code_of(*arguments, **named))
            original(*arguments, **named)

        return final

    def _killed(self, number: int, _: object) -> None:
        """Say the last words, then die of the signal, as without devicelab."""
        signal.signal(number, signal.SIG_DFL)
        self._last_words(-number)
        os.kill(os.getpid(), number)
