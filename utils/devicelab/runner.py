"""`python -m devicelab run script.py`: run a script unchanged and say at the end on what it really trained."""

import argparse
import json
import os
import runpy
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from .errors import InputError, listed
from .private import private, private_data

if TYPE_CHECKING:
    from .trace import Trace
    from .verdict import Verdict

PROGRESS = 10.0  # seconds between two progress lines
FAILED = 3  # the exit code of --fail-on
_TAKES_A_VALUE = ("--json", "--fail-on", "--compiled")
_CARD = "Tesla T4"
SCHEMA = "devicelab/run"
VERSION = 1  # of the JSON; rises when a key changes its meaning or goes away


def main(words: Sequence[str]) -> int:
    """Run a script or a module and return its exit code; 3 where its verdict is one of --fail-on, 2 for unusable input."""
    own, target = split(words)
    options = _parser().parse_args(own)
    _check(options, target)
    return run(target, options)


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return devicelab's own options, and the script (or -m and the module) with its arguments."""
    own = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-m":
        own.append(rest.pop(0))
        if own[-1] == "--simulate-gpu":
            own[-1] = f"--simulate-gpu={_CARD}"
        elif own[-1] in _TAKES_A_VALUE and rest:
            own.append(rest.pop(0))
    return own, rest


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m devicelab run",
        usage="%(prog)s [options] script.py [args] | [options] -m module [args]",
        description="Run a script unchanged, then say on which device it trained, what it copied and what made it wait. "
        "Exit codes: the script's own; 3 where the verdict is one of --fail-on; 2 unusable input. The JSON's schema is "
        "devicelab/schemas/run.json; neither it nor what is printed holds home folders or names of users and computers.",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write the verdict and the whole trace to FILE"
    )
    parser.add_argument(
        "--fail-on", metavar="WORDS", default="", help="exit with 3 on these: cpu,mixed,mismatch,..."
    )
    parser.add_argument(
        "--simulate-gpu", metavar="NAME", help=f"=NAME: how it would fare on this card ({_CARD})"
    )
    parser.add_argument(
        "--compiled",
        metavar="WORD",
        help="on a simulated card: run compiled functions as they are written (run), or refuse them",
    )
    return parser


def _check(options: argparse.Namespace, target: list[str]) -> None:
    from .verdict import WORDS

    options.fail_on = [word for word in options.fail_on.split(",") if word]
    for word in options.fail_on:
        if word not in WORDS:
            raise InputError(f"--fail-on knows {listed(WORDS)}, separated by commas, but it got {word!r}.")
    if options.compiled is not None and not options.simulate_gpu:
        raise InputError("--compiled speaks of a simulated card: give --simulate-gpu as well.")
    if options.compiled not in (None, "run", "refuse"):
        raise InputError(f"--compiled knows run or refuse, but it got {options.compiled!r}.")
    if not target or target == ["-m"]:
        raise InputError("run needs a script: python -m devicelab run train.py, or -m and a module.")
    if target[0] != "-m" and not Path(target[0]).is_file():
        hint = _hint(target[0]) if options.simulate_gpu else ""
        raise InputError(f"There is no script {target[0]!r} here ({Path.cwd()}).{hint}")
    if options.json is not None:
        _check_writable(options.json)
        options.json = options.json.absolute()  # where the user stood: the script may go elsewhere


def _check_writable(path: Path) -> None:
    if not path.absolute().parent.is_dir():
        raise InputError(f"--json: there is no folder {str(path.parent)!r} to write into.")
    try:
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise InputError(f"--json: {str(path)!r} cannot be written: {error.strerror}.") from None


def _hint(word: str) -> str:
    """Return what to write where the word is a card's name, which stands after a space instead of a `=`."""
    from .gpus import find

    try:
        find(word)
    except InputError as error:
        if "Give the full name of one" not in str(error):  # it fits no card
            return ""
    return f" Do you mean --simulate-gpu={word}?"


def run(target: list[str], options: argparse.Namespace) -> int:
    """Run the target under a trace, print the verdict on stderr, and return the exit code."""
    from .trace import trace
    from .verdict import judge

    process = os.getpid()
    with _simulation(options.simulate_gpu, options.compiled or "run"):
        say(f"devicelab: running {' '.join(target)}, and watching every operator")
        with Started() as started, trace(on_step=Progress(), early=True) as t:
            error = _execute(target)
        code = exit_code(error)
        if os.getpid() != process:  # the script forked, and this is the child: the parent tells the verdict
            return code
        verdict = judge(t, error if isinstance(error, Exception) else None, _notes(t, started))
    _flush()
    if options.json is not None:
        options.json.write_text(json.dumps(_as_data(target, code, verdict), indent=2), encoding="utf-8")
    say(private(f"\ndevicelab: {verdict}"))
    return FAILED if verdict.word in options.fail_on else code


def _as_data(target: list[str], code: int, verdict: "Verdict") -> dict[str, object]:
    """Return the verdict as plain data for JSON: `devicelab/schemas/run.json` says what each key means."""
    data = {"schema": SCHEMA, "version": VERSION, "target": target, "exit_code": code, **verdict.to_dict()}
    return private_data(json.loads(json.dumps(data, default=str)))


@contextmanager
def _simulation(name: str | None, compiled: str) -> Iterator[None]:
    if name is None:
        yield
        return
    from .simgpu import simulate_gpu

    with simulate_gpu(name, compiled=compiled):
        yield


def _execute(target: list[str]) -> BaseException | None:
    """Run a script or a module as Python itself would; return what ended it, None for a plain end."""
    before = threading.enumerate()
    try:
        if target[0] == "-m":
            sys.argv = target[1:]
            runpy.run_module(target[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = list(target)
            _run_script(Path(target[0]).absolute())
    except BaseException as error:
        _show(error)
        return error
    finally:
        _wait_for_threads(before)
    return None


def _run_script(path: Path) -> None:
    """Run a file as the main module; it stays the main module, so that its threads and exit handlers find it."""
    main = ModuleType("__main__")
    main.__dict__.update(__file__=str(path), __builtins__=__builtins__)
    sys.modules["__main__"] = main
    sys.path[0] = str(path.parent)  # noqa: TID251  # as `python script.py` does
    exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), main.__dict__)


def _wait_for_threads(before: list[threading.Thread]) -> None:
    """Wait for the threads that the script started; who runs it may have threads that never end."""
    for thread in threading.enumerate():
        if thread not in before and not thread.daemon:
            thread.join()


def exit_code(error: BaseException | None) -> int:
    """Return the exit code that Python gives a script that ended so."""
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def _show(error: BaseException) -> None:
    """Print an error as Python would, by the script's own excepthook if it set one, without devicelab's frames."""
    from .source import chain, without

    _flush()
    if isinstance(error, SystemExit):
        if not (error.code is None or isinstance(error.code, int)):
            say(str(error.code))
        return
    for link in chain(error):
        with suppress(Exception):  # an exception whose attributes cannot be set
            link.__traceback__ = without(link.__traceback__, _is_own)
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except Exception as own:
        say(
            f"devicelab: the script's own excepthook failed ({type(own).__name__}); Python's shows the error:"
        )
        sys.__excepthook__(type(error), error, error.__traceback__)


def _flush() -> None:
    """Let what the script printed come first; a script may have closed its output."""
    with suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()


def _is_own(filename: str) -> bool:
    """Say whether a file is devicelab's, or Python's by which it runs a module."""
    from .source import DEVICELAB, whose

    return whose(filename) == DEVICELAB or filename == "<frozen runpy>"


class Progress:
    """Prints one line every ten seconds, at the end of an optimizer step."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self._steps = 0

    def __call__(self) -> None:
        from .trace.words import plural

        self._steps += 1
        now = time.monotonic()
        if now - self._last >= PROGRESS:
            self._last = now
            say(f"devicelab: {plural(self._steps, 'optimizer step')} in {now - self._began:.0f} s")


def say(text: str) -> None:
    """Print a line for the reader on stderr, so that the script's own output stays as it was."""
    with suppress(AttributeError, OSError, ValueError):  # a script may have closed it
        try:
            print(text, file=sys.stderr, flush=True)
        except UnicodeEncodeError:
            print(text.encode("ascii", "backslashreplace").decode(), file=sys.stderr, flush=True)


class Started:
    """Notes how many processes and threads a script starts, save for a DataLoader's workers."""

    def __init__(self) -> None:
        self.processes = self.threads = 0

    def __enter__(self) -> "Started":
        self._start_process, self._start_thread = BaseProcess.start, threading.Thread.start
        seen = self

        def start_process(process: BaseProcess) -> None:
            is_worker = getattr(getattr(process, "_target", None), "__name__", "") == "_worker_loop"
            seen._start_process(process)  # forgets its target
            seen.processes += not is_worker

        def start_thread(thread: threading.Thread) -> None:
            seen.threads += not thread.daemon
            seen._start_thread(thread)

        BaseProcess.start, threading.Thread.start = start_process, start_thread  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *error: object) -> None:
        BaseProcess.start, threading.Thread.start = self._start_process, self._start_thread  # type: ignore[method-assign]


def _notes(trace: "Trace", started: Started) -> tuple[str, ...]:
    from .trace.words import plural

    notes = []
    if started.processes:
        notes.append(
            f"{plural(started.processes, 'process')} that the script started: what ran there was not seen"
        )
    if started.threads and not trace.training:
        notes.append(
            f"{plural(started.threads, 'thread')} that the script started: operators there were not seen"
        )
    if trace.card == "cpu":
        notes.append("there is no GPU here; --simulate-gpu shows how the script would fare on one")
    return tuple(notes)
