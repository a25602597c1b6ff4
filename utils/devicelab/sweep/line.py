"""Sizes in a row, and the size at which the lead changes; nothing here measures."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import exp, log
from typing import Literal

from devicelab.results import Timing, load_explains

Axis = Literal["rows", "width"]
WORDS = {"rows": "{:,} rows", "width": "a width of {:,}"}


@dataclass(frozen=True)
class Point:
    """One size with its two timings; without a GPU the second is None."""

    rows: int
    width: int
    cpu: Timing
    gpu: Timing | None

    @property
    def gains(self) -> tuple[float, float, float]:
        """How many times faster the GPU is, as a logarithm: at worst, in the middle, at best."""
        assert self.gpu is not None
        (cpu_low, cpu_high), (gpu_low, gpu_high) = self.cpu.range, self.gpu.range
        return log(cpu_low / gpu_high), log(self.cpu.median / self.gpu.median), log(cpu_high / gpu_low)

    @property
    def leader(self) -> str:
        """Return "CPU" or "GPU", or nothing where their ranges overlap or a busy machine may explain the gap."""
        assert self.gpu is not None
        if load_explains(self.cpu, self.gpu):
            return ""
        worst, _, best = self.gains
        return "GPU" if worst > 0 else "CPU" if best < 0 else ""

    @property
    def busy(self) -> bool:
        """Whether other programs disturbed a measured time."""
        return self.cpu.busy or (self.gpu is not None and self.gpu.busy)


@dataclass(frozen=True)
class Crossover:
    """The size at which one device takes the lead, interpolated on logarithmic scales.

    `low` and `high` are where the lead changes when the times lie at the ends of their ranges: the quartiles of measured
    times, low and high of simulated ones.
    """

    leader: str
    axis: Axis
    low: float
    size: float
    high: float

    def __str__(self) -> str:
        where = WORDS[self.axis].format(round(self.size))
        between = f" (between {round(self.low):,} and {round(self.high):,})"
        return f"the {self.leader} takes over at about {where}{between if round(self.low) < round(self.high) else ''}"

    __repr__ = __str__


@dataclass(frozen=True)
class Line:
    """Points in order along one axis, the other size being `fixed`."""

    axis: Axis
    fixed: int
    points: tuple[Point, ...]

    @property
    def where(self) -> str:
        """The fixed size, in words."""
        return f"With {WORDS['rows' if self.axis == 'width' else 'width'].format(self.fixed)}"

    @property
    def sizes(self) -> list[int]:
        """The sizes along the axis."""
        return [getattr(point, self.axis) for point in self.points]

    @cached_property
    def crossovers(self) -> tuple[Crossover, ...]:
        """Every clear change of the lead; none is claimed on a busy machine."""
        if any(point.busy or point.gpu is None for point in self.points):
            return ()
        clear = [(number, point.leader) for number, point in enumerate(self.points) if point.leader]
        pairs = pairwise(clear)
        return tuple(
            self._between(begin, end, after) for (begin, before), (end, after) in pairs if before != after
        )

    def _between(self, begin: int, end: int, leader: str) -> Crossover:
        """Return where the lead passes to `leader`; all three curves cross zero between these two points."""
        gains = [point.gains for point in self.points[begin : end + 1]]
        if leader == "CPU":
            gains = [(-best, -middle, -worst) for worst, middle, best in gains]
        sizes = self.sizes[begin : end + 1]
        worst, middle, best = (_zeros(sizes, curve) for curve in zip(*gains, strict=True))
        return Crossover(leader, self.axis, best[0], middle[0], worst[-1])

    @property
    def crossover(self) -> Crossover | None:
        """The size where the lead changes; None when it does not, or more than once."""
        return self.crossovers[0] if len(self.crossovers) == 1 else None

    def __str__(self) -> str:
        return f"{self.where} {self._verdict()}."

    def _verdict(self) -> str:
        if any(point.gpu is None for point in self.points):
            return "only the CPU was timed: there is no GPU here, real or simulated"
        if any(point.busy for point in self.points):
            return self._on_a_busy_machine()
        if self.crossover:
            return str(self.crossover)
        if self.crossovers:
            near = " and ".join(f"{round(one.size):,}" for one in self.crossovers)
            return f"the lead changes {len(self.crossovers)} times, at {self.axis} of about {near}: there is no single size"
        return self._one_leader()

    def _on_a_busy_machine(self) -> str:
        """Say what lies so far apart that the load does not explain it; where the lead changes cannot be said."""
        said = []
        for who in ("CPU", "GPU"):
            sizes = [f"{size:,}" for size, p in zip(self.sizes, self.points, strict=True) if p.leader == who]
            if sizes:
                said.append(f"the {who} is ahead at {self.axis} {', '.join(sizes)}")
        known = f"{' and '.join(said)}; more cannot be said" if said else "nobody can say who is ahead"
        return f"{known}: this machine was busy"

    def _one_leader(self) -> str:
        leaders = {point.leader for point in self.points}
        tried = f"{self.axis} {_span(self.sizes)}"
        if leaders == {""}:
            return f"nobody can say who is ahead: the ranges overlap at every size tried ({tried})"
        if "" not in leaders:
            return f"the {leaders.pop()} is ahead at every size tried ({tried})"
        unclear = [size for size, point in zip(self.sizes, self.points, strict=True) if not point.leader]
        overlap = ", ".join(f"{size:,}" for size in unclear)
        clear = f"{len(self.points) - len(unclear)} of {len(self.points)} sizes tried"
        return f"the {max(leaders)} is ahead at {clear}; at {self.axis} {overlap} the ranges overlap"


def _span(sizes: list[int]) -> str:
    if len(sizes) < 3:
        return " and ".join(f"{size:,}" for size in sizes)
    return f"{sizes[0]:,} to {sizes[-1]:,}"


def _zeros(sizes: list[int], curve: tuple[float, ...]) -> list[float]:
    """Return the sizes at which a curve rises through zero, by straight lines over the sizes' logarithm."""
    zeros = []
    for (x, y), (after, above) in pairwise(zip(sizes, curve, strict=True)):
        if y < 0 <= above:
            zeros.append(exp(log(x) + (log(after) - log(x)) * y / (y - above)))
    return zeros
