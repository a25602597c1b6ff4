"""Ways to end a process that pass Python by: os._exit, a program in its place, a signal. The last words are said before.

Python answers a signal between two of its own instructions. A rank that C++ holds meanwhile, in a collective that waits for the
others, would not end at SIGTERM, as it does without devicelab, until its launcher kills it after half a minute: in a rank a
thread hears of signals as well.
"""

import _thread
import ctypes
import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
GRACE = 1.0  # seconds in which Python can answer a signal
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Ends:
    """Calls `last_words` with the exit code before the process ends in one of these ways."""

    def __init__(self, last_words: Callable[[int | None], object]) -> None:
        self._last_words = last_words
        self._originals: dict[str, Any] = {}
        self._signals: list[int] = []
        self._pipe: int | None = None  # into which C writes the number of each signal
        self._is_answered = self._is_telling = False
        self._came: int | None = None  # a signal, while the last words were said

    def watch(self, in_rank: bool = False) -> None:
        """Stand before these functions, and answer signals that nobody else does; `in_rank`, also where C++ waits for others."""
        for name, code_of in FINAL.items():
            original = self._originals[name] = getattr(os, name)
            setattr(os, name, self._before(original, code_of))
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) == signal.SIG_DFL:
                    signal.signal(number, self._killed)
                    self._signals.append(number)
            if in_rank and os.name == "posix":
                self._listen()

    def leave(self) -> None:
        """Put everything back; what the script has put in its place stays."""
        for name, original in self._originals.items():
            setattr(os, name, original)
        self._originals.clear()
        if threading.current_thread() is threading.main_thread() and not self._is_telling:
            for number in self._signals:
                if signal.getsignal(number) == self._killed:
                    signal.signal(number, signal.SIG_DFL)
            if self._pipe is not None:
                if signal.getsignal(signal.SIGINT) == self._interrupted:
                    signal.signal(signal.SIGINT, signal.default_int_handler)
                present = signal.set_wakeup_fd(-1)
                if present != self._pipe:  # asyncio's, or nobody's
                    signal.set_wakeup_fd(present)
                os.close(self._pipe)
                self._pipe = None
            self._signals.clear()

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Have signals wait while the last words are said in the block; then leave, and die of one that came."""
        outer, self._is_telling = self._is_telling, True
        try:
            yield
        finally:
            self._is_telling = outer
            if not outer:
                self.leave()
            if self._came is not None and not outer:
                os.kill(os.getpid(), self._came)

    def _listen(self) -> None:
        """Have a thread hear of signals, unless the script hears of them in this way itself."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        others = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        if others != -1:
            signal.set_wakeup_fd(others)
            os.close(read)
            os.close(write)
            return
        self._pipe = write
        if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupted)
        _thread.start_new_thread(self._hear, (read, (signal.SIGINT, *self._signals)))

    def _hear(self, pipe: int, numbers: tuple[int, ...]) -> None:
        """End the process, with its last words, where Python did not come to answer a signal in time."""
        while told := os.read(pipe, 1):
            if told[0] not in numbers:
                continue
            time.sleep(GRACE)
            if self._is_answered:
                break
            try:
                with suppress(Exception):
                    self._last_words(-told[0])
            finally:
                ctypes.CDLL(None).signal(told[0], None)  # SIG_DFL; Python's own is for its main thread alone
                os.kill(os.getpid(), told[0])
        os.close(pipe)

    def _interrupted(self, number: int, frame: Any) -> None:
        """Answer Ctrl-C as Python does."""
        self._is_answered = True
        signal.default_int_handler(number, frame)

    def _before(self, original: Any, code_of: Callable[..., int | None]) -> Any:
        @functools.wraps(original)
        def final(*arguments: Any, **named: Any) -> None:
            with suppress(Exception):  # whatever is asked of it in vain, the original says
                self._last_words(code_of(*arguments, **named))
            original(*arguments, **named)

        return final

    def _killed(self, number: int, _: object) -> None:
        """Say the last words, then die of the signal, as without devicelab."""
        self._is_answered = True
        if self._is_telling:
            self._came = number
            return
        signal.signal(number, signal.SIG_DFL)
        self._last_words(-number)
        os.kill(os.getpid(), number)
