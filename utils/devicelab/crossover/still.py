"""Both lines over all widths as a picture, for where nothing moves: GitHub, print, a notebook that is not trusted."""

from math import ceil, floor, log10
from textwrap import wrap
from typing import Any

from devicelab import units
from devicelab.canvas import INK, LINE, MUTED, PANEL, PAPER, Canvas, hue, width
from devicelab.picture import Picture

WIDTH = 960.0  # pixels, as all that follow
LEFT, RIGHT, TOP, HIGH, NOTE = 84.0, 210.0, 96.0, 300.0, 19.0
ZONES = {"CPU": "CPU ahead", "GPU": "GPU ahead", "": "nobody can say"}


def still(view: dict[str, Any], alt: str) -> Picture:
    """Return the picture of a view's first card beside the CPU."""
    return _Still(view).picture(alt)


class _Still:
    def __init__(self, view: dict[str, Any]) -> None:
        self.view, self.card, self.stops = view, view["cards"][0], view["stops"]
        times = [second for one in (view["cpu"], self.card) for time in one["times"] for second in time]
        self.decades = range(floor(log10(min(times))), ceil(log10(max(times))) + 1)
        self.notes = [line for note in (self.card["line"], *view["notes"]) for line in wrap(note, 140)]

    def picture(self, alt: str) -> Picture:
        """Return the drawn picture."""
        self.canvas = Canvas(WIDTH, TOP + HIGH + 72 + NOTE * len(self.notes))
        self.canvas.text(20, 34, self.view["question"], size=18, bold=True)
        self.canvas.text(20, 60, self.view["work"], MUTED)
        self.canvas.text(WIDTH - 20, 34, self.view["chip"], MUTED, 12, "right")
        self._draw_zones()
        self._draw_axes()
        self._draw_line("gpu", self.card["name"], self.card)
        self._draw_line("cpu", "CPU", self.view["cpu"])
        for index, note in enumerate(self.notes):
            self.canvas.text(20, TOP + HIGH + 74 + NOTE * index, note, INK if index == 0 else MUTED, 12.5)
        return self.canvas.picture(alt)

    def _x(self, stop: float) -> float:
        first, last = log10(self.stops[0]), log10(self.stops[-1])
        return LEFT + (WIDTH - LEFT - RIGHT) * (log10(stop) - first) / ((last - first) or 1)

    def _y(self, seconds: float) -> float:
        low, high = self.decades[0], self.decades[-1]
        return TOP + HIGH * (high - log10(seconds)) / (high - low)

    def _draw_zones(self) -> None:
        """Draw who is ahead where: neighbours with one leader are one zone, which ends half way to the next."""
        who, xs = self.card["who"], [self._x(stop) for stop in self.stops]
        begin = 0
        for index in range(1, len(who) + 1):
            if index < len(who) and who[index] == who[begin]:
                continue
            left = xs[0] if begin == 0 else (xs[begin - 1] + xs[begin]) / 2
            right = xs[-1] if index == len(who) else (xs[index - 1] + xs[index]) / 2
            leader = who[begin]
            face = PANEL if not leader else hue("cpu" if leader == "CPU" else "cuda:0")[2]
            self.canvas.box(left, TOP, max(right - left, 2), HIGH, face, face, 0)
            colour = MUTED if not leader else hue("cpu" if leader == "CPU" else "cuda:0")[1]
            if width(ZONES[leader], 12.5) < right - left:
                middle = (left + right) / 2
                self.canvas.text(middle, TOP + 20, ZONES[leader], colour, 12.5, "center", bold=True)
            begin = index

    def _draw_axes(self) -> None:
        for decade in self.decades:
            y = self._y(10.0**decade)
            self.canvas.line([(LEFT, y), (WIDTH - RIGHT, y)], LINE, linewidth=0.8)
            self.canvas.text(LEFT - 10, y + 4, _round(10.0**decade), MUTED, 12, "right")
        for stop in self.stops:
            self.canvas.text(self._x(stop), TOP + HIGH + 20, f"{stop:,}", MUTED, 12, "center")
        home = f" ({self.stops[0]}: {self.view['home']})" if self.view["home"] else ""
        axis = f"{self.view['axis']}{home}; a step's time, both axes logarithmic"
        self.canvas.text(LEFT, TOP + HIGH + 42, axis, MUTED, 12)

    def _draw_line(self, device: str, name: str, one: dict[str, Any]) -> None:
        edge, ink, _ = hue("cpu" if device == "cpu" else "cuda:0")
        xs = [self._x(stop) for stop in self.stops]
        low, middle, high = ([self._y(time[part]) for time in one["times"]] for part in range(3))
        band = [*zip(xs, low, strict=True), *reversed(list(zip(xs, high, strict=True)))]
        self.canvas.area(band, edge, alpha=0.25)
        self.canvas.line(list(zip(xs, middle, strict=True)), edge, linewidth=2)
        for x, y in zip(xs, middle, strict=True):
            if device == "cpu":
                self.canvas.dot(x, y, 4.5, edge, PAPER, linewidth=1)
            else:
                self.canvas.box(x - 4.5, y - 4.5, 9, 9, edge, PAPER, 1, linewidth=1)
        known = "measured" if device == "cpu" else "estimated"
        self.canvas.text(xs[-1] + 14, middle[-1] - 2, f"{name}, {known}", ink, bold=True)
        self.canvas.text(xs[-1] + 14, middle[-1] + 15, one["texts"][-1], ink, 12)


def _round(seconds: float) -> str:
    """Return a power of ten in its unit: "100 µs"."""
    number, unit = units.seconds(seconds).split()
    return f"{float(number.replace(',', '')):,.0f} {unit}"
