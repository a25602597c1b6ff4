"""Which of the eight faults are still in a copy of the script: told by runs of it, not by reading it."""

import shutil
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devicelab.course.looking import Seen, without_gpu
from devicelab.course.question import NotYet

from .excess import SPARE, busiest, copies, waits
from .expected import (
    BATCH,
    CLOSE,
    DUE,
    EPOCHS,
    LOOSE,
    card,
    expect_end,
    expect_history,
    expect_on_gpu,
    expect_same,
    reference,
    run,
    trained,
)
from .faults import FAULTS, SHOWS, Fault, edited
from .running import Ran

MENDED, THERE, UNKNOWN = "mended", "there", "not seen"


@dataclass(frozen=True)
class Lights:
    """What became of the eight faults, and a run of the file in which those that stop a training were mended for the run.

    `states` are MENDED, THERE or UNKNOWN, in the order of FAULTS; `lines` say where those show that make no error; `lent`
    counts what was mended for the run alone; `ran` is None, and `problem` says why, where the file does not train even so.
    """

    states: tuple[str, ...]
    ran: Ran | None
    lines: dict[str, str] = field(default_factory=dict)
    lent: int = 0
    problem: str = ""


def lights(text: str) -> Lights:
    """Run a script's text as often as it takes to say which faults are in it. Expects a GPU, real or simulated."""
    standing = (
        []
        if _trains(text)
        else [fault for fault in FAULTS if fault.shows == SHOWS[0] and text.count(fault.broken) == 1]
    )
    stops = [fault for fault in standing if not _trains(_mended(text, standing, but=fault))]
    lent = _mended(text, stops)
    try:
        ran = trained(lent)
    except NotYet as why:
        states = (THERE if fault in stops else UNKNOWN for fault in FAULTS)
        return Lights(tuple(states), None, lent=len(stops), problem=str(why))
    later = _later(lent, ran)
    states = (THERE if fault in stops or fault.name in later else MENDED for fault in FAULTS)
    problem = _refusal(lambda: expect_same(ran, reference(card(), EPOCHS)))
    return Lights(tuple(states), ran, later, len(stops), problem)


def _mended(text: str, faults: Collection[Fault], but: Fault | None = None) -> str:
    """Return the text with these faults mended, all or all but one."""
    for fault in faults:
        if fault is not but:
            text = edited(text, fault.broken, fault.mended)
    return text


def _trains(text: str) -> bool:
    """Whether one step of training, the validation and the checkpoint after it come to their end on the GPU."""
    with tempfile.TemporaryDirectory() as folder:
        ran = run(text, Path(folder) / "sums.pt", 1, "--rows", str(BATCH), due=1)
    return ran.error is None and not _refusal(lambda: expect_on_gpu(ran, 1, "The training"))


def _later(text: str, ran: Ran) -> dict[str, str]:
    """Return the names of the faults that a first run to its end does not stop at, with the lines where they show, if known."""
    right = reference(card(), EPOCHS)
    resumed, elsewhere = _resumes(text)
    few = SPARE * EPOCHS
    read = Seen(None, ran.trace).waits.count > Seen(None, right.trace).waits.count + few
    copied = _up(ran) > _up(right) + few
    found = (
        (not resumed, ""),
        (not elsewhere, ""),
        (read, _most(waits(ran), waits(right))),
        (copied, _most(copies(ran, "cpu"), copies(right, "cpu"))),
    )
    names = (fault.name for fault in FAULTS[-len(found) :])
    return {name: line for name, (there, line) in zip(names, found, strict=True) if there}


def _most(found: list[Any], expected: list[Any]) -> str:
    line, _ = busiest(found, expected)
    return str(line) if line else ""


def _up(ran: Ran) -> int:
    return Seen(None, ran.trace).copies("cpu", "cuda").count


def _resumes(text: str) -> tuple[bool, bool]:
    """Whether a training goes on after its first epoch as if it had not been interrupted: on the GPU, and without one."""
    history = reference(card(), EPOCHS).saved["history"]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, elsewhere = Path(folder) / "sums.pt", Path(folder) / "elsewhere.pt"
        run(text, checkpoint, EPOCHS - 1)
        if not checkpoint.is_file():
            return False, False
        shutil.copyfile(checkpoint, elsewhere)
        here = run(text, checkpoint, EPOCHS, "--resume", due=DUE)
        with without_gpu():
            there = run(text, elsewhere, EPOCHS, "--resume", due=DUE)
    return _went_on(here, history, CLOSE), _went_on(there, history, LOOSE)


def _went_on(ran: Ran, history: list[dict[str, float]], close: float) -> bool:
    def expect() -> None:
        expect_end(ran, "")
        expect_history(ran.saved, history, close)

    return not _refusal(expect)


def _refusal(expect: Callable[[], None]) -> str:
    """Return what an expectation says that is not met; nothing where it is."""
    try:
        expect()
    except NotYet as why:
        return str(why)
    return ""
