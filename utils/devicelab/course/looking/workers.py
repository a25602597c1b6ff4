"""A dataset read by a real worker process, for a judge: whether it was one, and what is left when it fails."""

import gc
import multiprocessing
import traceback
from collections.abc import Callable
from typing import Any

from devicelab.course.question.outcome import NotYet

from .words import short


def are_forked() -> bool:
    """Say whether a worker is a copy of this process; a fresh one could not import what a notebook defines."""
    chosen = multiprocessing.get_start_method(allow_none=True)
    return (chosen or multiprocessing.get_all_start_methods()[0]) == "fork"


def count_reads(dataset: Any) -> list[object]:
    """Return a list that grows with each item that this process reads; a worker's list is a copy."""
    read: list[object] = []

    def item(self: Any, row: Any) -> Any:
        read.append(row)
        return kind.__getitem__(self, row)

    kind = type(dataset)
    dataset.__class__ = type(kind.__name__, (kind,), {"__getitem__": item})
    return read


def through_a_worker(work: Callable[[], list[Any]]) -> list[Any]:
    """Run the loader with a real worker process; an error there becomes a sentence, and nothing of it is left behind."""
    try:
        return work()
    except Exception as error:
        said = _last_words(str(error))
        # Else the loader would live on in the traceback, and the next worker would be forked with it.
        traceback.clear_frames(error.__traceback__)
    gc.collect()
    raise NotYet(
        f"With workers=1 the loop stopped: {said}. Which of your lines run in the worker, and which in the process that "
        "trains?"
    )


def _last_words(text: str) -> str:
    """Return the error at the end of a worker's traceback, in one line."""
    lines = [line.strip() for line in text.splitlines() if "Error: " in line or "error: " in line.lower()]
    return lines[-1][:160].rstrip(". ") if lines else short(text)
