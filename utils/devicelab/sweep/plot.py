"""The picture of a sweep."""

from collections.abc import Iterable, Sequence
from typing import Any

from devicelab import units
from devicelab.canvas import CHART_CPU, CHART_GPU, CHART_INK, chart
from devicelab.picture import Picture, picture

from .line import Line

DASHES = ("-", "--", ":", "-.")  # one for each line of sizes, then from the beginning


def plot(lines: Sequence[Line], sentences: Iterable[str]) -> Picture:
    """Return the times over the sizes of a sweep on logarithmic axes; bands show the ranges, a bar the crossover."""
    drawn, [axes] = chart(8.4, 4.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for number, line in enumerate(lines):
        _draw(axes, line, DASHES[number % len(DASHES)])
    if lines:
        axes.set_xlabel(lines[0].axis)
        ticks = sorted({size for line in lines for size in line.sizes})
        axes.set_xticks(ticks, [f"{size:,}" for size in ticks], minor=False)
        axes.minorticks_off()
        axes.legend(frameon=False, fontsize="small", labelcolor=CHART_INK)
    axes.set_ylabel("time of a step")
    axes.yaxis.set_major_formatter(lambda seconds, _: _round(seconds))
    return picture(drawn, f"Time of a step over its size, logarithmic scales. {' '.join(sentences)}")


def _draw(axes: Any, line: Line, dash: str) -> None:
    where = line.where.removeprefix("With ")
    for name, colour, marker in (("CPU", CHART_CPU, "o"), ("GPU", CHART_GPU, "s")):
        timings = [getattr(point, name.lower()) for point in line.points]
        if None in timings:
            continue
        low, high = zip(*(timing.range for timing in timings), strict=True)
        label = f"{name}, {where} ({timings[0].origin})"
        medians = [timing.median for timing in timings]
        axes.plot(line.sizes, medians, dash, color=colour, marker=marker, label=label)
        axes.fill_between(line.sizes, low, high, color=colour, alpha=0.15, linewidth=0)
    for crossover in line.crossovers:
        axes.axvspan(crossover.low, crossover.high, color=CHART_INK, alpha=0.2, linewidth=0)
        axes.axvline(crossover.size, color=CHART_INK, linestyle=dash, linewidth=1)
        axes.annotate(
            f" about {crossover.size:,.0f}",
            (crossover.size, 0.02),
            xycoords=("data", "axes fraction"),
            fontsize="small",
            color=CHART_INK,
        )


def _round(seconds: float) -> str:
    """Return a power of ten in the unit that suits it: "100 µs"."""
    number, unit = units.seconds(seconds * (1 + 1e-9)).split()
    return f"{float(number.replace(',', '')):,.0f} {unit}"
