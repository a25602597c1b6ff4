"""What a check, a hint or a solution says, and the two ways in which a judge says no."""

from dataclasses import dataclass
from typing import Literal

from devicelab import html

CALLED = "The check called"  # begins the note on an error of the learner's function
State = Literal["not attempted", "not yet", "passed", "hint", "solution"]
# White on each of these is read well (7 to 1) whatever the theme; a coloured word would not be in both.
_GROUNDS = {"not attempted": "#555", "not yet": "#8a4b00", "passed": "#006400"}
_BADGE = "color:#fff;background:{ground};padding:1px 8px;border-radius:4px"


@dataclass(frozen=True)
class Outcome:
    """A state, a text, and notes on what else the learner has to know (such as progress that could not be stored)."""

    state: State
    text: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([f"{self.state.capitalize()}. {self.text}", *self.notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        style = _BADGE.format(ground=_GROUNDS[self.state]) if self.state in _GROUNDS else ""
        heading = f'<b style="{style}">{self.state.capitalize()}.</b>'
        first, _, rest = self.text.partition("\n")  # what follows the sentence is code, a traceback or a list
        notes = "".join(f"<p>{html.prose(note)}</p>" for note in self.notes)
        return f"<p>{heading} {html.prose(first)}</p>{html.block(rest) if rest else ''}{notes}"


class NotYet(Exception):
    """Raised by a judge: the answer was tried; the message says what was seen, where, and what to think about."""


class NotAttempted(Exception):
    """Raised by a judge: the stub is still there."""
