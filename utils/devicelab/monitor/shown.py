"""What a monitor returns, as people and programs read it: one sentence, what "utilization" means, a picture, plain data."""

from dataclasses import asdict, dataclass

from devicelab.picture import Picture, Shown

from . import words
from .plot import plot
from .result import Observed


@dataclass(frozen=True, repr=False)
class Load(Shown, Observed):
    """What CPU and GPU did between the start and the end of a `with lab.monitor() as m:` block."""

    def sentence(self) -> str:
        """Return the answer in one sentence."""
        return words.sentence(self)

    def __str__(self) -> str:
        return "\n".join(words.lines(self)) if "samples" in vars(self) else "a monitor that is still running"

    def plot(self) -> Picture:
        """Return a picture of the load over time; needs matplotlib."""
        return plot(self)

    def to_dict(self) -> dict[str, object]:
        """Return plain data for JSON; times in seconds, sizes in bytes, power in watts, shares from 0 to 1."""
        means = ("cpu", "process", "gpu", "memory", "power")
        return asdict(self) | {name: getattr(self, name) for name in means}
