"""The learner's function run under a trace: where its operators ran, its copies and waits by line."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from devicelab.course.question.outcome import CALLED, NotAttempted, NotYet
from devicelab.trace import Copy, Line, Operator, Synchronization, Trace, trace

from .words import device_kind, short, times

watched: list["Seen"] | None = None  # tools/proof/mutants.py collects here what judges saw


@dataclass(frozen=True)
class Tally:
    """Copies or waits, added up: how many, bytes, and the learner's lines, the busiest first."""

    count: int
    nbytes: int = 0
    lines: tuple[Line, ...] = ()

    def __str__(self) -> str:
        where = f" ({self.lines[0]})" if self.lines else ""
        return f"{times(self.count)}{where}"


@dataclass(frozen=True)
class Seen:
    """One call of the learner's function: what it returned, and the trace of what it did."""

    value: Any
    trace: Trace

    def copies(self, source: str, target: str) -> Tally:
        """Return the copies from one kind of device to another ("cpu", "cuda"); a trace adds them up line by line."""
        return tally(
            copy
            for copy in self.trace.copies
            if (device_kind(copy.source), device_kind(copy.target)) == (source, target)
        )

    @property
    def waits(self) -> Tally:
        """The moments at which the CPU waited for the GPU, other than for a copy: .item(), print, synchronize ..."""
        return tally(wait for wait in self.trace.synchronizations if wait.kind != "copy")

    @property
    def stops(self) -> Tally:
        """The moments at which the CPU waited for the GPU, for copies too."""
        return tally(self.trace.synchronizations)

    def operators(self, device: str, phase: str | None = None) -> Tally:
        """Return the operators that ran on a kind of device, in one phase ("forward", "backward", "optimizer") or in all."""
        return tally(
            one
            for one in self.trace.operators
            if device_kind(one.device) == device and phase in (None, one.phase) and not one.scalars
        )

    def ran_on(self, device: str, what: str, phase: str | None = None) -> None:
        """Raise NotYet unless every operator of the phase ran on that kind of device, and at least one did."""
        for other in sorted({device_kind(operator.device) for operator in self.trace.operators} - {device}):
            strays = self.operators(other, phase)
            if strays.count:
                raise NotYet(f"{what} ran on {other}, not on {device}{_at(strays)}.")
        if not self.operators(device, phase).count:
            raise NotYet(f"{what} did not run at all: no operator was seen on {device}.")

    def trained_on(self, device: str) -> None:
        """Raise NotYet unless forward, backward and optimizer ran on that kind of device."""
        for phase in ("forward", "backward", "optimizer"):
            self.ran_on(device, f"With device={device!r} the {phase} pass", phase)

    def at_most(self, most: int, found: Tally, what: str, advice: str = "") -> None:
        """Raise NotYet when something was found more than `most` times: "`what` 40 times (line 7 ...). `advice`"."""
        if found.count > most:
            raise NotYet(f"{what} {found}. {advice}".rstrip())

    def at_most_bytes(self, most: int, found: Tally, what: str, advice: str = "") -> None:
        """Raise NotYet when copies moved more than `most` bytes: "`what` 5 times over (line 7 ...). `advice`"."""
        if found.nbytes > most:
            raise NotYet(f"{what} {times(-(-found.nbytes // most))} over{_at(found)}. {advice}".rstrip())


def watch(function: Callable[..., Any], *arguments: Any, **named: Any) -> Seen:
    """Call the learner's function under a trace; raise NotAttempted when it returns `...`, the stub's answer."""
    if not callable(function):
        raise NotYet(f"A function was asked for, but the answer is {short(function)}.")
    with trace() as seen:
        try:
            value = function(*arguments, **named)
        except Exception as error:
            _note_call(error, function, arguments, named)
            raise
    if value is ...:
        raise NotAttempted
    result = Seen(value, seen)
    if watched is not None:
        watched.append(result)
    return result


def _note_call(error: Exception, function: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Add a note to the error: what the check called, with shapes and devices; a judge's own helper is not named."""
    name = getattr(function, "__name__", "your function")
    if isinstance(error, (NotYet, NotAttempted)) or re.match("_[^_]", name):
        return
    words = [*map(_argument, arguments), *(f"{key}={_argument(value)}" for key, value in named.items())]
    error.add_note(f"{CALLED} {name}({', '.join(words)}).")


def _argument(value: object) -> str:
    """Return an argument in a word or two: what it is, and where."""
    if isinstance(value, torch.nn.Module):
        where = sorted({str(tensor.device) for tensor in (*value.parameters(), *value.buffers())})
        return f"{type(value).__name__}{' on ' + ' and '.join(where) if where else ''}"
    if isinstance(value, torch.Tensor) or value is None or isinstance(value, (str, int, float, torch.device)):
        return short(value)
    name = type(value).__name__
    return name if name[0].isupper() else f"a {name}"


def tally(events: Iterable[Copy | Operator | Synchronization]) -> Tally:
    """Add up what a trace holds."""
    found = list(events)
    by_line: Counter[Line] = Counter()
    for one in found:
        if one.line is not None:
            by_line[one.line] += one.count
    lines = sorted(by_line, key=lambda line: (-by_line[line], line))
    nbytes = sum(one.nbytes for one in found if isinstance(one, Copy))
    return Tally(sum(one.count for one in found), nbytes, tuple(lines))


def _at(found: Tally) -> str:
    return f" ({found.lines[0]})" if found.lines else ""
