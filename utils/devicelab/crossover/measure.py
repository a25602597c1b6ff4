"""What the crossover is drawn from: the CPU's times, measured here, and what a card would take, estimated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from devicelab.devices import Origin
from devicelab.estimate import HERE, Estimate, estimate
from devicelab.gpus import Card
from devicelab.results import Timing
from devicelab.sweep import Point
from devicelab.sweep.run import INTERRUPTED, MEMORY, MakeStep, Pace, check_place, free, needs
from devicelab.timing import check_function, timeit

ORIGIN: Origin = "estimated"


@dataclass(frozen=True)
class Measured:
    """A size with its step and the CPU's time."""

    rows: int
    width: int
    step: Callable[[], object]
    cpu: Timing


@dataclass(frozen=True)
class Estimated:
    """What a card would take at a size; `point` holds both times, for who asks which of them leads."""

    point: Point
    estimate: Estimate


def measured(
    rows: int, widths: Sequence[int], make: MakeStep, own: bool, budget: float
) -> tuple[list[Measured], list[tuple[int, str]]]:
    """Return the sizes that were timed on the CPU, from narrow to wide, and (width, why) of those that were left out."""
    found: list[Measured] = []
    left_out: list[tuple[int, str]] = []
    pace = Pace(budget, len(widths))
    for width in widths:
        size = rows, width
        reason = MEMORY if needs(size, own) > free() else pace.reason(size)
        if not reason:
            try:
                found.append(_timed(make, *size, pace))
            except KeyboardInterrupt:
                left_out += [(later, INTERRUPTED) for later in widths[widths.index(width) :]]
                break
        else:
            left_out.append((width, reason))
    return found, left_out


def _timed(make: MakeStep, rows: int, width: int, pace: Pace) -> Measured:
    step = make("cpu", rows, width)
    check_function(step, "crossover, which called step(device, rows, width),")
    cpu = timeit(step, seconds=pace.seconds)
    check_place("cpu", cpu)
    pace.ran(Point(rows, width, cpu, None))
    return Measured(rows, width, step, cpu)


def estimated(one: Measured, card: Card) -> Estimated:
    """Return what a card in this computer would take for the step that the CPU was timed with."""
    found = estimate(one.step, gpu=card, host=HERE)
    timing = Timing(
        (found.seconds,), 1, "cuda:0", card.name, ORIGIN, 1, found.low, found.high, host=found.submit, gpu=found.work
    )  # fmt: skip
    return Estimated(Point(one.rows, one.width, one.cpu, timing), found)
