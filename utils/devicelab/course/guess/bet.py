"""What was bet on a question, what the result was, and what is said then: no mark, but where the bet would be true."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from devicelab.errors import InputError, listed

from .numbers import NEAR, factor, number, off_by, reply_to, shown, value_of

NOT_SURE = "not sure"
TRUTH = (
    "truth"  # the key of what the result is in guesses.yaml; the word `measured` where only the run knows it
)
DECIDES, NEXT = (
    "decides",
    "next",
)  # the keys of what is said to everybody, and of a next step for who was not sure
KEYS = (TRUTH, DECIDES, NEXT)
_UNSAID = "Compare the output with your guess."


def _nowhere(said: str) -> None:
    """Say nothing: the question has no box."""


@dataclass(frozen=True)
class Settled:
    """How a bet that was placed in time ended: `off` by a factor, 1 or `inf` for a choice, None if unknown; `how` in words."""

    question: str
    bet: str
    outcome: str
    off: float | None
    how: str = ""


class Bet:
    """A question with what was bet on it, if anything, and whether its result stands there."""

    def __init__(self, question: str, words: Mapping[Any, Any]) -> None:
        self.question, self.words = question, words
        self.until = ""
        self.value: float | str | None = None
        self.fresh = False  # asked in the cell that is running
        self.settled = False  # its result came since it was last asked
        self.outcome: Any = None
        self.record: Settled | None = None
        self.say: Callable[[str], object] = _nowhere  # puts HTML into the question's box, where there is one

    @property
    def text(self) -> str:
        """What was bet, in the learner's words."""
        return str(self.value)

    def place(self, text: str) -> None:
        """Place the bet, or place it anew; InputError says what can be bet."""
        raise NotImplementedError

    def reply(self) -> tuple[str, ...]:
        """Return what is said under the result: the bet in the learner's words, where it would be true, what decides."""
        unsure = self.value == NOT_SURE
        own = self._unsure() if unsure else self._own()
        return (*own, self.words.get(DECIDES, ""), self.words.get(NEXT, "") if unsure else "")

    def settle(self, names: Mapping[str, Any]) -> None:
        """Note that the result stands there; `names` are what the notebook's names mean now."""
        self.outcome = self._outcome(names)
        self.settled = True
        if self.value is not None:
            self.record = self._record()

    def _outcome(self, names: Mapping[str, Any]) -> Any:
        return self.words.get(TRUTH)

    def _own(self) -> tuple[str, str]:
        raise NotImplementedError

    def _unsure(self) -> tuple[str, str]:
        raise NotImplementedError

    def _record(self) -> Settled:
        raise NotImplementedError


class Choice(Bet):
    """A bet on one of some options."""

    def __init__(self, question: str, words: Mapping[Any, Any], options: Sequence[str]) -> None:
        super().__init__(question, words)
        self.options = [*options, NOT_SURE]

    def place(self, text: str) -> None:
        """Place the bet: an option, or its number from 1 up."""
        numbered = dict(enumerate(self.options, start=1))
        choice = (
            numbered.get(int(text), text)
            if str(text).strip().isdigit() and text not in self.options
            else text
        )
        if choice not in self.options:
            raise InputError(
                f"{text!r} is none of the answers. Choose from {listed(self.options)}, or by number."
            )
        self.value = choice

    def _own(self) -> tuple[str, str]:
        return f"You said: {self.text}.", self.words.get(self.value, _UNSAID)

    def _unsure(self) -> tuple[str, str]:
        return "You were not sure.", self.words.get(NOT_SURE, "" if self.words.get(DECIDES) else _UNSAID)

    def _record(self) -> Settled:
        known = self.outcome in self.options and self.value != NOT_SURE
        off = (1.0 if self.value == self.outcome else float("inf")) if known else None
        return Settled(self.question, self.text, str(self.outcome) if known else "", off)


class Number(Bet):
    """A bet on a number; `against` shows it beside an outcome where no `until` says what settles it."""

    def __init__(self, question: str, words: Mapping[Any, Any], unit: str) -> None:
        super().__init__(question, words)
        self.unit = unit

    def place(self, text: str) -> None:
        """Place the bet: a number, or "not sure"."""
        text = str(text).strip()
        self.value = NOT_SURE if text.lower() == NOT_SURE else number(text, self.unit)

    @property
    def text(self) -> str:
        """What was bet, with its unit."""
        return shown(self.value, self.unit) if isinstance(self.value, float) else str(self.value)

    def verdict(self, truth: float, word: str = "it is") -> str:
        """Return bet and truth in one line, and the sentence that goes with this bet in another."""
        outcome = f"{word} {shown(truth, self.unit)}"
        if self.value is None:
            return f"No bet placed; {outcome}."
        if isinstance(self.value, str):
            return f"You were not sure; {outcome}.\n{self.words.get(NOT_SURE, '')}".strip()
        how = off_by(self.value, truth)
        return f"You bet {self.text}; {outcome}: your bet was {how}.\n{reply_to(self.value, truth, self.words)}".strip()

    def against(self, outcome: object) -> None:
        """Print the bet beside the outcome: a number in the bet's unit, or an instrument's result."""
        value, origin = value_of(outcome, self.unit)
        print(self.verdict(value, origin or "it is"))

    def _outcome(self, names: Mapping[str, Any]) -> tuple[float, str]:
        """Return the number that decides and the word for it: what the name `until` means now, else the known truth."""
        outcome = names.get(self.until, self.words.get(TRUTH))
        if outcome is None or outcome == "measured":
            raise InputError(
                f"The bet on {self.question!r} is not settled: {self.until!r} is no name of a number."
            )
        return value_of(outcome, self.unit)

    def _own(self) -> tuple[str, str]:
        value, origin = self.outcome
        head, _, own = self.verdict(value, origin or "it is").partition("\n")
        return head, own

    _unsure = _own

    def _record(self) -> Settled:
        truth, _ = self.outcome
        if not isinstance(self.value, float):
            return Settled(self.question, self.text, shown(truth, self.unit), None)
        how = off_by(self.value, truth)
        return Settled(self.question, self.text, shown(truth, self.unit), factor(self.value, truth), how)

    def __repr__(self) -> str:
        return f"A bet on {self.question!r}: {'not placed' if self.value is None else self.text}."

    def _ipython_display_(self) -> None:
        """Show nothing where the cell ends with the guess: its box stands there already."""


def is_surprise(settled: Settled) -> bool:
    """Say whether a bet went otherwise than it was placed, by more than the factor that counts as near."""
    return settled.off is not None and settled.off > NEAR
