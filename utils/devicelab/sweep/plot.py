"""The picture of a sweep."""

from collections.abc import Iterable, Sequence
from typing import Any

from devicelab.picture import Picture, figure, picture

from .line import Line

CPU, GPU = "#0072B2", "#D55E00"  # of Okabe and Ito's palette; the markers differ too
DASHES = ("-", "--", ":", "-.")  # one for each line of sizes, then from the beginning


def plot(lines: Sequence[Line], sentences: Iterable[str]) -> Picture:
    """Return the times over the sizes of a sweep on logarithmic axes; bands show the ranges, a bar the crossover."""
    drawn = figure(7, 4.5)
    axes = drawn.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log")
    for number, line in enumerate(lines):
        _draw(axes, line, DASHES[number % len(DASHES)])
    if lines:
        axes.set_xlabel(lines[0].axis)
        ticks = sorted({size for line in lines for size in line.sizes})
        axes.set_xticks(ticks, [f"{size:,}" for size in ticks], minor=False)
        axes.minorticks_off()
        axes.legend(frameon=False, fontsize="small")
    axes.set_ylabel("seconds a step")
    axes.grid(alpha=0.3)
    return picture(drawn, f"Time of a step over its size, logarithmic scales. {' '.join(sentences)}")


def _draw(axes: Any, line: Line, dash: str) -> None:
    where = line.where.removeprefix("With ")
    for name, colour, marker in (("CPU", CPU, "o"), ("GPU", GPU, "s")):
        timings = [getattr(point, name.lower()) for point in line.points]
        if None in timings:
            continue
        low, high = zip(*(timing.range for timing in timings), strict=True)
        label = f"{name}, {where} ({timings[0].origin})"
        medians = [timing.median for timing in timings]
        axes.plot(line.sizes, medians, dash, color=colour, marker=marker, label=label)
        axes.fill_between(line.sizes, low, high, color=colour, alpha=0.15, linewidth=0)
    for crossover in line.crossovers:
        axes.axvspan(crossover.low, crossover.high, color="#999999", alpha=0.15, linewidth=0)
        axes.axvline(crossover.size, color="#666666", linestyle=dash, linewidth=1)
