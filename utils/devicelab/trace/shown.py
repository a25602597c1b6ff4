"""What a trace returns, as people and programs read it: text, a table, a picture, plain data."""

from dataclasses import asdict, dataclass

from devicelab.lanes import Lanes
from devicelab.picture import Shown, Table

from . import words
from .result import Observed
from .timeline import timeline


@dataclass(frozen=True, repr=False)
class Trace(Shown, Observed):
    """What ran on which device between the start and the end of a `with lab.trace() as t:` block."""

    def verdict(self) -> str:
        """Return the answer in one sentence."""
        return words.verdict(self)

    def __str__(self) -> str:
        return (
            "\n".join(words.summary(self)) if "operators" in vars(self) else "a trace that is still running"
        )

    def table(self) -> Table:
        """Return operators by device, phase and line, the longest first."""
        return words.table(self)

    def text(self) -> str:
        """Return everything as text: the sentence, all operators, copies and synchronizations."""
        return words.text(self)

    def timeline(self, whole: bool = False) -> Lanes:
        """Return a picture: what each device did, and when; of a training its first steps, or all (`whole`)."""
        return timeline(self, whole)

    def to_dict(self) -> dict[str, object]:
        """Return plain data for JSON; every time in seconds, sizes in bytes."""
        data = {name: getattr(self, name) for name in ("steps", "seconds", "origin", "card", "name", "notes")}
        for name in ("operators", "copies", "synchronizations", "hazards"):
            data[name] = [asdict(item) for item in getattr(self, name)]
        data["rank"], data["collectives"] = self.rank, self.collectives
        data["waited_for"] = [{"rank": rank, "seconds": seconds} for rank, seconds in self.waited_for]
        data["phases"] = {name: list(phase.devices) for name, phase in self.phases.items()}
        data["faults"] = [{"message": message, "line": str(line or "")} for message, line in self.faults]
        return data | {"verdict": self.verdict()}
