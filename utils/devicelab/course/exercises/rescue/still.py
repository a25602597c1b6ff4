"""The capstone's picture where nothing moves: bars, lanes and lights as a PNG, laid out as widgets/rescue_plan.js does."""

from itertools import count
from textwrap import wrap
from typing import Any

from devicelab.canvas import HUES, INK, MUTED, PAPER, STOP, Canvas, hue, short
from devicelab.picture import Picture

WIDTH, LEFT, TIME, BAR, LANE = 960.0, 200.0, 90.0, 26.0, 20.0
SHADES = {"forward": 1.0, "backward": 0.7, "optimizer": 0.45, "other": 0.3}
NAMES, COSTS = 190.0, 538.0  # where the names of the faults begin, and what they cost
THINNEST = 1.2  # pixels, so that a short operator can be seen
GROUPS = (("Costs time", True), ("Costs no time, costs the result", False))


def still(data: dict[str, Any], alt: str) -> Picture:
    """Return the picture of this data, as BeforeAfter.data() returns it."""
    say = wrap(data["say"], 120)
    rows = sum(len(lane["rows"]) for lane in data["lanes"])
    bars = 62 + 21 * len(say) + 50 * len(data["bars"])
    lanes = bars + rows * (LANE + 4) + 34 * len(data["lanes"])
    note = wrap(data["note"], 132)
    canvas = Canvas(WIDTH, lanes + 18 * len(note) + 26 * (len(data["lights"]) + 3) + 34)
    canvas.text(20, 34, data["question"], size=18, bold=True)
    canvas.text(WIDTH - 20, 34, data["card"], MUTED, 12.5, at="right")
    for number, line in enumerate(say):
        canvas.text(20, 62 + 21 * number, line)
    totals = (sum(micro for _, micro in bar["pieces"]) for bar in data["bars"])
    scale = (WIDTH - LEFT - TIME) / max(*totals, *(lane["seconds"] for lane in data["lanes"]))
    for number, bar in enumerate(data["bars"]):
        _bar(canvas, bar, bars - 50 * (len(data["bars"]) - number) + 16, scale)
    y = float(bars)
    for lane in data["lanes"]:
        y = _lanes(canvas, lane, y + 30, scale, data["origin"]) + 4
    for number, line in enumerate(note):
        canvas.text(20, lanes + 18 + 18 * number, line, MUTED, 12)
    _lights(canvas, data, lanes + 18 * len(note) + 12)
    return canvas.picture(alt)


def _bar(canvas: Canvas, bar: dict[str, Any], y: float, scale: float) -> None:
    canvas.text(20, y + 18, bar["name"], bold=True)
    x = LEFT
    for fault, micro in bar["pieces"]:
        wide = micro * scale
        edge, _, ground = HUES["meta" if fault < 0 else "cpu"]
        face, style = (ground, {}) if fault < 0 else (PAPER, {"hatch": "////"})
        canvas.box(x, y, max(wide, 1), BAR, face, edge, 0, linewidth=1, **style)
        if fault >= 0:
            canvas.text(x + wide / 2, y - 4, str(fault + 1), size=12, at="center")
        x += wide
    canvas.text(LEFT + 8, y + 17, "the work itself", size=12)
    canvas.text(x + 8, y + 18, bar["text"], bold=True)


def _lanes(canvas: Canvas, lane: dict[str, Any], y: float, scale: float, origin: str) -> float:
    """Draw one step from y on; return where it ends."""
    canvas.text(LEFT, y - 8, f"one step, {lane['name']} ({origin})", MUTED, 12)
    for row in lane["rows"]:
        edge, _, ground = hue(row["device"])
        canvas.text(LEFT - 10, y + 14, row["device"], size=12, at="right", mono=True)
        canvas.box(LEFT, y, lane["seconds"] * scale, LANE, ground, "none", 0, linewidth=0)
        for begin, micro, phase in row["events"]:
            wide = max(micro * scale, THINNEST)
            face, line = edge, "none"
            style: dict[str, Any] = {"alpha": SHADES.get(phase, SHADES["other"])}
            if phase in ("wait", "copy"):
                face, line, style = "none", edge, {"hatch": "////" if phase == "wait" else None}
            canvas.box(LEFT + begin * scale, y, wide, LANE, face, line, 0, linewidth=0.5, **style)
        y += LANE + 4
    return y


def _lights(canvas: Canvas, data: dict[str, Any], y: float) -> None:
    lines = count(1)
    for title, slow in GROUPS:
        canvas.text(20, y + 26 * next(lines), title, bold=True)
        for number, light in enumerate(data["lights"]):
            if light["slow"] is slow:
                _light(canvas, light, number, y + 26 * next(lines))
    canvas.text(20, y + 26 * next(lines), short(f"The result: {data['result']}.", WIDTH - 40), MUTED)


def _light(canvas: Canvas, light: dict[str, Any], number: int, y: float) -> None:
    there, unknown = light["state"] == "there", light["state"] == "not seen"
    style: dict[str, Any] = {"linestyle": (0, (2, 2))} if unknown else {}
    canvas.dot(34, y - 5, 9, STOP if there else "none", STOP if there else MUTED, linewidth=1.4, **style)
    mark = {"there": "×", "mended": "✓"}.get(light["state"], "?")
    canvas.text(34, y, mark, PAPER if there else MUTED, 12, at="center", bold=True)
    words = "still in the file" if there else light["state"]
    canvas.text(54, y, f"{number + 1} {words}")
    canvas.text(NAMES, y, light["name"], mono=True)
    canvas.text(COSTS, y, short(light["cost"], WIDTH - COSTS), INK)
