"""The sweep itself: sizes from small to large, within a time budget and the memory there is."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch

from devicelab import devices
from devicelab.errors import InputError, check_range
from devicelab.results import Timing
from devicelab.timing import check_function, timeit
from devicelab.variants import Setting, prepared

from .line import Axis, Line, Point
from .result import Sweep

Step = Callable[[], object]
MakeStep = Callable[[str, int, int], Step]
Size = tuple[int, int]
ROWS, WIDTHS = (128, 4096), (16, 64, 256, 1024, 4096)
MOST = 20  # values along one axis
COPIES = 4  # of the data in memory: here, on the simulated card, and what a step makes of them
SHARE = 0.5  # of the free memory that may be used
CALLS = 8  # that making a long step and timing it on a device is worth
DELAY = 1.0  # seconds before a progress bar shows

MEMORY = "too large for the free memory"
BUDGET = "for want of time"
INTERRUPTED = "interrupted"


def sweep(
    rows: int | Sequence[int] = ROWS,
    widths: int | Sequence[int] = WIDTHS,
    *,
    budget: float = 20.0,
    step: MakeStep | None = None,
) -> Sweep:
    """Time a training step on CPU and GPU over sizes, and say where the lead changes.

    Every pair of `rows` (the batch) and `widths` (features of a row) is timed, from small to large, within `budget`
    seconds; a size once begun is finished. What would not fit the free memory (where psutil tells it) or the time that
    is left is left out. Interrupt it, and it returns what it has.

    The step is the article's; for your own give `step`, a function of (device, rows, width) that returns a step to call.
    """
    check_range("budget", budget, 0.1, 3600)
    lengths = sizes_of("rows", rows), sizes_of("widths", widths)
    make, own = step or article_step, step is not None
    if not callable(make):
        raise InputError(
            f"step must be a function of (device, rows, width), but it is {type(step).__name__}."
        )
    plan = sorted(((r, w) for r in lengths[0] for w in lengths[1]), key=lambda size: size[0] * size[1])
    points, left_out = _timed(plan, make, own, budget)
    return Sweep(tuple(points), _lines(points, *lengths), tuple(left_out))


def sizes_of(name: str, values: int | Sequence[int]) -> list[int]:
    """Return whole numbers in order, each once; InputError for anything else."""
    numbers = list(values) if isinstance(values, Iterable) and not isinstance(values, str) else [values]
    check_range(f"the number of {name}", len(numbers), 1, MOST)
    for number in numbers:
        if not isinstance(number, int):
            raise InputError(f"{name} must be whole numbers, but one is {number!r}.")
        check_range(name, number, 1, 10_000_000)
    return sorted(set(numbers))


def article_step(device: str, rows: int, width: int) -> Step:
    """Return the article's training step at a size."""
    return prepared(Setting(rows, width), device, device)


def _lines(points: list[Point], rows: list[int], widths: list[int]) -> tuple[Line, ...]:
    """Return the points along width for each number of rows; along rows where there is one width only."""
    axis: Axis = "width" if len(widths) > 1 or len(rows) == 1 else "rows"
    other = "rows" if axis == "width" else "width"
    lines = []
    for fixed in rows if axis == "width" else widths:
        own = [point for point in points if getattr(point, other) == fixed]
        if own:
            lines.append(Line(axis, fixed, tuple(sorted(own, key=lambda point: getattr(point, axis)))))
    return tuple(lines)


def _timed(
    plan: list[Size], make: MakeStep, own: bool, budget: float
) -> tuple[list[Point], list[tuple[int, int, str]]]:
    """Return the points that were timed, and the sizes that were not, with the reason."""
    points: list[Point] = []
    left_out: list[tuple[int, int, str]] = []
    pace = Pace(budget, len(plan))
    with _progress(plan) as sizes:
        try:
            for size in sizes:
                reason = MEMORY if needs(size, own) > free() else pace.reason(size)
                if not reason:
                    try:
                        points.append(_point(size, make, pace, backwards=len(points) % 2 == 1))
                    except torch.OutOfMemoryError:
                        reason = MEMORY
                if reason:
                    left_out.append((*size, reason))
        except KeyboardInterrupt:
            left_out += [(*size, INTERRUPTED) for size in plan[len(points) + len(left_out) :]]
    return points, left_out


class Pace:
    """The time that is left, and what a size would take, judged by the largest one so far."""

    def __init__(self, budget: float, sizes: int) -> None:
        self.end = time.perf_counter() + budget
        self.seconds = min(0.3, max(0.02, budget / sizes / 5))  # of timing on one device
        self.size, self.call = 1, 0.0

    def reason(self, size: Size) -> str:
        """Return why a size should be left out for want of time, or nothing; the first one is always taken."""
        growth = size[0] * size[1] / self.size
        expected = CALLS * growth * self.call + 2 * self.seconds
        return BUDGET if self.call and time.perf_counter() + expected > self.end else ""

    def ran(self, point: Point) -> None:
        """Note how long a call takes on both devices; a simulated card's takes this machine about as long as the CPU's."""
        real = point.gpu is not None and point.gpu.origin == "measured"
        self.size = point.rows * point.width
        self.call = point.cpu.median + (point.gpu.median if real and point.gpu else point.cpu.median)


def _point(size: Size, make: MakeStep, pace: Pace, backwards: bool) -> Point:
    """Time one size on both devices, in turns first on one and on the other."""
    present = devices.present()
    kinds = ["cpu"] if present.type == "cpu" else ["cpu", present.type]
    timings: dict[str, Timing] = {}
    for kind in reversed(kinds) if backwards else kinds:
        step = make(kind, *size)
        check_function(step, "sweep, which called step(device, rows, width),")
        timings[kind] = timeit(step, seconds=pace.seconds)
        check_place(kind, timings[kind])
    point = Point(*size, timings["cpu"], timings.get(present.type) if len(kinds) > 1 else None)
    pace.ran(point)
    return point


def check_place(kind: str, timing: Timing) -> None:
    """Raise InputError where a step ran on another device than the one that it was made for."""
    used = {name.split(":")[0] for name in timing.device.split(" and ")}
    if kind not in used or (kind == "cpu" and used != {"cpu"}):
        raise InputError(
            f"The step made for {kind!r} ran on {timing.device}. Make model and data on the device that step() is given."
        )


def needs(size: Size, own: bool) -> int:
    """Return the bytes that a size may need: data, and for a step of one's own weights from each feature to each."""
    rows, width = size
    return 4 * COPIES * (rows * width + (width * width if own else 0))


def free() -> float:
    """Return the bytes that may be used; no limit where psutil is missing."""
    try:
        import psutil
    except ImportError:
        return float("inf")
    return SHARE * psutil.virtual_memory().available


@contextmanager
def _progress(plan: list[Size]) -> Iterator[Iterable[Size]]:
    """Give the sizes one by one, with a progress bar where tqdm is there and it takes longer than a second."""
    try:
        with warnings.catch_warnings(action="ignore"):  # it says that without ipywidgets the bar is text
            from tqdm.auto import tqdm
    except ImportError:
        yield plan
        return
    with tqdm(plan, desc="sizes", unit="size", leave=False, delay=DELAY) as bar:
        yield bar
