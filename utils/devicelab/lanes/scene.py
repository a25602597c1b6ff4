"""Bars, lanes and tracks: what a picture of lanes is drawn from, as plain data for JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

WAIT = "wait"
KINDS = ("forward", "backward", "optimizer", "other", "copy", "load", WAIT)
MOST_BARS = 300  # of a lane; where there are more, neighbours of one kind that are thinner than a pixel are drawn as one
_PIXELS = 900


@dataclass(frozen=True)
class Bar:
    """Something that one device did: seconds from the picture's begin, what kind it is, and whose it is.

    `order` is the number of an order: the CPU's bar, which writes it, and the card's, which works it off, have the same.
    """

    begin: float
    seconds: float
    kind: str
    name: str = ""
    order: int = -1

    @property
    def end(self) -> float:
        """When it ended."""
        return self.begin + self.seconds


@dataclass(frozen=True)
class Lane:
    """What one device did, in the order in which it began."""

    device: str
    label: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Track:
    """Lanes that belong together; `end` is when all was done, None where the picture shows a part."""

    lanes: tuple[Lane, ...]
    title: str = ""
    end: float | None = None

    @property
    def length(self) -> float:
        """The seconds that it takes up."""
        ends = [bar.end for lane in self.lanes for bar in lane.bars]
        return max([*ends, self.end or 0.0, 1e-9])


def busy(lane: Lane, waiting: bool = False) -> float:
    """Return for how many seconds a lane works, or waits; where bars overlap, the time counts once."""
    seconds = reached = 0.0
    for bar in sorted(lane.bars, key=lambda bar: bar.begin):
        if (bar.kind == WAIT) is waiting:
            seconds += max(0.0, bar.end - max(bar.begin, reached))
            reached = max(reached, bar.end)
    return seconds


def plain(tracks: Sequence[Track]) -> dict[str, Any]:
    """Return tracks as plain data: times in µs, names by their number.

    A bar is [begin, length, number in KINDS, number in `names`, order].
    """
    names: dict[str, int] = {}
    length = max((track.length for track in tracks), default=1e-9)

    def bar(one: Bar) -> list[float]:
        number = names.setdefault(one.name, len(names))
        return [_micro(one.begin), _micro(one.seconds), KINDS.index(one.kind), number, one.order]

    found = [
        {
            "title": track.title,
            "end": None if track.end is None else _micro(track.end),
            "lanes": [
                {
                    "device": lane.device,
                    "label": lane.label,
                    "bars": [bar(one) for one in fewer(lane.bars, length)],
                }
                for lane in track.lanes
            ],
        }
        for track in tracks
    ]
    return {"tracks": found, "names": list(names), "length": _micro(length)}


def fewer(bars: Iterable[Bar], length: float) -> list[Bar]:
    """Return the bars of a lane, of very many those that no eye can tell apart as one."""
    ordered = sorted(bars, key=lambda bar: bar.begin)
    if len(ordered) <= MOST_BARS:
        return ordered
    pixel = length / _PIXELS
    joined: list[tuple[Bar, int]] = []
    for bar in ordered:
        last, count = joined[-1] if joined else (bar, 0)
        if count and last.kind == bar.kind and bar.seconds < pixel and bar.begin - last.end < pixel:
            end = max(last.end, bar.end)
            joined[-1] = Bar(last.begin, end - last.begin, bar.kind), count + 1
        else:
            joined.append((bar, 1))
    return [
        bar if count == 1 else Bar(bar.begin, bar.seconds, bar.kind, f"{count} operators")
        for bar, count in joined
    ]


def _micro(seconds: float) -> float:
    return round(1e6 * seconds, 2)
