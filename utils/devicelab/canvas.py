"""Drawing for still pictures in pixels, with the colours that the moving ones have in the light theme."""

import math
from collections.abc import Sequence
from typing import Any

from .picture import DPI, Picture, few_colours, figure, polygon

INK, MUTED, LINE, PAPER, PANEL = "#1f2328", "#57606a", "#cfd6dd", "#ffffff", "#f6f7f9"
STOP, STOP_SOFT = "#b01657", "#fbe6ef"
# Edge, ink and ground of a device: as in widgets/style.css, told apart with any kind of colour vision.
HUES = {
    "cpu": ("#0b69b0", "#0a5a98", "#e6f1fa"),
    "gpu": ("#c26f00", "#8a5200", "#fdf2da"),
    "gpu2": ("#00806a", "#006350", "#e0f4ee"),
    "meta": ("#6e7781", "#57606a", "#eef0f2"),
}
# A chart has no ground of its own: its ink and its two hues can be read on the light theme's and on the dark one's.
CHART_INK, CHART_CPU, CHART_GPU = "#7a7e84", "#2b7fc4", "#c77700"
MONO, SANS = (
    0.602,
    0.53,
)  # width of a character, as a part of its height, in the fonts that come with matplotlib
Point = tuple[float, float]


def hue(device: str) -> tuple[str, str, str]:
    """Return the three colours of a device; a second card differs from the first."""
    return HUES.get(device) or HUES["gpu" if device.endswith(":0") else "gpu2"]


def chart(width: float, height: float, rows: int = 1) -> tuple[Any, list[Any]]:
    """Return an empty matplotlib figure, sizes in inches, and its axes below each other, in the style of all charts."""
    drawn = figure(width, height)
    drawn.patch.set_alpha(0)
    every = list(drawn.subplots(rows, squeeze=False)[:, 0])
    for axes in every:
        axes.patch.set_alpha(0)
        axes.grid(color=CHART_INK, linewidth=0.8, alpha=0.35)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(CHART_INK)
        axes.tick_params(colors=CHART_INK, which="both")
        for label in (axes.xaxis.label, axes.yaxis.label, axes.title, axes._left_title):
            label.set_color(CHART_INK)
    return drawn, every


class Canvas:
    """A drawing of so many pixels, y downwards. Later things lie above earlier ones."""

    def __init__(self, width: float, height: float) -> None:
        self._figure = figure(width / DPI, height / DPI)
        self._figure.set_layout_engine(None)
        self._axes: Any = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set(xlim=(0, width), ylim=(height, 0))
        self._axes.axis("off")
        self._order = 1

    def _above(self) -> int:
        self._order += 1
        return self._order

    def picture(self, alt: str) -> Picture:
        """Return what was drawn."""
        return few_colours(self._figure, alt)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        colour: str = INK,
        size: float = 13,
        at: str = "left",
        mono=False,
        bold=False,
    ) -> float:
        """Write a line whose base is at y, and return its width in pixels, roughly."""
        family = "monospace" if mono else "sans-serif"
        self._axes.text(
            x, y, text.replace("$", r"\$"), fontsize=size * 72 / DPI, color=colour, ha=at, va="baseline",
            weight="bold" if bold else "normal", family=family, zorder=self._above(),
        )  # fmt: skip
        return width(text, size, mono)

    def box(
        self,
        x: float,
        y: float,
        wide: float,
        high: float,
        face: str,
        edge: str,
        round: float = 8,
        **style: Any,
    ) -> None:
        """Draw a rectangle with round corners."""
        # The middle of each corner's arc, and the angle at which it begins.
        left, right, top, bottom = x + round, x + wide - round, y + round, y + high - round
        arcs = ((right, top, -90), (right, bottom, 0), (left, bottom, 90), (left, top, 180))
        turns = [(arc, math.radians(arc[2] + more)) for arc in arcs for more in range(0, 91, 15)]
        points = [(arc[0] + round * math.cos(turn), arc[1] + round * math.sin(turn)) for arc, turn in turns]
        self._fill(points, facecolor=face, edgecolor=edge, **style)

    def dot(self, x: float, y: float, radius: float, face: str, edge: str, **style: Any) -> None:
        """Draw a circle."""
        self.box(x - radius, y - radius, 2 * radius, 2 * radius, face, edge, radius, **style)

    def chip(self, x: float, y: float, text: str, at: str = "left") -> float:
        """Draw a name on a dark ground that begins, or ends, at x, with its top at y; return its width."""
        wide = width(text, 13, mono=True) + 12
        left = x if at == "left" else x - wide
        self.box(left, y, wide, 21, INK, INK, 4)
        self.text(left + 6, y + 15, text, PAPER, mono=True, bold=True)
        return wide

    def pill(self, x: float, y: float, text: str, edge: str, mono: bool = False, **style: Any) -> None:
        """Draw a word in a round frame whose middle is at x and y."""
        wide = width(text, 12.5, mono) + 22
        self.box(x - wide / 2, y - 12, wide, 24, PAPER, edge, 12, **style)
        self.text(x, y + 4.5, text, size=12.5, at="center", mono=mono)

    def line(self, points: Sequence[Point], colour: str, **style: Any) -> None:
        """Draw straight from point to point."""
        self._axes.plot(*zip(*points, strict=True), color=colour, zorder=self._above(), **style)

    def area(self, points: Sequence[Point], colour: str, **style: Any) -> None:
        """Fill what lies inside these corners."""
        self._fill(points, facecolor=colour, linewidth=0, **style)

    def curve(self, points: Sequence[Point], colour: str, tip: bool = False, **style: Any) -> None:
        """Draw a Bézier curve through its four points, with an arrow's tip at its end if asked for."""
        steps = [number / 24 for number in range(25)]
        path = [tuple(_bezier([point[axis] for point in points], t) for axis in (0, 1)) for t in steps]
        self._axes.plot(*zip(*path, strict=True), color=colour, zorder=self._above(), **style)
        if tip:
            (x, y), (before_x, before_y) = path[-1], path[-2]
            turn = math.atan2(y - before_y, x - before_x)
            ends = [(x - 9 * math.cos(turn + a), y - 9 * math.sin(turn + a)) for a in (0.45, -0.45)]
            self._fill([(x, y), *ends], color=colour)

    def _fill(self, points: Sequence[Point], **style: Any) -> None:
        # Not axes.fill: that looks for the data's limits, which are set, and takes as long as the drawing.
        self._axes.add_artist(polygon(points, zorder=self._above(), **style))


def width(text: str, size: float, mono: bool = False) -> float:
    """Return about how many pixels a line of text is wide."""
    return len(text) * size * (MONO if mono else SANS)


def short(text: str, wide: float, size: float = 13, mono: bool = False) -> str:
    """Return a text that fits into so many pixels."""
    most = max(2, int(wide / (size * (MONO if mono else SANS))))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _bezier(values: Sequence[float], t: float) -> float:
    a, b, c, d = values
    return a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3
