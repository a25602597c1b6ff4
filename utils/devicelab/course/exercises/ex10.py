"""The checks of exercise 10, the capstone: the learner's copy of a training script is run, and what it did is seen."""

import shutil
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from devicelab import devices, units
from devicelab.course.looking import Seen, Tally, without_gpu
from devicelab.course.looking.predict import prediction
from devicelab.course.question import NotYet, exercise
from devicelab.trace import Line

from .rescue.excess import SPARE, busiest, copies, waits
from .rescue.expected import (
    BATCH,
    DUE,
    EPOCHS,
    LOOSE,
    attempted,
    card,
    expect_end,
    expect_history,
    expect_on_gpu,
    expect_same,
    fresh,
    reference,
    run,
    trained,
)
from .rescue.faults import FAULTS, SHOWS, Fault, rescued
from .rescue.running import Ran

SLACK = {"simulated": 1.1, "measured": 2.0}  # times the reference's time for a step


def _judge_runs(path) -> None:
    text = attempted(path)
    ran, wanted = trained(text), reference(card(), EPOCHS)
    expect_same(ran, wanted)
    with without_gpu():
        other = fresh(text, 1)
    expect_end(other, "It runs on the GPU. But on a machine without one")
    expect_history(other.saved, wanted.saved["history"][:1], LOOSE)


def _judge_resumes(path) -> None:
    text = attempted(path)
    wanted = reference(card(), EPOCHS)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, elsewhere = Path(folder) / "sums.pt", Path(folder) / "elsewhere.pt"
        first = run(text, checkpoint, EPOCHS - 1)
        expect_end(first, "Question 1 comes first: run on the GPU")
        expect_on_gpu(first, (EPOCHS - 1) * DUE, "Question 1 comes first: the training")
        if checkpoint.is_file():
            shutil.copyfile(checkpoint, elsewhere)
        _expect_resumed(run(text, checkpoint, EPOCHS, "--resume", due=DUE), wanted)
        with without_gpu():
            other = run(text, elsewhere, EPOCHS, "--resume", due=DUE)
    expect_end(other, "Resumed on a machine without a GPU")
    expect_history(other.saved, wanted.saved["history"], LOOSE)


def _expect_resumed(ran: Ran, wanted: Ran) -> None:
    """Expect the epochs, the step counters and the losses of a training that was never interrupted."""
    expect_end(ran, "Resumed on the GPU")
    expect_on_gpu(ran, DUE, "The resumed training")
    if not isinstance(ran.saved, dict) or "optimizer" not in ran.saved:
        raise NotYet("The resumed run ended, but it left no checkpoint with the optimizer's state.")
    counted = {float(state["step"]) for state in ran.saved["optimizer"]["state"].values()}
    if counted != {float(EPOCHS * DUE)}:
        raise NotYet(
            f"After the resumed epoch the optimizer's counters say {_numbers(counted)} steps; {EPOCHS * DUE} were made. "
            "What did it forget?"
        )
    expect_same(ran, wanted)


def _numbers(counted: Iterable[float]) -> str:
    return ", ".join(f"{number:.0f}" for number in sorted(counted)) or "no"


def _judge_fast(path) -> None:
    ran = trained(attempted(path))
    wanted = reference(card(), EPOCHS)
    expect_same(ran, wanted)
    seen, right = Seen(None, ran.trace), Seen(None, wanted.trace)
    line = busiest(waits(ran), waits(wanted))
    _expect_few(seen.waits, right.waits, line, "The CPU waited for the GPU")
    for source, target, what in (
        ("cpu", "cuda", "Something was copied to the GPU"),
        ("cuda", "cpu", "Something was copied back to the CPU"),
    ):
        line = busiest(copies(ran, source), copies(wanted, source))
        _expect_few(seen.copies(source, target), right.copies(source, target), line, what)
    _expect_time(ran.step, wanted.step)


def _expect_few(found: Tally, due: Tally, most: tuple[Line | None, int], what: str) -> None:
    if found.count > due.count + SPARE * EPOCHS:
        line, count = most
        raise NotYet(
            f"{what} {found.count} times in {EPOCHS} epochs of {DUE} steps; {due.count} would do. "
            f"{count} of them at {line or 'a line that is not known'}. What is it for, and how often is that wanted?"
        )


def _expect_time(step: float, wanted: float) -> None:
    origin = devices.present().origin
    target = wanted * SLACK[origin]
    if step > target:
        raise NotYet(
            f"No needless copy and no needless wait, but a step takes {units.seconds(step)} ({origin}); the target is "
            f"{units.seconds(target)}. How many operators does a step need that were not there before?"
        )


_RUNS = {
    "stops training": "the run from the beginning",
    "stops a resume": "the run that was resumed on the GPU",
    "stops elsewhere": "the run that was resumed without a GPU",
}


@lru_cache(maxsize=16)
def _shown(card: str, fault: Fault) -> str:
    """Put one fault back into the mended script, run it on the present GPU, and return how it shows itself."""
    text = rescued(fault)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, elsewhere = Path(folder) / "sums.pt", Path(folder) / "elsewhere.pt"
        if run(text, checkpoint, 1, "--rows", str(BATCH)).error is not None:
            return "stops training"
        shutil.copyfile(checkpoint, elsewhere)
        if run(text, checkpoint, 2, "--rows", str(BATCH), "--resume").error is not None:
            return "stops a resume"
        with without_gpu():
            other = run(text, elsewhere, 2, "--rows", str(BATCH), "--resume")
    return "stops elsewhere" if other.error is not None else "only slow"


def _compare_report(name: str, said: str, fault: Fault) -> str:
    shown = _shown(card(), fault)
    if said == shown:
        return ""
    earlier = SHOWS.index(shown) < SHOWS.index(said)
    seen = "a run had stopped with an error before that" if earlier else f"{_RUNS[said]} came to its end"
    return (
        f"{name!r} was put back alone into the mended script, and the script was run, resumed, and resumed "
        f"without a GPU. It was not {said!r}: {seen}. Where does its line run, and what does it meet there?"
    )


_judge_report = prediction(lambda: {fault.name: fault for fault in FAULTS}, _compare_report, words=SHOWS)

questions = q1, q2, q3, q4 = exercise(10, _judge_runs, _judge_resumes, _judge_fast, _judge_report)
