"""The bets of a lesson, looked back on: the furthest miss first, and never a mark."""

from collections.abc import Sequence
from dataclasses import dataclass

from devicelab import html
from devicelab.picture import Shown

from .bet import NOT_SURE, Settled, is_surprise
from .settling import bets

NONE = "No bet to look back on: none was placed before its result."


@dataclass(frozen=True, repr=False)
class Tally(Shown):
    """The settled bets of this kernel that were placed before their results."""

    settled: Sequence[Settled]

    def __str__(self) -> str:
        return "\n".join(_lines(self.settled))

    def _repr_html_(self) -> str:
        return html.paragraphs(str(self))


def tally() -> Tally:
    """Look back on the bets that were placed in this kernel: what was furthest off, what came as it was said."""
    return Tally([bet.record for bet in bets.values() if bet.record])


def _lines(settled: Sequence[Settled]) -> list[str]:
    if not settled:
        return [NONE]
    surprises = sorted(
        filter(is_surprise, settled), key=lambda one: (not one.how, -(one.off or 0))
    )  # numbers first
    lines = [f"{_word(place, one)}: {_told(one)}" for place, one in enumerate(surprises)]
    rest = [one for one in settled if one not in surprises]
    unsure = [one for one in rest if one.bet == NOT_SURE]
    open_ = [one for one in rest if one.off is None and one not in unsure]
    lines += [f"Judge this one yourself, by the times above: {_said(one)}." for one in open_]
    as_said = len(rest) - len(unsure) - len(open_)
    if as_said:
        lines.append(f"As you said, or near it: {as_said} of your {len(settled)} bets.")
    if unsure:
        lines.append(f"Not sure before, and told since: {len(unsure)}.")
    if surprises:
        lines.append("What went otherwise than you said is what this lesson gave you.")
    return lines


def _word(place: int, one: Settled) -> str:
    return "Furthest off" if place == 0 and one.how else "Otherwise than you said"


def _said(one: Settled) -> str:
    return f'you said "{one.bet}" to "{one.question}"'


def _told(one: Settled) -> str:
    how = f", {one.how}" if one.how else ""
    return f'{_said(one)}, and it was "{one.outcome}"{how}.'
