"""One thing that goes wrong on the way to a GPU."""

from collections.abc import Iterable
from dataclasses import dataclass

# The kinds of machine for which an entry can have a command of its own, the most special first.
MACHINES = (
    "Colab",
    "Kaggle",
    "Jetson",
    "WSL",
    "container",
    "aarch64",
    "conda",
    "uv",
    "Windows",
    "macOS",
    "Linux",
)
SURE = {
    "yes": "these words have one meaning",
    "mostly": "the usual cause; other causes have the same words",
    "no": "the words alone do not tell the cause; the lines above do",
}
FROM_TEXT = ("MPS", "ROCm", "XPU", "TPU, Ascend")  # areas of which nobody here had a machine


@dataclass(frozen=True)
class Entry:
    """What certain words mean, and what to do; `words` are texts with the versions that say so, `do` commands by machine."""

    id: str
    area: str
    words: dict[str, str]
    means: str
    why: str
    do: dict[str, str]
    sure: str
    source: tuple[str, ...]
    tell: tuple[str, ...] = ()
    kind: str = ""
    special: bool = False
    general: bool = False

    @property
    def confidence(self) -> str:
        """How sure it is that these words mean this."""
        said = SURE[self.sure]
        return f"{said}; from the text only, on no such machine" if self.area in FROM_TEXT else said

    def command(self, machines: Iterable[str] = ()) -> str:
        """Return what to type on a machine, which can be of several kinds: the most special one counts."""
        kinds = set(machines)
        return next((self.do[one] for one in MACHINES if one in kinds and one in self.do), self.do["any"])

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """What to type on machines where it is something else."""
        return tuple(f"{machine}: {self.do[machine]}" for machine in MACHINES if machine in self.do)
