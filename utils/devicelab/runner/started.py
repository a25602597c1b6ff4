"""What a script starts: threads, heard as well and with their errors, and processes with their exit codes."""

import _thread
import functools
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from devicelab import children
from devicelab.source import without

from .script import by_python, is_own

_PYTHON = re.compile(r"(?i)(?:pypy|python|torchrun|accelerate|deepspeed|lightning|fabric)[\d.]*w?(?:\.exe)?$")
MOST = 1000  # processes that are remembered


class Started:
    """Notes the Pythons and the threads that a script starts, save for a DataLoader's workers."""

    def __init__(self, heard: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._heard = heard
        self.error: BaseException | None = None  # the first that ended a thread
        self._processes: list[Any] = []

    @property
    def codes(self) -> dict[int, int | None]:
        """Exit codes by the processes' numbers; None of those that run, or that nobody asked how they ended."""
        return {pid: _code(process) for process in self._processes if (pid := process.pid) is not None}

    def watch(self) -> None:
        """Stand before what starts them."""
        self._originals = BaseProcess.start, subprocess.Popen.__init__, threading.Thread.start
        start_process, open_process, start_thread = self._originals
        start_plainly = _thread.start_new_thread

        def start(process: BaseProcess) -> None:
            is_worker = is_loader_worker(process)  # which it forgets
            start_process(process)
            self._note(process, not is_worker)

        def open_(process: Any, args: Any, *rest: Any, **named: Any) -> None:
            if named.get("env") is not None:
                named["env"] = children.extended(named["env"])
            open_process(process, args, *rest, **named)
            self._note(
                process, is_python(args) and not named.get("shell")
            )  # a shell's own number is no Python's

        def start_one(thread: threading.Thread) -> None:
            if not _pins_memory(thread):
                thread.run = functools.partial(self._run, thread, thread.run)  # type: ignore[method-assign]
            start_thread(thread)

        def start_new_thread(function: Any, *arguments: Any) -> int:
            heard = functools.partial(self._call, function) if callable(function) else function
            return start_plainly(heard, *arguments)

        self._start_new_thread = start_new_thread, start_plainly
        _thread.start_new_thread = start_new_thread  # type: ignore[assignment]
        BaseProcess.start, threading.Thread.start = start, start_one  # type: ignore[method-assign, assignment]
        subprocess.Popen.__init__ = open_  # type: ignore[method-assign, assignment]

    def leave(self) -> None:
        """Put everything back."""
        BaseProcess.start, subprocess.Popen.__init__, threading.Thread.start = self._originals  # type: ignore[method-assign]
        ours, before = self._start_new_thread
        if _thread.start_new_thread is ours:  # else a simulation stands there, or has put back what it found
            _thread.start_new_thread = before

    def _run(self, thread: threading.Thread, run: Callable[[], None]) -> None:
        """Run a thread where its operators are heard; an error is told as Python tells it, and kept."""
        del thread.run  # ours; else the thread were to hold itself
        try:
            with self._heard():
                run()
        except SystemExit:  # ends a thread, and means no more
            return
        except BaseException as error:
            self._ended_by(error)
            threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))

    def _call(self, function: Callable[..., object], *args: Any, **named: Any) -> None:
        """Call what `_thread` starts a thread with, as `_run` does; Python tells its errors by another hook."""
        try:
            with self._heard():
                function(*args, **named)
        except SystemExit:
            return
        except BaseException as error:
            self._ended_by(error)
            heading = "Exception ignored in thread started by"
            if sys.unraisablehook is sys.__unraisablehook__:  # it takes arguments that only Python can make
                by_python(f"{heading}: {function!r}", error)
                return
            sys.unraisablehook(
                SimpleNamespace(
                    exc_type=type(error), exc_value=error, exc_traceback=error.__traceback__, err_msg=heading, object=function
                )  # type: ignore[arg-type]
            )  # fmt: skip

    def _ended_by(self, error: BaseException) -> None:
        self.error = self.error or error
        BaseException.with_traceback(error, without(error.__traceback__, is_own))

    def _note(self, process: Any, counts: bool) -> None:
        if counts and len(self._processes) < MOST:
            self._processes.append(process)


def _pins_memory(thread: threading.Thread) -> bool:
    """Say whether a thread is a DataLoader's own."""
    return getattr(getattr(thread, "_target", None), "__name__", "") == "_pin_memory_loop"


def is_loader_worker(process: Any) -> bool:
    """Say whether a process of multiprocessing is one that loads data."""
    return getattr(getattr(process, "_target", None), "__name__", "") == "_worker_loop"


def is_python(command: Any) -> bool:
    """Say whether a command starts a Python, as far as its first word tells."""
    first = command if isinstance(command, (str, bytes, Path)) else next(iter(command), "")
    words = (first.decode(errors="replace") if isinstance(first, bytes) else str(first)).split()
    return bool(words) and _PYTHON.match(re.split(r"[\\/]", words[0].strip("\"'"))[-1]) is not None


def _code(process: Any) -> int | None:
    try:
        return process.exitcode if isinstance(process, BaseProcess) else process.poll()
    except ValueError:  # it was closed
        return None
