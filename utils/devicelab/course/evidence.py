"""What a judge looks at: the learner's function run under a trace, its copies and waits by line, its values and devices.

    seen = watch(train, model, loader, "cuda")
    seen.ran_on("cuda", "The forward pass", phase="forward")
    seen.at_most(2, seen.copies("cuda", "cpu"), "Results were copied back", "Who needs them on the CPU?")
    same_values(seen.value, wanted, "The mean loss")

Each of these raises NotYet with what was seen and the line; none gives the answer away.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from devicelab.placement import placement
from devicelab.simgpu.session import current
from devicelab.trace import Line, Trace, trace

from .outcome import NotAttempted, NotYet

CLOSE = 1e-4  # relative and absolute: a GPU adds in another order than a CPU
CALLED = "The check called"  # begins the note on an error of the learner's function
watched: list["Seen"] | None = None  # tools/proof/mutants.py collects what judges saw here


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
        found = [
            copy for copy in self.trace.copies if (_kind(copy.source), _kind(copy.target)) == (source, target)
        ]
        return _tally((c.count, c.nbytes, c.line) for c in found)

    @property
    def waits(self) -> Tally:
        """The moments at which the CPU waited for the GPU, other than for a copy: .item(), print, synchronize ..."""
        return _tally(
            (wait.count, 0, wait.line) for wait in self.trace.synchronizations if wait.kind != "copy"
        )

    def operators(self, device: str, phase: str | None = None) -> Tally:
        """Return the operators that ran on a kind of device, in one phase ("forward", "backward", "optimizer") or in all."""
        found = [
            operator
            for operator in self.trace.operators
            if _kind(operator.device) == device and phase in (None, operator.phase) and not operator.scalars
        ]
        return _tally((operator.count, 0, operator.line) for operator in found)

    def ran_on(self, device: str, what: str, phase: str | None = None) -> None:
        """Raise NotYet unless every operator of the phase ran on that kind of device, and at least one did."""
        for other in sorted({_kind(operator.device) for operator in self.trace.operators} - {device}):
            strays = self.operators(other, phase)
            if strays.count:
                raise NotYet(f"{what} ran on {other}, not on {device}{_at(strays)}.")
        if not self.operators(device, phase).count:
            raise NotYet(f"{what} did not run at all: no operator was seen on {device}.")

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


def _tally(found: Iterable[tuple[int, int, Line | None]]) -> Tally:
    rows = list(found)
    by_line: dict[Line, int] = {}
    for count, _, line in rows:
        if line is not None:
            by_line[line] = by_line.get(line, 0) + count
    lines = sorted(by_line, key=lambda line: (-by_line[line], line))
    return Tally(sum(row[0] for row in rows), sum(row[1] for row in rows), tuple(lines))


def _at(found: Tally) -> str:
    return f" ({found.lines[0]})" if found.lines else ""


def _kind(device: object) -> str:
    return str(device).partition(":")[0]


def times(count: int) -> str:
    """Return "once", "twice" or "40 times"."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def short(value: object) -> str:
    """Return a value in at most 60 characters; of a tensor its shape and device only."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {list(value.shape)} on {value.device}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def is_on(value: object, device: str, what: str) -> None:
    """Raise NotYet unless a tensor, module, optimizer or container lies on one kind of device in all its parts."""
    if isinstance(value, torch.Tensor):
        if _kind(value.device) != device:
            raise NotYet(f"{what} is on {value.device}; {device} was asked for.")
        return
    for place in placement(value).places:
        if _kind(place.device) != device and not place.expected:
            name = place.name.removeprefix("value").removeprefix(".")  # `value` is the name of it here
            raise NotYet(f"{what}: {name} ({place.why}) is on {place.device}; {device} was asked for.")


def same_values(got: object, wanted: object, what: str) -> None:
    """Raise NotYet unless two values agree, wherever they lie: numbers, tensors, or lists and dicts of them."""
    if isinstance(wanted, torch.Tensor):
        _same_tensor(got, wanted, what)
    elif isinstance(wanted, dict):
        if not isinstance(got, dict) or set(got) != set(wanted):
            raise NotYet(
                f"{what}: a dict with the keys {sorted(wanted)} was asked for, but it is {short(got)}."
            )
        for key, value in wanted.items():
            same_values(got[key], value, f"{what}[{key!r}]")
    elif isinstance(wanted, (list, tuple)):
        if not isinstance(got, (list, tuple)) or len(got) != len(wanted):
            raise NotYet(f"{what}: {len(wanted)} values were asked for, but it is {short(got)}.")
        for place, (mine, right) in enumerate(zip(got, wanted, strict=True)):
            same_values(mine, right, f"{what}[{place}]")
    elif isinstance(wanted, float):
        _same_number(got, wanted, what)
    elif type(got) is not type(wanted) or got != wanted:
        raise NotYet(f"{what} should be {short(wanted)}, but it is {short(got)}.")


def _same_tensor(got: object, wanted: torch.Tensor, what: str) -> None:
    if not isinstance(got, torch.Tensor):
        raise NotYet(f"{what}: a tensor was asked for, but it is {short(got)}.")
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        shapes = f"{list(wanted.shape)} of {wanted.dtype}"
        raise NotYet(f"{what} should have shape {shapes}, but it has {list(got.shape)} of {got.dtype}.")
    if not torch.allclose(got.detach().cpu(), wanted.detach().cpu(), rtol=CLOSE, atol=CLOSE, equal_nan=True):
        raise NotYet(
            f"{what} lies on {got.device}, but it holds other values than a run on the CPU alone gives."
        )


def _same_number(got: object, wanted: float, what: str) -> None:
    if isinstance(got, torch.Tensor):
        raise NotYet(f"{what}: a Python number was asked for, but it is {short(got)}.")
    if not isinstance(got, (int, float)) or not math.isclose(got, wanted, rel_tol=CLOSE, abs_tol=CLOSE):
        raise NotYet(f"{what} should be about {wanted:.4g}, but it is {short(got)}.")


@contextmanager
def without_gpu() -> Iterator[None]:
    """Run the block as on a machine whose GPU cannot be used: torch says so, as it does with a hidden card."""
    simulation = current()
    if simulation is not None:
        simulation.stop()
    patches: list[tuple[Any, str, Callable[[], object]]] = [
        (torch.cuda, "is_available", lambda: False),
        (torch.cuda, "device_count", lambda: 0),
        (torch.accelerator, "is_available", lambda: False),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
    for owner, name, value in patches:
        setattr(owner, name, value)
    try:
        with _NoCard():
            yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        if simulation is not None:
            simulation.start()


class _NoCard(TorchFunctionMode):
    """Refuses what would need the card, as torch does where it finds none; a real card may be in use already."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        asked = [*args[1:], *named.values()]
        if func is torch.Tensor.cuda or any(_means_card(value) for value in asked):
            raise RuntimeError("No CUDA GPUs are available")
        return func(*args, **named)


def _means_card(value: object) -> bool:
    return isinstance(value, (str, torch.device)) and _kind(value) == "cuda"
