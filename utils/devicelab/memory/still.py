"""One run as a picture, for where nothing moves: GitHub, print, a notebook that is not trusted."""

from math import log2
from textwrap import wrap
from typing import Any

from devicelab import units
from devicelab.canvas import INK, LINE, MUTED, PAPER, STOP, Canvas, hue, short, width
from devicelab.picture import Picture

WIDTH, LEFT, RIGHT, TOP, HIGH = 960.0, 84.0, 30.0, 92.0, 280.0  # pixels
EDGE, _, SOFT = hue("cuda:0")
# Shades of the card's colour, darkest at the bottom; what is reserved and not in use is paper.
SHADES = {"context": LINE, "weights": "#8a5200", "gradients": "#b3670a", "optimizer": "#d9922e", "activations": "#f0c884",
          "passing": "#f7e2bd", "cache": PAPER}  # fmt: skip
ROOM = 1.3  # above the fullest moment, where the limit is far away


def still(scenes: dict[str, Any], run: dict[str, Any], alt: str) -> Picture:
    """Return the picture of one run."""
    return _Still(scenes, run).picture(alt)


def even(top: float) -> float:
    """Return a round number of bytes of which four or so make `top`."""
    unit = 1024.0 ** max(0, int(log2(max(top, 1)) // 10))
    return next(
        (size * unit for size in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200) if size * unit * 5 >= top),
        500 * unit,
    )


class _Still:
    def __init__(self, scenes: dict[str, Any], run: dict[str, Any]) -> None:
        self.scenes, self.run, self.limit = scenes, run, scenes["limit"]
        most = max(one["bytes"] for one in scenes["runs"])
        self.is_near = 2 * most > self.limit
        self.top = self.limit * 1.06 if self.is_near else most * ROOM
        self.each = (WIDTH - LEFT - RIGHT) / max(1, len(run["visits"]))
        self.say = wrap(f"{run['head']}. {run['say']}".replace("`", ""), 124)
        self.notes = [line for note in scenes["notes"] for line in wrap(note, 140)]

    def picture(self, alt: str) -> Picture:
        """Return the drawn picture."""
        below = TOP + HIGH + 92
        self.canvas = Canvas(WIDTH, below + 21 * len(self.say) + 19 * len(self.notes) + 6)
        self.canvas.text(20, 34, self.scenes["question"], size=18, bold=True)
        self.canvas.text(WIDTH - 20, 34, self.scenes["chip"], MUTED, 12, "right")
        self._draw_legend()
        self._draw_grid()
        self._draw_stack()
        self._draw_limit()
        self._draw_lines()
        for index, line in enumerate(self.say):
            self.canvas.text(20, below + 21 * index, line, INK, 14)
        for index, note in enumerate(self.notes):
            self.canvas.text(20, below + 21 * len(self.say) + 19 * index, note, MUTED, 12)
        return self.canvas.picture(alt)

    def _y(self, nbytes: float) -> float:
        return TOP + HIGH * (1 - nbytes / self.top)

    def _draw_legend(self) -> None:
        x = 20.0
        for kind in ("context", *self.scenes["kinds"]):
            self.canvas.box(
                x, 52, 12, 12, SHADES[kind], EDGE if kind != "context" else MUTED, 2, linewidth=0.8
            )
            x += 34 + self.canvas.text(x + 18, 63, self.scenes["words"][kind], MUTED, 12)

    def _draw_grid(self) -> None:
        step = even(self.top)
        for part in range(int(self.top / step) + 1):
            nbytes = step * part
            self.canvas.line([(LEFT, self._y(nbytes)), (WIDTH - RIGHT, self._y(nbytes))], LINE, linewidth=0.8)
            self.canvas.text(LEFT - 8, self._y(nbytes) + 4, units.size(nbytes), MUTED, 12, "right")

    def _draw_stack(self) -> None:
        xs, points = [LEFT], [[0] * len(self.scenes["kinds"])]
        for index, visit in enumerate(self.run["visits"]):
            count = len(visit["points"])
            xs += [LEFT + self.each * (index + (number + 1) / count) for number in range(count)]
            points += visit["points"]
        low = [0.0] * len(xs)
        for kind in ("context", *self.scenes["kinds"]):
            at = self.scenes["kinds"].index(kind) if kind != "context" else -1
            sizes = [self.scenes["context"] if at < 0 else point[at] for point in points]
            high = [below + size for below, size in zip(low, sizes, strict=True)]
            corners = [(x, self._y(y)) for x, y in zip(xs, high, strict=True)]
            base = [(x, self._y(y)) for x, y in zip(xs, low, strict=True)]
            self.canvas.area([*corners, *reversed(base)], SHADES[kind])
            low = high
        self.canvas.line([(x, self._y(y)) for x, y in zip(xs, low, strict=True)], EDGE, linewidth=1.4)

    def _draw_limit(self) -> None:
        words = f"all that the card has: {self.scenes['limitText']}"
        if not self.is_near:
            self.canvas.text(WIDTH - RIGHT, TOP + 16, f"{words}, far above", STOP, 12.5, "right", bold=True)
            return
        y = self._y(self.limit)
        self.canvas.line([(LEFT, y), (WIDTH - RIGHT, y)], STOP, linewidth=1.8)
        self.canvas.text(LEFT + 6, y - 6, words, STOP, 12.5, bold=True)
        if self.run["refused"]:
            x = LEFT + self.each * len(self.run["visits"])
            self.canvas.dot(x, y, 10, STOP, PAPER)
            self.canvas.text(x, y + 5, "×", PAPER, 16, "center", bold=True)

    def _draw_lines(self) -> None:
        y, begin, visits = TOP + HIGH, 0, self.run["visits"]
        for index, visit in enumerate(visits):
            x, last = LEFT + self.each * index, index == len(visits) - 1
            colour = STOP if self.run["refused"] and last else INK
            self.canvas.line([(x, y), (x, y + 6)], MUTED, linewidth=1)
            text = short(visit["label"], self.each - 4, 12, mono=True)
            self.canvas.text(x + self.each / 2, y + 20, text, colour, 12, "center", mono=True)
            if not last and visits[index + 1]["step"] == visit["step"]:
                continue
            self._bracket(LEFT + self.each * begin, x + self.each, y + 34, visit["step"], colour)
            begin = index + 1

    def _bracket(self, left: float, right: float, y: float, step: int, colour: str) -> None:
        words = "before" if step < 0 else f"step {step + 1}"
        self.canvas.line([(left + 4, y), (right - 4, y)], MUTED, linewidth=1)
        if width(words, 12.5) < right - left:
            self.canvas.text((left + right) / 2, y + 18, words, colour, 12.5, "center", bold=True)
