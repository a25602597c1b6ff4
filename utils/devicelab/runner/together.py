"""The verdict on a script and on the processes that it started: one word, one sentence, one table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from devicelab import units
from devicelab.picture import columns
from devicelab.trace.words import LEAST_WAIT, label, listed, plural
from devicelab.verdict import NO_LEARNING, Verdict

from .family import Member

WORST = ("mismatch", "cpu", "mixed", "accelerator", "no-training")  # the first of them is said of all
MOST_ROWS = 16
MOST_LINES = 7  # of one process
MOST_WAITS = 4
NO_WORD = "no torch was imported there, or it heeds no variables (-I, -E, -S)"
_HEADER = ("process", "trained on", "steps", "copies", "waits", "ended")


@dataclass(frozen=True)
class Together:
    """The script's own verdict, and the processes that it started; without any, all is as the verdict says it.

    `unseen` counts Pythons that it started and that told nothing.
    """

    verdict: Verdict
    members: tuple[Member, ...] = ()
    unseen: int = 0

    @property
    def rows(self) -> list[Member]:
        """The processes that count."""
        return [one for one in self.members if one.is_worth_a_row]

    @property
    def words(self) -> set[str]:
        """The words of all that trained or should have; a script that only starts others has none of its own."""
        counting = [one for one in self.rows if one.devices or one.rank is not None or one.word == "mismatch"]
        words = {one.word for one in counting if one.word}
        return words if words and self.verdict.word == "no-training" else words | {self.verdict.word}

    @property
    def faults(self) -> set[str]:
        """What --fail-on looks at: the words, and "no-learning" where an optimizer of any process changed nothing."""
        learned = [not self.verdict.vain, *(one.data.get("learned") is not False for one in self.rows)]
        return self.words if all(learned) else self.words | {NO_LEARNING}

    @property
    def word(self) -> str:
        """The worst of them."""
        return min(self.words, key=WORST.index)

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        if self.word == "mismatch":
            return next((self._of(one) for one in self.rows if one.word == "mismatch"), self.verdict.sentence)
        if any(one.devices for one in self.rows):
            return self._where()
        silent = next((one for one in self.rows if one.word is None), None)
        if silent is None or self.verdict.trace.training:
            return self.verdict.sentence
        return f"{self._named(silent)} told nothing ({silent.end}): what it did is not known."

    def _of(self, one: Member) -> str:
        return f"{self._named(one)}: {one.data['sentence']}"

    def _named(self, one: Member) -> str:
        return one.title if one.rank is None else f"Rank {one.rank}"

    def _where(self) -> str:
        """Say on what was trained, and where that differs, by whom."""
        own = self.verdict.trace.training
        idle = [one.title for one in self.rows if one.rank is not None and not one.devices]
        rest = f"; {_few(idle)} trained nothing" if idle else ""
        where: dict[str, list[str]] = {listed(own): ["the script itself"]} if own else {}
        for one in self.rows:
            if one.devices:
                where.setdefault(listed(one.devices), []).append(one.title)
        if len(where) == 1:
            [(devices, names)] = where.items()
            return f"Training ran on {devices}, in {names[0] if len(names) == 1 else plural(len(names), 'process')}{rest}."
        return f"Training ran {listed(f'on {devices} ({_few(names)})' for devices, names in where.items())}{rest}."

    def __str__(self) -> str:
        if not self.rows:
            return "\n".join([str(self.verdict), *(f"  {note}" for note in self._notes())])
        lines = [*self._table(), *self._details(), *self._own(), *self._notes()]
        return "\n".join([f"{self.sentence} {label(self.verdict.trace)}", *(f"  {line}" for line in lines)])

    def _table(self) -> list[str]:
        shown = self.rows[:MOST_ROWS]
        more = len(self.rows) - len(shown)
        left = [f"... and {plural(more, 'process')} more in --json FILE"] if more else []
        return [*columns([_HEADER, *(one.row for one in shown)], right=(2, 3, 4)), *left]

    def _details(self) -> Iterator[str]:
        """Yield what is to be said of the process that matters most: one that failed, else the first that trained."""
        by_need = (
            lambda one: one.word == "mismatch",
            lambda one: one.data.get("error"),
            lambda one: one.devices,
        )
        chosen = next((one for need in by_need for one in self.rows if need(one)), None)
        if chosen is not None:
            yield f"{chosen.title}: {chosen.data['sentence']}"
            lines = chosen.data["lines"][1:]
            yield from lines if chosen.data.get("explanation") else lines[:MOST_LINES]

    def _own(self) -> Iterator[str]:
        """Yield what is to be said of the script itself: on what it trained, and what ended it."""
        if self.verdict.trace.training:
            yield f"the script itself: {self.verdict.trace.verdict()}"
        if self.verdict.error:
            yield f"the script itself ended with {self.verdict.first_error}"

    def _notes(self) -> Iterator[str]:
        if self.rows:
            yield from self.verdict.notes
        yield from self._crowded()
        yield from self._late()
        if self.unseen:
            yield f"{plural(self.unseen, 'Python')} that the script started told nothing: {NO_WORD}"

    def _crowded(self) -> Iterator[str]:
        """Yield which ranks share a card: each should have one of its own."""
        on: dict[tuple[Any, str], list[str]] = {}
        for one in self.rows:
            for device in one.devices if one.rank is not None else ():
                if not device.startswith("cpu"):
                    on.setdefault((one.data["process"]["visible"], device), []).append(one.title)
        for (_, device), names in on.items():
            if len(names) > 1:
                yield f"{_few(names)} trained on the same card, {device}"

    def _late(self) -> Iterator[str]:
        """Yield who waited for whom where the ranks met, the longest waits first."""
        waits = [
            (each["seconds"], f"{one.title} waited {units.seconds(each['seconds'])} for rank {each['rank']}")
            for one in self.rows
            for each in one.data.get("waited_for") or ()
            if each["seconds"] >= LEAST_WAIT
        ]
        waits.sort(key=lambda each: -each[0])
        if waits:
            more = [f"{len(waits) - MOST_WAITS} more in --json FILE"] if len(waits) > MOST_WAITS else []
            said = listed([*(text for _, text in waits[:MOST_WAITS]), *more])
            met = max(one.data.get("collectives") or 0 for one in self.rows)
            yield f"at {plural(met, 'collective')} {said} (simulated)"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON: the verdict on all, the script's own trace, and each process with its own."""
        notes = [*self.verdict.trace.notes, *self.verdict.notes, *self._crowded(), *self._late()]
        data = {**self.verdict.to_dict(), "verdict": self.word, "sentence": self.sentence, "notes": notes}
        return {**data, "children": [one.to_dict() for one in self.rows], "unseen_processes": self.unseen}


def _few(names: list[str]) -> str:
    return listed(names) if len(names) <= 4 else f"{listed(names[:3])} and {len(names) - 3} more"
