"""The crossover as plain data, with every sentence that it says: the same for the moving picture, the still one and the text."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from devicelab import units
from devicelab.estimate import Estimate
from devicelab.gpus import Card
from devicelab.results import Timing
from devicelab.sweep import Line

from .measure import Estimated, Measured
from .published import CARD, FITTED, ROWS, SOURCE, TIMES, Layer

QUESTION, SECOND = "From which size on does the GPU pay?", "Can the card's line be believed?"
ARTICLE = "One training step of the article, with {rows} rows of w features: Linear(w, 2), MSE, SGD."
OWN = "One training step of yours, with {rows} rows and the width w."
CHIP = "CPU measured here; cards estimated"
INVITE = "Move w to the right until one of the two is ahead for certain. Bet first: at which w?"
NOBODY = "Nobody can say who is faster"
NONE = "Published times of this step on a real card: none."
HERE = "The cards are estimated as if they sat in this computer, whose CPU would launch for them{host}."
BOUND = {
    "launch": ("launching", "The card waits for the CPU, which launches {count} operators."),
    "compute": ("arithmetic", "The launches are what they were; the arithmetic behind them has grown."),
    "memory": ("memory", "The launches are what they were; the card moves bytes in its own memory."),
    "transfer": ("the link", "Copies between the CPU's memory and the card take the time."),
    "host": ("the CPU", "Operators that stay on the CPU take the time."),
}  # fmt: skip


class Scenes:
    """Gathers the points of each card. In the data a time is [low, middle, high] in seconds; `who` leads: CPU, GPU or nobody."""

    def __init__(
        self, rows: int, article: bool, points: Sequence[Measured], left_out: Sequence[tuple[int, str]]
    ) -> None:
        self._rows, self._points, self._left_out = rows, points, left_out
        self._article = article
        self._cards: list[dict[str, Any]] = []

    def add(self, card: Card, found: Sequence[Estimated]) -> None:
        """Add a card with its estimate of each point."""
        who = [one.point.leader for one in found]
        self._host = found[0].estimate.host_note if found else ""
        self._cards.append(
            {
                "name": card.name,
                "times": [_time(_gpu(one)) for one in found],
                "texts": [_text(_gpu(one)) for one in found],
                "bars": [_bars(one) for one in found],
                "bounds": [BOUND[decides(one.estimate)][0] for one in found],
                "who": who,
                "turn": _turn(who),
                "heads": [head(one) for one in found],
                "says": [says(one) for one in found],
                "line": str(Line("width", self._rows, tuple(one.point for one in found))),
            }
        )

    def data(self, layers: Sequence[Layer] = ()) -> dict[str, Any]:
        """Return it all as JSON can hold it: the view with the knob, and the one with published times."""
        first = {
            "question": QUESTION,
            "work": (ARTICLE if self._article else OWN).format(rows=f"{self._rows:,}"),
            "chip": CHIP,
            "axis": "w, the width",
            "stops": [one.width for one in self._points],
            "home": "the article's size" if self._rows == 100 and self._starts_at(10) else "",
            "invite": INVITE,
            "cpu": {
                "times": [_time(one.cpu) for one in self._points],
                "texts": [_text(one.cpu) for one in self._points],
            },
            "cards": self._cards,
            "dots": [],
            "notes": self._notes(),
        }
        return {"views": [first, *([against(layers)] if layers else [])]}

    def _starts_at(self, width: int) -> bool:
        return bool(self._points) and self._points[0].width == width

    def _notes(self) -> list[str]:
        cautions = [one.cpu.caution for one in self._points if one.cpu.caution][:1]
        counts = Counter(why for _, why in self._left_out)
        gaps = (
            [f"Left out: {', '.join(f'{count} {why}' for why, count in counts.items())}."] if counts else []
        )
        host = f" ({self._host.partition(': ')[2]})" if self._cards and ": " in self._host else ""
        return [HERE.format(host=host), *([NONE] if self._article else []), *gaps, *cautions]


def head(one: Estimated) -> str:
    """Return who is ahead, and how far at least and at most."""
    who = one.point.leader
    if not who:
        return NOBODY
    worst, best = _gpu(one).range, one.point.cpu.range
    slow, fast = (best, worst) if who == "GPU" else (worst, best)
    return f"The {who} is {_times(slow[0] / fast[1], slow[1] / fast[0])} times as fast"


def says(one: Estimated) -> str:
    """Return why: what the card's time goes into, and where nobody leads, what hides it."""
    why = BOUND[decides(one.estimate)][1].format(count=one.estimate.operators)
    if one.point.leader:
        return why
    overlap = (
        "Their ranges overlap." if _overlap(one) else "This machine was busy, which may explain the gap."
    )
    return f"{overlap} {why}"


def decides(one: Estimate) -> str:
    """Return what the time hangs on: the longer of the CPU's launching and the card's work, and of that what is most of it.

    `Estimate.bound` compares the parts of the sum. Arithmetic that hides behind launches counts there in full.
    """
    if one.bound in ("transfer", "host"):
        return one.bound
    if one.submit >= one.work:
        return "launch"
    return "compute" if one.compute >= one.memory else "memory"


def against(layers: Sequence[Layer]) -> dict[str, Any]:
    """Return the view of one layer: the estimated line, and the published points around it."""
    return {
        "question": SECOND,
        "work": f"One layer, Linear(w, {TIMES}w), forward, {ROWS:,} rows, on a {CARD}.",
        "chip": "line estimated; points published",
        "axis": "w, the width",
        "stops": [layer.width for layer in layers],
        "home": "",
        "invite": "",
        "cpu": None,
        "cards": [
            {
                "name": CARD,
                "times": [[one.low, one.seconds, one.high] for one in (layer.estimate for layer in layers)],
                "texts": [_span(layer.estimate) for layer in layers],
                "bars": [],
                "bounds": [BOUND[decides(layer.estimate)][0] for layer in layers],
                "who": ["" for _ in layers],
                "turn": None,
                "heads": [f"Published: {units.seconds(layer.seconds)}" for layer in layers],
                "says": [_held(layer) for layer in layers],
                "line": "",
            }
        ],
        "dots": [layer.seconds for layer in layers],
        "notes": [f"Points: {SOURCE}, PyTorch 2.1.", FITTED],
    }


def _held(layer: Layer) -> str:
    ratio = layer.estimate.seconds / layer.seconds
    where = "inside" if layer.within else "outside"
    return f"Estimated {_span(layer.estimate)}: {ratio:.2f} times the published time, which lies {where} our range."


def _text(timing: Timing) -> str:
    return f"{units.seconds(timing.median)} ({units.span(*timing.range, timing.median)})"


def _span(one: Estimate) -> str:
    return f"{units.seconds(one.seconds)} ({units.span(one.low, one.high, one.seconds)})"


def _bars(one: Estimated) -> list[Any]:
    submit, work = one.estimate.submit, one.estimate.work
    return [submit, work, units.seconds(submit), units.seconds(work)]


def _time(timing: Timing) -> list[float]:
    low, high = timing.range
    return [low, timing.median, high]


def _gpu(one: Estimated) -> Timing:
    assert one.point.gpu is not None
    return one.point.gpu


def _overlap(one: Estimated) -> bool:
    worst, _, best = one.point.gains
    return worst <= 0 <= best


def _turn(who: Sequence[str]) -> int | None:
    """Return the first stop at which a device leads that did not before: after the other one, or after nobody; else None."""
    clear = [(number, name) for number, name in enumerate(who) if name]
    firsts = [next(group)[0] for _, group in groupby(clear, key=lambda pair: pair[1])]
    return next(iter(firsts[1:] or [stop for stop in firsts if stop > 0]), None)


def _times(low: float, high: float) -> str:
    words = [f"{value:.1f}" if value < 9.95 else f"{value:,.0f}" for value in (low, high)]
    return words[0] if words[0] == words[1] else f"{words[0]} to {words[1]}"
