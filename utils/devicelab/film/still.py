"""One step of a film as a picture, for where nothing moves: GitHub, print, a notebook that is not trusted."""

from textwrap import wrap
from typing import Any

from devicelab.canvas import INK, LINE, MUTED, PANEL, STOP, STOP_SOFT, Canvas, hue, short
from devicelab.picture import Picture

WIDTH, CODE, GAP = 960.0, 350.0, 104.0  # pixels: of the picture, of the code, between two boxes
TOP, ROW, HEAD, STRIP = 58.0, 46.0, 36.0, 42.0
LINE_HEIGHT, LINES = 27.0, 10  # of the code, around the present line


def still(scenes: dict[str, Any], step: int, alt: str) -> Picture:
    """Return the picture of one step of these scenes."""
    return _Still(scenes, step).picture(alt)


def dots_at(scenes: dict[str, Any], step: int) -> list[tuple[list[Any], bool]]:
    """Return the looks of the dots at a step, each with whether it is there or just left; what is there wins its row."""
    found: dict[tuple[int, int], tuple[list[Any], bool]] = {}
    for number, since, until, left in scenes["dots"]:
        look, there = scenes["looks"][number], since <= step < until
        row = look[0], look[1]
        if there or (left and step == until and row not in found):
            found[row] = look, there
    return list(found.values())


def names_at(scenes: dict[str, Any], step: int) -> dict[tuple[int, int], list[str]]:
    """Return the names that stand at each row at a step."""
    found: dict[tuple[int, int], list[str]] = {}
    for name, box, row, since, until in scenes["names"]:
        if since <= step < until:
            found.setdefault((box, row), []).append(name)
    return found


class _Still:
    def __init__(self, scenes: dict[str, Any], step: int) -> None:
        self.scenes, self.step, self.now = scenes, step, scenes["steps"][step]
        self.code = self._window()
        self.beside = len(scenes["boxes"]) < 3  # else the boxes stand below the code
        longest = max((len(text) for _, text in scenes["code"]), default=0)
        self.left = min(CODE, max(240.0, 92 + 7.9 * longest)) if self.beside and longest else 20.0
        self.gap = GAP if self.beside else 70.0
        count = len(scenes["boxes"])
        self.each = (WIDTH - 20 - self.left - self.gap * (count - 1)) / count
        self.top = TOP if self.beside else TOP + LINE_HEIGHT * len(self.code) + 16
        self.high = HEAD + max(box["rows"] for box in scenes["boxes"]) * ROW + STRIP
        self.below = max(self.top + self.high, TOP + LINE_HEIGHT * len(self.code)) + 16
        refused = self.now.get("refused")
        message = f"{refused['kind']}: {''.join(part[0] for part in refused['parts'])}" if refused else ""
        self.message = wrap(message, 118)
        self.say = wrap(self.now["say"], 128)

    def _window(self) -> list[list[Any]]:
        """Return the lines of the code around the present one."""
        code = self.scenes["code"]
        at = next((index for index, (number, _) in enumerate(code) if number == self.now.get("line")), 0)
        first = max(0, min(at - LINES // 2, len(code) - LINES))
        return code[first : first + LINES]

    def picture(self, alt: str) -> Picture:
        """Draw it from the ground up."""
        message = 21 * len(self.message) + 34 if self.message else 0
        self.canvas = Canvas(WIDTH, self.below + message + 21 * len(self.say) + 14)
        self.canvas.text(20, 34, self.scenes["question"], size=18, bold=True)
        self.canvas.text(WIDTH - 20, 34, self.scenes["card"], MUTED, 12.5, at="right")
        self._draw_code()
        for index, box in enumerate(self.scenes["boxes"]):
            self._draw_box(index, box)
        looks = dots_at(self.scenes, self.step)
        for index in {look[5] for look, _ in looks} - {-1}:
            self._draw_fence(*self.scenes["fences"][index])
        self._draw_works()
        names = names_at(self.scenes, self.step)
        for look, there in looks:
            self._draw_dot(look, there, names.get((look[0], look[1]), []))
        for arrow in self.now.get("arrows", []):
            self._draw_arrow(*arrow)
        self._draw_words()
        return self.canvas.picture(alt)

    def _place(self, box: int, row: int) -> tuple[float, float, int]:
        """Return the middle of a row's dot, and on which side of it the words stand."""
        mirrored = box == 0 and len(self.scenes["boxes"]) > 1
        left = self.left + box * (self.each + self.gap)
        return (
            left + self.each - 30 if mirrored else left + 30,
            self.top + HEAD + row * ROW + ROW / 2,
            -1 if mirrored else 1,
        )

    def _hue(self, box: int) -> tuple[str, str, str]:
        return hue(self.scenes["boxes"][box]["device"])

    def _draw_code(self) -> None:
        line, passed = (
            self.now.get("line"),
            {step.get("line") for step in self.scenes["steps"][: self.step + 1]},
        )
        wide = self.left - 40 if self.beside else WIDTH - 40
        for index, (number, text) in enumerate(self.code):
            y = TOP + index * LINE_HEIGHT
            if number == line:
                face, edge = (STOP_SOFT, STOP) if "refused" in self.now else (PANEL, MUTED)
                self.canvas.box(20, y, wide, LINE_HEIGHT - 2, face, edge, 5, linewidth=1)
            self.canvas.text(44, y + 18, str(number), MUTED, at="right", mono=True)
            self.canvas.text(
                54, y + 18, short(text, wide - 42, mono=True), INK if number in passed else MUTED, mono=True
            )

    def _draw_box(self, index: int, box: dict[str, str]) -> None:
        edge, ink, ground = self._hue(index)
        x = self.left + index * (self.each + self.gap)
        self.canvas.box(x, self.top, self.each, self.high, ground, edge, 10, linewidth=1.5)
        wide = self.canvas.text(x + 14, self.top + 23, box["title"], ink, bold=True)
        if wide + len(box["note"]) * 7 + 40 < self.each:
            self.canvas.text(x + self.each - 14, self.top + 23, box["note"], MUTED, 12, at="right")

    def _draw_fence(self, name: str, kind: str, box: int, row: int, rows: int) -> None:
        x, y = self.left + box * (self.each + self.gap), self.top + HEAD + row * ROW
        edge = self._hue(box)[1]
        self.canvas.box(
            x + 8,
            y + 18,
            self.each - 16,
            rows * ROW - 20,
            "none",
            edge,
            10,
            linewidth=1.3,
            linestyle=(0, (5, 3)),
        )
        wide = self.canvas.chip(x + 20, y + 8, short(name, self.each - 90, mono=True))
        self.canvas.text(x + 30 + wide, y + 36, short(kind, self.each - wide - 56, 12), MUTED, 12)

    def _draw_dot(self, look: list[Any], there: bool, names: list[str]) -> None:
        box, row, shape, size, label, _, count, note = look
        x, y, side = self._place(box, row)
        edge, _, ground = self._hue(box)
        at, room = ("right" if side < 0 else "left"), self.each - 66
        for shift in (6, 3) if count > 1 else ():
            self.canvas.dot(x + shift, y - shift, 10, ground, edge, linewidth=1)
        style = {} if there else {"linestyle": (0, (3, 2))}
        self.canvas.dot(x, y, 10, edge if there else "none", edge, linewidth=1.3, **style)
        words = ", ".join((shape, note or size))
        self.canvas.text(x + side * 20, y + 13, short(words, room, 12), INK if there else MUTED, 12, at)
        if label:
            self.canvas.text(x + side * 20, y - 4, short(label, room, mono=True), at=at, mono=True, bold=True)
        elif not names:
            self.canvas.text(x + side * 20, y - 4, "no name" if there else "given back", MUTED, 12, at)
        reach = 20.0 if not label else 24 + len(label) * 8
        for name in names:
            text = short(name, room / min(2, len(names)) - 12, mono=True)
            reach += 4 + self.canvas.chip(x + side * reach, y - 21, text, at)

    def _draw_arrow(self, from_box: int, from_row: int, to_box: int, to_row: int, size: str) -> None:
        x, y, side = self._place(from_box, from_row)
        to_x, to_y, to_side = self._place(to_box, to_row)
        middle = (x + to_x) / 2
        points = [(x - side * 11, y), (middle, y), (middle, to_y), (to_x - to_side * 13, to_y)]
        self.canvas.curve(points, MUTED, tip=True, linewidth=1.5)
        self.canvas.pill(middle, (y + to_y) / 2, size, LINE, linewidth=1)

    def _draw_works(self) -> None:
        refused, low = self.now.get("refused"), self.top + self.high - 21
        if refused is None:
            for box, text, rows in self.now.get("works", []):
                x = self.left + box * (self.each + self.gap) + self.each / 2
                self._draw_threads([(*row, False) for row in rows], x, low)
                self.canvas.pill(x, low, text, self._hue(box)[0], mono=True, linewidth=1.6)
        elif refused["operator"]:
            x = WIDTH - 20 - self.each - self.gap / 2 if len(self.scenes["boxes"]) > 1 else WIDTH / 2
            self._draw_threads(refused["operands"], x, low)
            self.canvas.pill(x, low, refused["operator"], STOP, mono=True, linewidth=1.6)

    def _draw_threads(self, operands: list[Any], x: float, y: float) -> None:
        """Draw a line from each operand to its operator; one that stayed behind has a broken one."""
        for box, row, stayed in operands:
            dot_x, dot_y, side = self._place(box, row)
            out = dot_x - side * 44
            style: dict[str, Any] = {"linestyle": (0, (4, 3))} if stayed else {}
            points = [(dot_x - side * 11, dot_y), (out, dot_y), (out, y - 30), (x, y - 12)]
            self.canvas.curve(points, STOP if stayed else self._hue(box)[0], linewidth=1.5, **style)

    def _draw_words(self) -> None:
        y = self.below
        if self.message:
            self.canvas.box(20, y, WIDTH - 40, 21 * len(self.message) + 18, STOP_SOFT, STOP_SOFT, 8)
            for index, line in enumerate(self.message):
                self.canvas.text(34, y + 25 + 21 * index, line)
            y += 21 * len(self.message) + 34
        for index, line in enumerate(self.say):
            self.canvas.text(20, y + 14 + 21 * index, line, size=14)
