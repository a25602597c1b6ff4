"""`python -m devicelab run script.py`: run a script unchanged and say at the end on what it really trained."""

import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from devicelab import shadow
from devicelab.private import private_data

from .options import Options, read
from .said import kept_stderr, say

__all__ = ["FAILED", "SCHEMA", "VERSION", "main", "run"]

FAILED = 3  # the exit code of --fail-on
UNUSABLE = 2
SCHEMA = "devicelab/run"
VERSION = 1  # of the JSON; rises when a key changes its meaning or goes away


def main(words: Sequence[str], whole: bool = False) -> int:
    """Run a script or a module and return its exit code; 3 where its verdict is one of --fail-on, 2 for unusable input.

    `whole` says that this process is the script's alone, and ends with it.
    """
    return run(read(words), whole)


def run(options: Options, whole: bool = False) -> int:
    """Run the target under a watch, tell the verdict on stderr, and return the exit code."""
    from . import watch
    from .family import Family
    from .script import execute

    with kept_stderr(), _simulation(options), Family() as family:
        say(f"devicelab: running {' '.join(options.target)}, and watching every operator")
        for line in unheeded(options.target[0]):
            say(line)
        report = Report(options, family)
        outer = watch.current  # of a script that runs others by this command
        watch.watched(watch.Watch(report.tell, loud=True))
        try:
            error, code = execute(options.target, whole)
            if watch.current is not None:  # in a fork of the script it is the fork's
                watch.current.end(error, code)
        finally:
            watch.forget(outer)
    return code if report.code is None else report.code


def unheeded(script: str) -> list[str]:
    """Say what beside a script plain Python would import in place of a module of its own, and this command does not."""
    if script == "-m":
        return []
    found = shadow.unheeded(os.path.dirname(script))
    return [f"devicelab: {shadow.sentence(one, os.path.basename(script))} {_HERE_NOT}" for one in found]


_HERE_NOT = (
    "Here it is not imported, as the module itself is loaded already: rename the file to have both alike."
)


class Report:
    """Tells the verdict: as text, as JSON, as the exit code."""

    def __init__(self, options: Options, family: Any) -> None:
        self._options, self._family = options, family
        self.code: int | None = None

    def tell(self, own: Any, verdict: Any, code: int | None) -> None:
        """Tell what became of the script and of all that it started; Ctrl-C waits for the end of it."""
        from .together import Together

        with _uninterrupted():
            codes = own.started.codes
            members = self._family.members(codes)
            seen = {one.data["process"]["pid"] for one in members}
            together = Together(verdict, tuple(members), len(set(codes) - seen))
            self.code = FAILED if together.faults & set(self._options.fail_on) else code or 0
            say(f"\ndevicelab: {together}")
            self._write(together, code)
            self._family.close()  # here, for some ends come back to nobody

    def _write(self, together: Any, code: int | None) -> None:
        path = self._options.json
        if path is None:
            return
        head = {"schema": SCHEMA, "version": VERSION, "target": self._options.target, "exit_code": code}
        data = private_data(json.loads(json.dumps({**head, **together.to_dict()}, default=str)))
        try:
            path.write_text(json.dumps(data, indent=2), encoding="utf-8")
        except OSError as error:  # the script may have filled the disk, or taken the folder away
            say(f"devicelab: --json: {str(path)!r} could not be written: {error.strerror}.")
            self.code = self.code or UNUSABLE


@contextmanager
def _uninterrupted() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)  # None: set by other than Python


@contextmanager
def _simulation(options: Options) -> Iterator[None]:
    if options.simulate_gpu is None:
        yield
        return
    from devicelab.simgpu import simulate_gpu

    simulated = simulate_gpu(options.simulate_gpu, options.count, compiled=options.compiled)
    try:
        yield
    finally:
        try:
            simulated.stop()
        except Exception as error:  # a signal that left a module half imported; the verdict is told, and the exit code stands
            say(
                f"devicelab: the simulated card could not be taken away as it was put there: {type(error).__name__}: {error}"
            )
