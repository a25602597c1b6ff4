"""Measure this machine's GPU and keep the times in recordings/: `python -m devicelab record`.

Only a real NVIDIA GPU is recorded. A simulated time is refused where a recording begins and again at every time taken.
"""

import datetime
import os
import platform
from pathlib import Path
from typing import Any

import torch

from devicelab import machine
from devicelab._version import __version__
from devicelab.recordings import Recording, check_free, course_folder, file_name, load, save

from .card import Card, real_card
from .estimates import table
from .measure import measure_all

__all__ = ["Card", "data", "record"]


def record(out: str | None = None, *, quick: bool = False, replace: bool = False) -> Recording:
    """Measure the GPU, write its recording into `out` and print estimate against measurement.

    `quick` takes fewer sizes, `replace` renews a file that exists. InputError where there is no real NVIDIA GPU.
    """
    card = real_card()
    folder = Path(out) if out else course_folder() or Path("recordings")
    path = folder / file_name(card.name)
    if not replace:
        check_free(path)  # before minutes of measuring, not after
    print(
        f"Measuring the {card.name}; other programs should rest. Interrupt at any time: nothing is written then."
    )
    return keep(card, folder, quick=quick, replace=replace)


def keep(card: Card, folder: Path, *, quick: bool, replace: bool = False) -> Recording:
    """Measure a card, write the recording and print what it says."""
    made = load(save(data(card, quick=quick), folder, replace=replace))
    print(f"\n{made}\n{table(made)}\n\nWritten to {made.path}")
    return made


def data(card: Card, *, quick: bool = False) -> dict[str, Any]:
    """Measure a card and return the recording as plain data, in the form of the schema."""
    times, context = measure_all(card, quick=quick)
    return {
        "version": 1,
        "origin": "measured",
        "date": datetime.date.today().isoformat(),
        "quick": quick,
        "card": card.facts(),
        "host": {"cpu": machine.processor(), "cores": os.cpu_count() or 1, "system": platform.platform()},
        "software": {
            "devicelab": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
        },
        "times": times,
        "context": context,
    }
