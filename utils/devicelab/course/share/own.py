"""What this machine and its learner have to show: sizes that are the same for everyone, so that a room can be compared."""

import datetime
import json
import os
import platform
from functools import cache
from importlib import resources
from typing import Any

import torch

from devicelab import datafiles, devices, machine
from devicelab._version import __version__
from devicelab.course import kept
from devicelab.course.question import progress
from devicelab.errors import InputError
from devicelab.private import private_data
from devicelab.results import Timing
from devicelab.sweep.line import Line
from devicelab.sweep.run import sweep
from devicelab.variants import compare

ROWS, WIDTHS = 128, (16, 64, 256, 1024, 4096)  # a few seconds of timing on a laptop
BUDGET = 15.0  # seconds
_LONGEST = 600  # letters of an error


def own(name: str | None = None) -> dict[str, Any]:
    """Time the article's examples and a few sizes here, and return that with the bets and the progress as plain data.

    `name` is what the learner wants to be called; without it nothing says whose machine it is. Takes up to half a minute.
    """
    compared = compare(100, 10)
    swept = sweep(ROWS, WIDTHS, budget=BUDGET)
    made = {
        "schema": "devicelab/share",
        "version": 1,
        "devicelab": __version__,
        "date": datetime.date.today().isoformat(),
        "name": None,
        "machine": _machine(),
        "examples": [
            {"name": one.name, "time": _time(one.timing), "error": one.error and one.error[:_LONGEST]}
            for one in compared.variants
        ],
        "points": [
            {"rows": at.rows, "width": at.width, "cpu": _time(at.cpu), "gpu": _time(at.gpu)}
            for at in swept.points
        ],
        "crossovers": [_crossover(line) for line in swept.lines],
        "bets": [{"question": question, **bet} for question, bet in _kept().bets.items()],
        "progress": [
            {"exercise": exercise, "passed": passed, "questions": count}
            for exercise, passed, count in progress.progress().rows
        ],
    }
    made = private_data(made) | {"name": _checked(name)}
    wrong = datafiles.fault(made, schema())
    if wrong:
        raise InputError(f"What is to be shared does not keep to its own form: {wrong}.")
    return made


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of what is shared."""
    return json.loads(resources.files("devicelab").joinpath("schemas/share.json").read_text("utf-8"))


def _checked(name: str | None) -> str | None:
    """Return a name as it will be shown: one line."""
    if name is None:
        return None
    one_line = " ".join(name.split())
    if not 1 <= len(one_line) <= 60:
        raise InputError(f"A name has between 1 and 60 letters, but this one has {len(one_line)}.")
    return one_line


def _machine() -> dict[str, Any]:
    gpu = devices.present()
    there = gpu.type != "cpu"
    return {
        "system": f"{platform.system()} {platform.machine()}",  # the kernel's version tells more than is asked
        "processor": machine.processor(),
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": gpu.name if there else None,
        "origin": gpu.origin if there else None,
    }


def _time(timing: Timing | None) -> dict[str, Any] | None:
    if timing is None:
        return None
    low, high = timing.range
    return {"seconds": timing.median, "low": low, "high": high, "origin": timing.origin}


def _crossover(line: Line) -> dict[str, Any]:
    found = line.crossover
    where = (found.leader, found.low, found.size, found.high) if found else (None, None, None, None)
    leader, low, width, high = where
    return {
        "rows": line.fixed, "leader": leader, "low": low, "width": width, "high": high, "words": str(line),
    }  # fmt: skip


def _kept() -> kept.Kept:
    try:
        return kept.read()
    except (OSError, kept.Unreadable) as fault:
        raise InputError(
            f"Your bets and your progress cannot be read: {fault} Move {kept.path()} away to share the rest."
        ) from None
