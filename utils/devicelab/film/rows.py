"""Where each memory is drawn: its box, and a row in it that it keeps for as long as it is there."""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import chain, count

from .look import Holding
from .seen import NOBODY, Seen

MOST_IN_FENCE = 6  # tensors of a module that are drawn one by one; more are gathered by their kind
MOST_ROWS = 9  # of a box; what has no room is gathered in one more row
MORE = "and more"


@dataclass
class Unit:
    """What stays together: a module with its tensors, or one tensor alone. `rows` has the memories of each row."""

    device: str
    owner: str = ""
    rows: dict[str, list[int]] = field(default_factory=dict)
    first: int = 0
    last: int = 0
    top: int = 0

    @property
    def height(self) -> int:
        """Rows that it takes; a module has one more, for its name."""
        return len(self.rows) + bool(self.owner)


class Rows:
    """The rows of all boxes. `of` gives the box and the row of each memory, `gathered` those rows that stand for many."""

    def __init__(self, seen: Seen, devices: list[str]) -> None:
        self._seen, self.devices = seen, devices
        self.units: list[Unit] = []
        self.of: dict[int, tuple[int, int]] = {}
        self.label: dict[tuple[int, int], str] = {}
        self.gathered: set[tuple[int, int]] = set()
        self._order: dict[tuple[str, str], int] = {}  # of an owner's rows, in whatever box
        self._sources: dict[int, list[int]] = defaultdict(list)  # of each memory that was copied into
        self._touched: set[int] = set()  # what was copied or refused
        for step in seen.steps:
            for copy in step.heard.copies:
                self._sources[copy.target].append(copy.source)
                self._touched.update(copy[:2])
            if step.refusal:
                self._touched.update(one.memory for one in step.refusal.operands)
        for device in devices:
            self._place(device)

    def count(self, device: str) -> int:
        """Return how many rows the box of a device needs."""
        return max((unit.top + unit.height for unit in self.units if unit.device == device), default=0)

    def _place(self, device: str) -> None:
        units = self._units(device)
        grid = Grid()
        if not all(grid.place(unit, self._wish(unit)) for unit in units):
            units.sort(key=lambda unit: (not self._matters(unit), bool(unit.owner)))
            units = self._fold(units, device)
        for unit in units:
            self._keep(unit, self.devices.index(device))
        self.units += units

    def _units(self, device: str) -> list[Unit]:
        """Return what this box holds in the order in which it appears, each with its first and its last step."""
        found: dict[object, Unit] = {}
        crowded = self._crowded(device)
        for memory in self._seen.memories:
            spans = list(self._seen.spans(memory.number))
            if memory.device != device or not spans:
                continue
            home = self._seen.homes.get(memory.number, NOBODY)
            fenced = bool(home.owner) and not home.outside
            key: object = home.owner if fenced else self._free(found, home, spans[0][0])
            unit = found.setdefault(key, Unit(device, home.owner if fenced else "", first=spans[0][0]))
            row = "" if not fenced else _gathering(home) if home.owner in crowded else home.label
            self._order.setdefault((home.owner, row), len(self._order))
            unit.rows.setdefault(row, []).append(memory.number)
            unit.last = max(unit.last, spans[-1][1])
        for unit in found.values():  # as in the box before, so that arrows do not cross
            order = sorted(unit.rows, key=lambda row: self._order.get((unit.owner, row), 0))
            unit.rows = {row: unit.rows[row] for row in order}
        return list(found.values())

    def _free(self, found: dict[object, Unit], home: Holding, first: int) -> object:
        """Return the key of a row that an earlier memory of this name has left, else of one of its own."""
        name = home.names[0] if home.names else f"{home.owner}.{home.label}"
        number = 0
        while (name, number) in found and found[name, number].last > first:
            number += 1
        return name, number

    def _crowded(self, device: str) -> set[str]:
        """Return the owners that hold too many tensors to draw each."""
        most: dict[str, int] = defaultdict(int)
        for there in self._seen.there:
            count: dict[str, int] = defaultdict(int)
            for number in there:
                if self._seen.memories[number].device == device:
                    count[self._seen.homes.get(number, NOBODY).owner] += 1
            for owner, found in count.items():
                most[owner] = max(most[owner], found)
        return {owner for owner, found in most.items() if owner and found > MOST_IN_FENCE}

    def _wish(self, unit: Unit) -> int | None:
        """Return the row beside the one that this unit was copied from, so that the arrow lies flat."""
        members = chain.from_iterable(unit.rows.values())
        copied = (source for number in members for source in self._sources.get(number, ()))
        sources = [self.of[source][1] for source in copied if source in self.of]
        return max(0, min(sources) - bool(unit.owner)) if sources else None

    def _matters(self, unit: Unit) -> bool:
        """Whether something of this unit was copied or refused."""
        return not self._touched.isdisjoint(chain.from_iterable(unit.rows.values()))

    def _fold(self, units: list[Unit], device: str) -> list[Unit]:
        """Keep what has room, and gather the rest in one row at the end."""
        kept: list[Unit] = []
        rest: list[Unit] = []
        grid = Grid()
        for unit in units:
            (kept if grid.place(unit, self._wish(unit)) else rest).append(unit)
        numbers = sorted(number for unit in rest for row in unit.rows.values() for number in row)
        first, last = min(unit.first for unit in rest), max(unit.last for unit in rest)
        return [*kept, Unit(device, "", {MORE: numbers}, first, last, MOST_ROWS)]

    def _keep(self, unit: Unit, box: int) -> None:
        for offset, (label, numbers) in enumerate(unit.rows.items()):
            at = box, unit.top + bool(unit.owner) + offset
            self.of.update(dict.fromkeys(numbers, at))
            self.label[at] = label
            together = max(len(there.intersection(numbers)) for there in self._seen.there)
            if label == MORE or together > 1:
                self.gathered.add(at)


def _gathering(home: Holding) -> str:
    """Return the name of the row in which a tensor of a crowded owner is counted."""
    return f"{home.kind}, on purpose" if home.stays else home.kind


class Grid:
    """The rows of a box, and in each the steps at which it is taken: a bit for a step."""

    def __init__(self) -> None:
        self._taken: dict[int, int] = defaultdict(int)

    def place(self, unit: Unit, wish: int | None) -> bool:
        """Give a unit the row that it wishes if it is free, else the first that is; say whether the box has so many rows.

        A row is free where nothing else is in it while the unit is there, the step in which the other fades included.
        """
        span = (1 << unit.last + 1) - (1 << unit.first)
        tops = chain([] if wish is None else [wish], count())
        unit.top = next(top for top in tops if not any(self._taken[row] & span for row in _of(top, unit)))
        fits = unit.top + unit.height <= MOST_ROWS
        for row in _of(unit.top, unit) if fits else ():
            self._taken[row] |= span
        return fits


def _of(top: int, unit: Unit) -> range:
    return range(top, top + unit.height)
