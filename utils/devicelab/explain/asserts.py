"""A device-side assert of the simulated card: which operator met which values, and where it was launched.

The error carries that (`asserted`, see `simgpu.machine.faults`). A real card's error does not; its text is in the catalogue.
"""

import re
from typing import Any

from devicelab.source import name_of

from .frames import Frame
from .result import Explanation

KIND = "device-side assert"
WHY = (
    "a kernel runs after the line that launched it, so CUDA blames a later line, at the latest the next that waits; on this card "
    "nothing works any more until the process restarts"
)


def asserted(fault: Any, frames: list[Frame]) -> Explanation:
    """Explain the error by the kernel that failed, wherever the error was met."""
    line, waited = fault.line, next((frame for frame in reversed(frames) if frame.is_learners), None)
    operator = re.sub(r"^_+|_+$|_forward(_only)?$|2d_forward$", "", fault.operator)
    values = ", ".join(f"{value:g}" for value in fault.values)
    met = (
        f"met {fault.argument} = {values}; allowed is {fault.allowed}" if values else "found what must not be"
    )
    is_elsewhere = waited is not None and line is not None and waited.line != line.number
    return Explanation(
        KIND,
        f"{operator} {met}.",
        fault.argument or None,
        WHY,
        "restart the process (in a notebook: the kernel), with other values",
        line=line.number if line else None,
        file=name_of(line.file) if line else None,
        code=line.text if line else "",
        via=line.via if line else "",
        blames=f"it names line {waited.line}, where the host found out" if is_elsewhere else "",  # type: ignore[union-attr]
    )
