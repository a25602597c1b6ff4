"""A picture of lanes as it is shown: alive in a notebook, as a still, as text."""

from dataclasses import dataclass, field
from typing import Any

from devicelab.picture import Moving, Picture

from .scene import Track, plain
from .still import still


@dataclass(frozen=True, repr=False)
class Lanes(Moving):
    """Who worked when, on one time axis: `tracks` below each other, each with a lane for every device.

    `said` is the picture in words, `chip` how its times are known. `marks` are drawn over the first track, `clocks` below it, as
    in still.py. `more` is what the ES module needs to draw other frames than the first.
    """

    question: str
    chip: str
    tracks: tuple[Track, ...]
    said: str
    kind: str = "timeline"
    notes: tuple[str, ...] = ()
    marks: tuple[tuple[str, float], ...] = ()
    clocks: tuple[tuple[str, float], ...] = ()
    floor: tuple[float, str] | None = None
    more: dict[str, Any] = field(default_factory=dict)
    module = "lanes"

    def data(self) -> dict[str, Any]:
        """Return what the moving picture is drawn from, as plain data for JSON; times in µs."""
        head = {"kind": self.kind, "question": self.question, "chip": self.chip, "notes": list(self.notes)}
        return head | {"say": self.said} | plain(self.tracks) | self.more

    def still(self) -> Picture:
        """Return the first frame. Needs matplotlib."""
        return still(self, f"{self.question} ({self.chip}) {self.said}")

    def __str__(self) -> str:
        return "\n".join([f"{self.question} ({self.chip})", f"  {self.said}", *self.notes])
