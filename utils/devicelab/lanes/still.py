"""The first frame of a picture of lanes, for where nothing moves: GitHub, print, a notebook that is not trusted."""

import math
from textwrap import wrap
from typing import Any

from devicelab import units
from devicelab.canvas import INK, LINE, MUTED, PANEL, PAPER, STOP, STOP_SOFT, Canvas, hue, short, width
from devicelab.picture import Picture

from .scene import KINDS, WAIT, Bar, Lane, Track

WIDTH, LEFT, RIGHT = 960.0, 110.0, 44.0  # pixels, as all that follow
BAR, LANE, TITLE, CLOCK, AXIS = 30.0, 42.0, 26.0, 34.0, 40.0
INSIDE = 3  # clocks, the first ones, for which the time axis is long enough; others end in an arrow
SHADES = {"forward": 0.0, "backward": 0.35, "optimizer": 0.62, "other": 0.15, "load": 0.35, "copy": 0.85}
_WORDS = {WAIT: "waits", "load": "loads"}


def still(lanes: Any, alt: str) -> Picture:
    """Return the first frame of a `Lanes`, which stands above this module."""
    return _Still(lanes).picture(alt)


def ticks(length: float, most: int = 6) -> list[float]:
    """Return round times, in seconds, from 0 on, for an axis of this length."""
    power = 10.0 ** math.floor(math.log10(length / most))
    step = next(factor * power for factor in (1, 2, 5, 10) if length / (factor * power) <= most)
    return [number * step for number in range(int(length / step + 1e-9) + 1)]


def mixed(colour: str, share: float) -> str:
    """Return a colour with so much of the paper's in it."""
    pairs = ((int(one[at : at + 2], 16) for one in (colour, PAPER)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


class _Still:
    def __init__(self, lanes: Any) -> None:
        self.lanes = lanes
        self.say = wrap(" ".join([lanes.said, *lanes.notes]), 128)
        self.length = 1.04 * max(
            [1e-9, *(track.length for track in lanes.tracks), *(s for _, s in lanes.clocks[:INSIDE])]
        )
        self.kinds = [kind for kind in KINDS if any(bar.kind == kind for bar in self._bars())]
        self.top = 66.0 + (24.0 if lanes.marks else 0.0)

    def _bars(self) -> list[Bar]:
        return [bar for track in self.lanes.tracks for lane in track.lanes for bar in lane.bars]

    def _x(self, seconds: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * seconds / self.length

    def picture(self, alt: str) -> Picture:
        """Draw it from the top down."""
        high = sum(TITLE * bool(track.title) + LANE * len(track.lanes) + 8 for track in self.lanes.tracks)
        below = self.top + high + CLOCK * len(self.lanes.clocks)
        self.canvas = Canvas(WIDTH, below + AXIS + 32 + 21 * len(self.say) + 12)
        self.canvas.text(20, 34, self.lanes.question, size=18, bold=True)
        self.canvas.text(WIDTH - 20, 34, self.lanes.chip, MUTED, 12.5, at="right")
        self._draw_floor(below)
        y = self.top
        for track in self.lanes.tracks:
            y = self._draw_track(track, y)
        self._draw_clocks(y)
        self._draw_axis(below)
        self._draw_marks(y)
        if self.lanes.kind == "timeline":
            self._draw_legend(below + AXIS)
        for number, line in enumerate(self.say):
            self.canvas.text(20, below + AXIS + 40 + 21 * number, line, size=14)
        return self.canvas.picture(alt)

    def _draw_track(self, track: Track, y: float) -> float:
        top = y
        if track.title:
            self.canvas.text(LEFT, y + 16, track.title, mono=True)
            y += TITLE
        for lane in track.lanes:
            self.canvas.text(
                LEFT - 12, y + 20, short(lane.label, LEFT - 20), hue(lane.device)[1], at="right", bold=True
            )
            for bar in lane.bars:
                self._draw_bar(lane, bar, y)
            y += LANE
        if track.end is not None:
            x, said = self._x(track.end), units.seconds(track.end)
            self.canvas.box(x - 0.5, top + 6, 1.5, y - top - 12, INK, INK, 0, linewidth=0)
            self.canvas.text(
                x + 6 if x < WIDTH - 90 else x - 6,
                top + 16,
                said,
                at="left" if x < WIDTH - 90 else "right",
                bold=True,
            )
        return y + 8

    def _draw_bar(self, lane: Lane, bar: Bar, y: float) -> None:
        edge = hue(lane.device)[0]
        x, wide = self._x(bar.begin), max(1.2, self._x(bar.end) - self._x(bar.begin))
        if bar.kind == WAIT:
            self.canvas.box(x, y, wide, BAR, PANEL, MUTED, 0, linewidth=0, hatch="////")
        else:
            self.canvas.box(
                x, y, wide, BAR, mixed(edge, SHADES[bar.kind]), PAPER if wide > 3 else edge, 0, linewidth=0.5
            )
        said = _WORDS.get(bar.kind, bar.name.removeprefix("aten::"))
        if bar.name and width(said, 12.5) + 26 < wide:
            self.canvas.pill(x + wide / 2, y + BAR / 2, said, LINE, linewidth=0.8)

    def _draw_floor(self, below: float) -> None:
        if self.lanes.floor is None:
            return
        seconds, said = self.lanes.floor
        x = self._x(seconds)
        self.canvas.box(
            LEFT, self.top - 6, x - LEFT, below - self.top + 6, STOP_SOFT, STOP_SOFT, 0, linewidth=0
        )
        self.canvas.box(x - 0.7, self.top - 6, 1.4, below - self.top + 6, STOP, STOP, 0, linewidth=0)
        self.canvas.text(x + 8, self.top - 10, said, STOP, 12)

    def _draw_clocks(self, y: float) -> None:
        for name, seconds in self.lanes.clocks:
            self.canvas.text(LEFT, y + 12, f"{name}: {units.seconds(seconds)}", size=12)
            end = min(self._x(seconds), WIDTH - RIGHT)
            self.canvas.box(LEFT, y + 17, max(2.0, end - LEFT), 7, INK, INK, 2, linewidth=0)
            if self._x(seconds) > end:
                self.canvas.area([(end, y + 14), (end + 9, y + 20.5), (end, y + 27)], INK)
            y += CLOCK

    def _draw_axis(self, y: float) -> None:
        self.canvas.box(LEFT, y, WIDTH - LEFT - RIGHT, 1, MUTED, MUTED, 0, linewidth=0)
        scale, unit = next(
            pair
            for pair in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
            if self.length > 2 * pair[0] or pair[1] == "µs"
        )
        every = ticks(self.length)
        for seconds in every:
            self.canvas.box(self._x(seconds) - 0.5, y, 1, 6, MUTED, MUTED, 0, linewidth=0)
            word = f"{seconds / scale:,.6g}" + (f" {unit}" if seconds == every[-1] else "")
            self.canvas.text(self._x(seconds), y + 20, word, MUTED, 12, at="center")

    def _draw_marks(self, below: float) -> None:
        places: dict[float, list[str]] = {}
        for name, seconds in self.lanes.marks:
            near = next((at for at in places if abs(self._x(at) - self._x(seconds)) < 44), seconds)
            places.setdefault(near, []).append(name)
            x = self._x(seconds)
            self.canvas.box(x - 0.8, self.top - 14, 1.6, below - self.top + 6, INK, INK, 0, linewidth=0)
        for at, names in places.items():
            self.canvas.chip(self._x(at), self.top - 34, " and ".join(names))

    def _draw_legend(self, y: float) -> None:
        x = LEFT
        for kind in self.kinds:
            if kind == WAIT:
                self.canvas.box(x, y - 2, 16, 12, PANEL, MUTED, 0, linewidth=0, hatch="/////")
            else:
                self.canvas.box(x, y - 2, 16, 12, mixed(MUTED, SHADES[kind]), MUTED, 0, linewidth=0.8)
            x += 22 + self.canvas.text(x + 22, y + 9, _WORDS.get(kind, kind), MUTED, 12) + 18
