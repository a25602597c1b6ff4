"""What a sweep returns."""

from collections import Counter
from dataclasses import dataclass

from devicelab import html
from devicelab.compiled import NOTE
from devicelab.picture import Picture, Shown
from devicelab.variants.outcome import how_known

from .line import Crossover, Line, Point
from .plot import plot

SHOWN = 4  # lines in the text


@dataclass(frozen=True, repr=False)
class Sweep(Shown):
    """Timings over sizes: `points` in the order of their size, `lines` along width (or rows, where only these vary).

    `left_out` holds (rows, width, why) of the sizes that were not timed.
    """

    points: tuple[Point, ...]
    lines: tuple[Line, ...]
    left_out: tuple[tuple[int, int, str], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every size was timed."""
        return not self.left_out

    @property
    def crossover(self) -> Crossover | None:
        """The size at which the lead changes, of the first line that has just one; None where none has."""
        return next((line.crossover for line in self.lines if line.crossover), None)

    @property
    def sentences(self) -> list[str]:
        """What the sweep says, in words."""
        more = len(self.lines) - SHOWN
        rest = [f"... and {more} more in .lines"] if more > 0 else []
        return [*map(str, self.lines[:SHOWN]), *rest, self._known, *self._gaps(), *self._cautions()]

    @property
    def _known(self) -> str:
        first = self.points[0] if self.points else None
        if first is None:
            return "Nothing was timed."
        count = f"{len(self.points)} {'size' if len(self.points) == 1 else 'sizes'}"
        if first.gpu is None:
            return f"{count}, measured on the CPU."
        known = how_known(("CPU", "GPU"), (first.cpu, first.gpu))
        return f"{count}, {known} (the GPU: {first.gpu.name})."

    def _gaps(self) -> list[str]:
        counts = Counter(why for _, _, why in self.left_out)
        return (
            [f"Left out: {', '.join(f'{count} {why}' for why, count in counts.items())}."] if counts else []
        )

    def _cautions(self) -> list[str]:
        timings = [timing for point in self.points for timing in (point.cpu, point.gpu) if timing]
        cautions = [timing.caution for timing in timings if timing.caution][:1]
        told = not any(timing.uncompiled for timing in timings) or any(
            NOTE in caution for caution in cautions
        )
        return cautions if told else [*cautions, NOTE]

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def _repr_html_(self) -> str:
        header = ("Rows", "Width", "CPU", "GPU", "Ahead")
        rows = [
            (
                f"{point.rows:,}",
                f"{point.width:,}",
                point.cpu.text,
                point.gpu.text if point.gpu else "-",
                (point.leader or "cannot say") if point.gpu else "-",
            )
            for point in sorted(self.points, key=lambda point: (point.rows, point.width))
        ]
        return html.paragraphs(str(self)) + html.table(header, rows)

    def plot(self) -> Picture:
        """Return the times over the sizes as a picture on logarithmic axes, with the sentences as its text."""
        return plot(self.lines, self.sentences)
