"""A copy of the capstone's script for the learner, and a run of it inside a check.

A check runs the learner's file in this process (a fresh Python with torch would take seconds): as the main module, under a
trace, with its prints kept back, and with bounds on its optimizer steps and seconds. What it changes of torch is put back
around every check.
"""

import _thread
import contextlib
import io
import itertools
import linecache
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from statistics import median
from types import ModuleType
from typing import Any

import torch
from torch import nn

from devicelab import devices
from devicelab.errors import InputError
from devicelab.trace import Trace, trace

from .faults import BROKEN

NAME = "train.py"
LONGEST = 60.0  # seconds of a run; it takes less than one, and on a busy machine some
PATIENCE = 4  # a script may make so many times the steps that are due before it is stopped


def copy_script(folder: str | Path | None = None) -> Path:
    """Write the capstone's script into a folder as train.py, unless one is there already, and return its path.

    With no folder given: DEVICELAB_HOME where that is set, else the course's my_course/exercises/, else the present folder.
    """
    target = Path(folder) if folder is not None else _learners_folder()
    target.mkdir(parents=True, exist_ok=True)
    path = target / NAME
    if path.exists():
        print(f"{NAME} is in {_said(target)} already, and was left as it is.")
    else:
        shutil.copyfile(BROKEN, path)
        print(f"{NAME} was copied into {_said(target)}: {len(text_of(path).splitlines())} lines.")
    return path


def _learners_folder() -> Path:
    if os.environ.get("DEVICELAB_HOME"):
        return Path(os.environ["DEVICELAB_HOME"])
    here = Path.cwd()
    course = next((place for place in (here, *here.parents) if (place / "course.py").is_file()), None)
    return course / "my_course" / "exercises" if course else here


def _said(folder: Path) -> str:
    temporary = folder.resolve().is_relative_to(Path(tempfile.gettempdir()).resolve())
    return "a temporary folder" if temporary else f"{folder.resolve().name}/"


def text_of(path: object) -> str:
    """Return a script's text, with "\\n" at the end of each line; raise InputError where there is none."""
    if not isinstance(path, (str, Path)) or not Path(path).is_file():
        raise InputError(
            f"The path of {NAME} was asked for, as copy_script() returns it; there is no file at {path!r}."
        )
    return Path(path).read_text(encoding="utf-8")


class Endless(BaseException):
    """The script was stopped, and the message says after what; its own `except Exception` does not catch it."""


@dataclass(frozen=True)
class Ran:
    """One run of a script: the trace, what ended it, the checkpoint that it left (on the CPU), and seconds a step.

    `step` is the median time from one optimizer step to the next, on the host clock of the present device. `dtypes` are
    those of what linear layers gave while they trained.
    """

    trace: Trace
    error: BaseException | None
    saved: Any
    step: float
    dtypes: frozenset[torch.dtype] = frozenset()


def run_script(text: str, checkpoint: Path, *words: str, due: int) -> Ran:
    """Run a script's text as `python train.py --checkpoint ... words`; `due` is how many optimizer steps it should make."""
    ends: list[float] = []

    def stepped() -> None:
        ends.append(devices.clock())
        if len(ends) > PATIENCE * due:
            raise Endless(f"after {len(ends)} optimizer steps")

    with trace(on_step=stepped) as seen, _noting_dtypes() as dtypes:
        error = _execute(text, [NAME, "--checkpoint", str(checkpoint), *words])
    gaps = [later - earlier for earlier, later in itertools.pairwise(ends)]
    return Ran(seen, error, _opened(checkpoint), median(gaps) if gaps else 0.0, frozenset(dtypes))


@contextlib.contextmanager
def _noting_dtypes() -> Iterator[set[torch.dtype]]:
    found: set[torch.dtype] = set()

    def note(module: nn.Module, _given: Any, output: Any) -> None:
        if isinstance(module, nn.Linear) and module.training:
            found.add(output.dtype)

    hook = nn.modules.module.register_module_forward_hook(note)
    try:
        yield found
    finally:
        hook.remove()


def _execute(text: str, words: list[str]) -> BaseException | None:
    """Run the text as Python runs a file; return what ended it, None for a plain end."""
    main = ModuleType("__main__")
    main.__dict__.update(__file__=NAME, __builtins__=__builtins__)
    linecache.cache[NAME] = (len(text), None, text.splitlines(keepends=True), NAME)
    try:
        with _as_main(main, words), _quiet(), _at_most(LONGEST):
            exec(compile(text, NAME, "exec", dont_inherit=True), main.__dict__)
    except KeyboardInterrupt:
        raise
    except SystemExit as end:
        return None if end.code in (None, 0) else end
    except (Exception, Endless) as error:
        return error
    return None


@contextlib.contextmanager
def _as_main(main: ModuleType, words: list[str]) -> Iterator[None]:
    before, arguments = sys.modules["__main__"], sys.argv
    sys.modules["__main__"], sys.argv = main, words
    try:
        yield
    finally:
        sys.modules["__main__"], sys.argv = before, arguments


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise Endless in the block when it takes longer than that."""
    late = threading.Event()

    def ring() -> None:
        late.set()
        _thread.interrupt_main()

    timer = threading.Timer(seconds, ring)
    timer.daemon = True
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        if late.is_set():
            raise Endless(f"after {seconds:g} seconds") from None
        raise
    finally:
        timer.cancel()


def _opened(checkpoint: Path) -> Any:
    """Return what a checkpoint holds, on the CPU; None where there is none, or none that can be read."""
    try:
        return torch.load(checkpoint, map_location="cpu")
    except (OSError, RuntimeError, ValueError, EOFError, UnpicklingError):
        return None
