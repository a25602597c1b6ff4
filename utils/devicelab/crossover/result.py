"""The crossover as it is shown: alive in a notebook, as a picture, as text."""

from dataclasses import dataclass
from typing import Any

from devicelab.picture import Moving, Picture

from .still import still


@dataclass(frozen=True, repr=False)
class Crossing(Moving):
    """A step's time over its width, on this CPU and on cards: both lines, the place where the lead changes, and why.

    `views` are plain data: the first with the knob; the second, where there is one, holds the card's line against published
    times. Times in seconds.
    """

    scenes: dict[str, Any]
    module = "crossover"

    @property
    def widths(self) -> list[int]:
        """The widths that were timed."""
        return self.scenes["views"][0]["stops"]

    def turn(self, card: str | None = None) -> int | None:
        """Return the first width tried from which another device leads, of the first card if none is named; else None."""
        found = next(one for one in self.scenes["views"][0]["cards"] if card in (None, one["name"]))
        return None if found["turn"] is None else self.widths[found["turn"]]

    def data(self) -> dict[str, Any]:
        """Return what the moving picture is drawn from, as plain data for JSON."""
        return self.scenes

    def still(self) -> Picture:
        """Return the picture of both lines over all widths, for the first card. Needs matplotlib."""
        view = self.scenes["views"][0]
        lines = " ".join(f"{card['name']}: {card['line']}" for card in view["cards"][:1])
        return still(view, f"{view['question']} {view['work']} {lines} {' '.join(view['notes'])}")

    def __str__(self) -> str:
        first, *rest = self.scenes["views"]
        lines = [f"{first['question']} {first['work']}"]
        lines += [f"  {_said(first, stop)}" for stop in range(len(first["stops"]))]
        lines += [f"  {card['name']}: {card['line']}" for card in first["cards"]]
        lines += first["notes"]
        for view in rest:
            lines += [f"{view['question']} {view['work']}"]
            card = view["cards"][0]
            found = zip(view["stops"], card["heads"], card["says"], strict=True)
            lines += [f"  w = {width:,}: {head}. {says}" for width, head, says in found]
            lines += view["notes"]
        return "\n".join(lines)


def _said(view: dict[str, Any], stop: int) -> str:
    """Return what the picture says of one width, for its first card."""
    card = view["cards"][0]
    submit, work = card["bars"][stop][2:]
    ours = f"{card['name']} {card['texts'][stop]} estimated, the CPU launches {submit} while the card works {work}"
    cpu = f"w = {view['stops'][stop]:,}: CPU {view['cpu']['texts'][stop]} measured"
    return f"{cpu}; {ours}, bound by {card['bounds'][stop]}. {card['heads'][stop]}."
