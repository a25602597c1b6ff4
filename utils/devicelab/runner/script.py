"""Run a script or a module as Python itself would, to its very end: exit code, excepthook, threads, exit handlers."""

import atexit
import runpy
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from devicelab.source import DEVICELAB, chain, whose, without

from .ends import as_seen
from .said import flush


def execute(target: Sequence[str], whole: bool = False) -> tuple[BaseException | None, int]:
    """Run a script, or "-m" and a module; return what ended it (None: its last line), and the exit code of Python.

    `whole` says that this process is the script's alone: then it is followed beyond its last line, as Python does it.
    """
    before = threading.enumerate()
    error, code = None, 0
    try:
        _run(target)
    except BaseException as caught:
        error, code = caught, shown(caught)
    with suppress(KeyboardInterrupt):  # Python goes on as well
        _wait_for_threads(before, whole)
        if whole:
            atexit._run_exitfuncs()
    return error, code


def _run(target: Sequence[str]) -> None:
    if target[0] == "-m":
        sys.argv = list(target[1:])
        runpy.run_module(target[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(target)
        _run_script(Path(target[0]).absolute())


def _run_script(path: Path) -> None:
    """Run a file as the main module; it stays the main module, so that its threads and exit handlers find it."""
    main = ModuleType("__main__")
    main.__dict__.update(__file__=str(path), __builtins__=__builtins__)
    sys.modules["__main__"] = main
    sys.path[0] = str(path.parent)  # noqa: TID251  # as `python script.py` does
    exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), main.__dict__)


def _wait_for_threads(before: list[threading.Thread], whole: bool) -> None:
    """Wait for the threads that the script started; who runs it may have threads that never end."""
    if whole:  # a pool's threads wait for work until they are told of the end
        for call in reversed(getattr(threading, "_threading_atexits", ())):
            call()
    for thread in threading.enumerate():
        if thread not in before and not thread.daemon:
            thread.join()


def exit_code(error: BaseException | None) -> int:
    """Return the exit code that Python gives a script that ended so."""
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        return as_seen(error.code) if isinstance(error.code, int) else 0 if error.code is None else 1
    return 130 if type(error) is KeyboardInterrupt else 1


def shown(error: BaseException) -> int:
    """Print an error as Python would, by the script's own excepthook if it set one, without devicelab's frames.

    Returns the exit code, which an excepthook can change by an exit of its own.
    """
    flush()
    if isinstance(error, SystemExit):
        with suppress(Exception):  # a code that cannot be printed, an output that is closed
            if not (error.code is None or isinstance(error.code, int)):
                print(error.code, file=sys.stderr or sys.__stderr__)
        return exit_code(error)
    for link in _links(error):
        BaseException.with_traceback(link, without(link.__traceback__, is_own))
    _as_last(error)
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except SystemExit as end:
        return shown(end)
    except BaseException as own:
        by_python("Error in sys.excepthook:", own)
        by_python("\nOriginal exception was:", error)
    return exit_code(error)


def _as_last(error: BaseException) -> None:
    """Have the error where Python leaves it for an excepthook, or for a debugger in an exit handler."""
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    if sys.version_info >= (3, 12):
        sys.last_exc = error


def by_python(heading: str, error: BaseException) -> None:
    """Print an error below a heading, as Python itself does where no hook of the script's is asked."""
    with suppress(Exception):
        print(heading, file=sys.stderr)
        sys.__excepthook__(type(error), error, error.__traceback__)


def _links(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what led to it, and what it holds as a group."""
    waiting, seen = [error], set()
    while waiting:
        for link in chain(waiting.pop()):
            if id(link) not in seen:
                seen.add(id(link))
                waiting += link.exceptions if isinstance(link, BaseExceptionGroup) else ()
                yield link


def is_own(filename: str) -> bool:
    """Say whether a file is devicelab's, or Python's by which it runs a module."""
    return whose(filename) == DEVICELAB or filename == "<frozen runpy>"
