"""What a run copied or waited for beyond the mended script, and the line that did most of it."""

from typing import Any

from devicelab.trace import Copy, Line, Synchronization

from .expected import BATCH, DUE
from .running import Ran

SPARE = 4  # copies or waits an epoch beyond the mended script's
LABELS = BATCH * 2 * 4  # bytes of the smaller half of a batch; what crosses in lesser pieces is no batch


def waits(ran: Ran) -> list[Synchronization]:
    """Return the moments at which the CPU waited for the GPU, other than for a copy."""
    return [wait for wait in ran.trace.synchronizations if wait.kind != "copy"]


def copies(ran: Ran, source: str) -> list[Copy]:
    """Return the copies from one kind of device; of those to the GPU only what is smaller than half a batch, if there is any."""
    found = [copy for copy in ran.trace.copies if copy.source.partition(":")[0] == source]
    small = [copy for copy in found if source == "cpu" and copy.nbytes < LABELS * copy.count]
    return [copy for copy in small if copy.count >= DUE] or found


def busiest(found: list[Any], expected: list[Any]) -> tuple[Line | None, int]:
    """Return the line with the most copies or waits beyond those that the reference has in a line of the same text."""
    counts: dict[Line | None, int] = {}
    for one in found:
        counts[one.line] = counts.get(one.line, 0) + one.count
    usual: dict[str, int] = {}
    for one in expected:
        usual[_words(one.line)] = usual.get(_words(one.line), 0) + one.count
    ranked = sorted(counts, key=lambda line: (usual.get(_words(line), 0) - counts[line], str(line)))
    return (ranked[0], counts[ranked[0]]) if ranked else (None, 0)


def _words(line: Line | None) -> str:
    return line.text if line else ""
