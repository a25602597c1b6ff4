"""What the capstone's judges share: runs of the learner's script as short as a check allows, and what is expected of each."""

import math
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from devicelab import devices
from devicelab.course.looking import Seen, short
from devicelab.course.question import NotAttempted, NotYet
from devicelab.errors import InputError
from devicelab.explain import explain
from devicelab.trace.words import plural
from devicelab.verdict import line_of

from .faults import BROKEN, rescued
from .running import Endless, Ran, run_script, text_of

EPOCHS, ROWS, BATCH = 2, 256, 32  # of a run in a check: it has to answer within two seconds
DUE = ROWS // BATCH  # optimizer steps in an epoch
HALF = {torch.float16, torch.bfloat16}
CLOSE, LOOSE = 0.02, 0.1  # relative: mixed precision keeps three digits; on the CPU there is none of it


def attempted(path: object) -> str:
    """Return the text of the learner's file; raise NotAttempted while it is the script as it was given out."""
    try:
        text = text_of(path)
    except InputError as fault:
        raise NotYet(str(fault)) from None
    if text == BROKEN.read_text(encoding="utf-8"):
        raise NotAttempted
    return text


def card() -> str:
    """Return the name of the present GPU."""
    return devices.present().name


@lru_cache(maxsize=4)
def reference(name: str, epochs: int) -> Ran:
    """Run the mended script on the present GPU, once for each `name` of one."""
    ran = fresh(rescued(), epochs)
    assert ran.error is None, ran.error
    return ran


def fresh(text: str, epochs: int) -> Ran:
    """Run a script from the beginning, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return run(text, Path(folder) / "sums.pt", epochs)


def run(text: str, checkpoint: Path, epochs: int, *more: str, due: int | None = None) -> Ran:
    """Run a script with a given checkpoint, up to so many epochs; `due` optimizer steps belong to that."""
    words = ("--epochs", str(epochs), "--rows", str(ROWS), "--batch", str(BATCH), *more)
    return run_script(text, checkpoint, *words, due=due or epochs * DUE)


def trained(text: str, epochs: int = EPOCHS) -> Ran:
    """Run the learner's script from the beginning; raise NotYet unless it trained to the end on the GPU."""
    ran = fresh(text, epochs)
    expect_end(ran, "Run on the GPU")
    expect_on_gpu(ran, epochs * DUE, "The training")
    return ran


def expect_end(ran: Ran, how: str) -> None:
    """Raise NotYet, with the line, the message and the tensors that met there, if an error ended the run."""
    if isinstance(ran.error, Endless):
        raise NotYet(f"{how}, the script went on, and was stopped {ran.error}. Which loop has no end?")
    if ran.error is not None:
        raise NotYet(_stopped(ran.error, how, ran.trace.steps))


def _stopped(error: BaseException, how: str, steps: int) -> str:
    """Say at which line the script stopped, with which message, and which tensors met there."""
    line = line_of(error)
    where = f" at {line}" if line else ""
    said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    met = dict(explain(error).parts).get("met", "")
    lines = [f"{how}, the script stopped{where}; {plural(steps, 'optimizer step')} had begun.", said]
    return "\n".join([*lines, f"There met: {met}."] if met else lines)


def expect_on_gpu(ran: Ran, due: int, what: str) -> None:
    """Raise NotYet unless `due` steps were made, each with forward, backward and optimizer on the GPU."""
    if ran.trace.steps != due:
        caught = next((f" The script caught an error at {line}." for _, line in ran.trace.faults if line), "")
        raise NotYet(
            f"{what} made {plural(ran.trace.steps, 'optimizer step')}; {due} belong to these epochs.{caught}"
        )
    seen = Seen(None, ran.trace)
    for phase in ("forward", "backward", "optimizer"):
        seen.ran_on("cuda", f"{what} ended, but its {phase} pass", phase)


def expect_same(ran: Ran, wanted: Ran) -> None:
    """Compare the history in the checkpoint with the reference's, and see that mixed precision was used."""
    expect_history(ran.saved, wanted.saved["history"], CLOSE)
    if wanted.saved["scaler"] and not ran.saved["scaler"]:
        raise NotYet(
            "The training ran on the GPU, but without mixed precision: its GradScaler is switched off."
        )
    if wanted.dtypes & HALF and ran.dtypes and not ran.dtypes & HALF:
        raise NotYet(
            "The training ran on the GPU and its scaler is on, but its layers computed in float32: nothing is mixed. What made "
            "them compute in half precision, in the script as it was?"
        )


def expect_history(saved: Any, wanted: list[dict[str, float]], close: float) -> None:
    """Raise NotYet unless a checkpoint is complete and its history is, within `close`, the one that is wanted."""
    if not isinstance(saved, dict) or not {"model", "optimizer", "scaler", "history"} <= set(saved):
        raise NotYet("The run ended, but it left no checkpoint with model, optimizer, scaler and history.")
    history = saved["history"]
    if len(history) != len(wanted):
        raise NotYet(
            f"The checkpoint's history has {plural(len(history), 'epoch')}; {len(wanted)} were trained."
        )
    for number, (got, right) in enumerate(zip(history, wanted, strict=True), start=1):
        for name, value in right.items():
            _expect_number(got.get(name), value, close, f"{name!r} of epoch {number}")


def _expect_number(got: object, wanted: float, close: float, what: str) -> None:
    if not isinstance(got, (int, float)):
        raise NotYet(f"In the checkpoint's history {what} is {short(got)}; a number belongs there.")
    if not math.isclose(got, wanted, rel_tol=close, abs_tol=close):
        raise NotYet(
            f"In the checkpoint's history {what} is {got:.3f}; the same training gives {wanted:.3f}."
        )
