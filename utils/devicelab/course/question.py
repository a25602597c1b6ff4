"""A question of an exercise: three outcomes, hints step by step, a solution in the end."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from devicelab import html
from devicelab.expect import trimmed

State = Literal["not attempted", "not yet", "passed"]
TRIES = 3  # after so many tries the solution is shown without asking twice
_COLOURS = {"not attempted": "#555", "not yet": "#8a4b00", "passed": "#006400"}


@dataclass(frozen=True)
class Outcome:
    """What a check or a hint says: a state and a text."""

    state: State | Literal["hint", "solution"]
    text: str

    def __str__(self) -> str:
        return f"{self.state.capitalize()}. {self.text}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        colour = _COLOURS.get(self.state, "inherit")
        heading = f'<b style="color:{colour}">{self.state.capitalize()}.</b>'
        return f'<p style="white-space:pre-wrap">{heading} {html.escape(self.text)}</p>'


class NotYet(Exception):
    """Raised by a judge: the answer was tried, and this is what was seen and what to try."""


class NotAttempted(Exception):
    """Raised by a judge: the stub is still there."""


@dataclass
class Question:
    """One question; `judge` takes the learner's answer and raises NotYet or NotAttempted unless it is right.

    `start_here` says what to do when the cell is untouched, `praise` what the right answer shows, `hints` go from a
    question to the name of the API, `answer` is the reference answer as text.
    """

    judge: Callable[..., None]
    start_here: str
    praise: str
    hints: Sequence[str]
    answer: str
    tries: int = field(default=0, init=False)
    passed: bool = field(default=False, init=False)
    _hints_given: int = field(default=0, init=False)
    _asked: bool = field(default=False, init=False)

    def check(self, *answer: object) -> Outcome:
        """Judge the answer on the present device; nothing of the learner's is changed."""
        if not answer or any(part is ... for part in answer):
            return Outcome("not attempted", self.start_here)
        try:
            with unchanged():
                self.judge(*answer)
        except NotAttempted:
            return Outcome("not attempted", self.start_here)
        except NotYet as seen:
            self.tries += 1
            return Outcome("not yet", str(seen))
        except Exception as error:  # the learner's own, shown as theirs
            self.tries += 1
            return Outcome("not yet", f"Your code stopped with an error of its own:\n{trimmed(error)}")
        self.passed = True
        return Outcome("passed", self.praise)

    def hint(self) -> Outcome:
        """Return the next hint; after the last one, the last again."""
        number = min(self._hints_given, len(self.hints) - 1)
        self._hints_given += 1
        return Outcome("hint", f"({number + 1} of {len(self.hints)}) {self.hints[number]}")

    def solution(self) -> Outcome:
        """Return the reference answer after a pass or three tries, or when asked a second time."""
        if self.passed or self.tries >= TRIES or self._asked:
            return Outcome("solution", f"One way:\n{self.answer}")
        self._asked = True
        return Outcome(
            "solution", "You have tries left, and hint() may be enough. Ask once more and it is shown."
        )


@contextmanager
def unchanged() -> Iterator[None]:
    """Restore seeds, default device and gradient mode, whatever the block does with them."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    device, gradients, dtype = torch.get_default_device(), torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)
