"""What `run` says, on the stderr that it was started with: a script's own output stays as it was, whatever it does to it."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from devicelab.private import private

PROGRESS = 10.0  # seconds between two progress lines
_own: list[TextIO] = []  # the stderr that was there at the start


@contextmanager
def kept_stderr() -> Iterator[None]:
    """Keep a way to the present stderr, which a script may close or replace."""
    try:
        stream = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding)
    except (AttributeError, OSError, ValueError):  # none, or one without a file: what is there is used
        yield
        return
    _own.append(stream)
    try:
        yield
    finally:
        _own.pop()
        with suppress(OSError):  # a full disk keeps what could not be written, and refuses it once more
            stream.close()


def say(text: str) -> None:
    """Print a line for the reader, without the names of users, computers and home folders."""
    flush()
    stream = _own[-1] if _own else sys.stderr
    text = private(text)
    with suppress(AttributeError, OSError, ValueError):
        try:
            stream.write(f"{text}\n")
        except UnicodeEncodeError:
            stream.write(text.encode("ascii", "backslashreplace").decode() + "\n")
        stream.flush()


def flush() -> None:
    """Let what the script printed come first; it may have closed its output."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a stream of the script's own may raise anything
            stream.flush()


class Progress:
    """Prints one line every ten seconds, at the end of an optimizer step."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self._steps = 0

    def __call__(self) -> None:
        from devicelab.trace.words import plural

        self._steps += 1
        now = time.monotonic()
        if now - self._last >= PROGRESS:
            self._last = now
            say(f"devicelab: {plural(self._steps, 'optimizer step')} in {now - self._began:.0f} s")
