"""Where tensors are: one line each, the misplaced ones first."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from devicelab import html, units
from devicelab.picture import Shown

LINES = 8  # what is shown without being asked for more
STAYS = {
    "attribute": "a plain attribute, which .to() does not move",
    "optimizer state": "made before the move",
}


@dataclass(frozen=True)
class Place:
    """One tensor: its name, kind, device, shape (None while a lazy parameter has none) and size in bytes.

    `expected` marks what PyTorch itself keeps on the CPU, such as Adam's step counter.
    """

    name: str
    kind: str
    device: str
    shape: tuple[int, ...] | None
    bytes: int
    expected: bool = False

    @property
    def why(self) -> str:
        """What it is, and why a move passed it by, where the kind tells."""
        if self.kind.startswith("inside the attribute"):
            return f"{self.kind}, which .to() does not look into"
        return STAYS.get(self.kind, self.kind)

    def __str__(self) -> str:
        shape = "shape not known yet" if self.shape is None else f"{list(self.shape)}"
        return f"{self.name}  {self.device}  {shape}  {units.size(self.bytes)}  ({self.why})"


@dataclass(frozen=True, repr=False)
class Placement(Shown):
    """Every tensor that was found; `str()` is a sentence and at most eight lines, `table()` has all of them."""

    places: tuple[Place, ...]
    truncated: bool = False
    rank: int | None = None

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The devices in use, the one with the most bytes of parameters first."""
        weight: Counter[str] = Counter()
        for place in self.places:
            weight[place.device] += place.bytes + 1 if "parameter" in place.kind else 0
        return tuple(sorted({place.device for place in self.places}, key=lambda name: (-weight[name], name)))

    @cached_property
    def target(self) -> str | None:
        """The device on which the rest should be: an accelerator with parameters before any other, then the fullest."""
        accelerators = [name for name in self.devices if not name.startswith(("cpu", "meta"))]
        return next(iter((*accelerators, *self.devices)), None)

    @cached_property
    def misplaced(self) -> tuple[Place, ...]:
        """The tensors that are elsewhere, without those that PyTorch itself keeps on the CPU."""
        return tuple(place for place in self.places if place.device != self.target and not place.expected)

    @property
    def sentence(self) -> str:
        """The answer in one sentence, with the rank of this process where there are several."""
        return self._answer if self.rank is None else f"Rank {self.rank}: {self._answer}"

    @property
    def _answer(self) -> str:
        if not self.places:
            return "No tensor was found."
        total = sum(1 for place in self.places if not place.expected)
        if not self.misplaced:
            return f"Everything is on {self.target}: {total} {'tensor' if total == 1 else 'tensors'}, {self._size(self.places)}."
        where = sorted({place.device for place in self.misplaced})
        stayed = "stayed on" if where == ["cpu"] else "are on"
        names = ", ".join(place.name for place in self.misplaced[:3])
        more = f" and {len(self.misplaced) - 3} more" if len(self.misplaced) > 3 else ""
        rest = "" if where == ["cpu"] else f", the others on {self.target}"
        return (
            f"{len(self.misplaced)} of {total} tensors {stayed} {' and '.join(where)}{rest}: {names}{more}."
        )

    @staticmethod
    def _size(places: tuple[Place, ...]) -> str:
        return units.size(sum(place.bytes for place in places))

    @property
    def _groups(self) -> list[str]:
        """One line for each kind and device of the well-placed tensors."""
        groups: dict[tuple[str, str, bool], list[Place]] = {}
        for place in self.places:
            if place.expected or place.device == self.target:
                groups.setdefault((place.kind, place.device, place.expected), []).append(place)
        return [
            f"{len(found)} x {kind} on {device}, {self._size(tuple(found))}"
            + (" (PyTorch keeps it there)" if expected else "")
            for (kind, device, expected), found in groups.items()
        ]

    def __str__(self) -> str:
        lines = [str(place) for place in self.misplaced] + self._groups
        if len(lines) > LINES:
            lines = [*lines[: LINES - 1], f"... and {len(lines) - LINES + 1} more lines: see .table()"]
        cut = ["The structure is too large; what lies deeper was not looked at."] if self.truncated else []
        return "\n".join([self.sentence, *(f"  {line}" for line in lines), *cut])

    def _repr_html_(self) -> str:
        sentence, *lines = str(self).splitlines()
        items = "".join(f"<li>{html.escape(line.strip())}</li>" for line in lines)
        return f"<p>{html.escape(sentence)}</p><ul>{items}</ul>"

    def table(self) -> str:
        """Return all tensors as text, the misplaced ones first."""
        first = set(self.misplaced)
        rest = [place for place in self.places if place not in first]
        return "\n".join(str(place) for place in (*self.misplaced, *rest))
