"""A film as plain data, the same for the moving picture, the still one and the text."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Protocol

from devicelab import devices

from .lines import Block
from .look import Holding
from .memory import Memories
from .message import parts
from .rows import MORE, Rows
from .seen import NOBODY, Seen
from .watch import Step
from .words import many, size, tell

QUESTION = "Where is each tensor?"
TITLES = {"cpu": ("CPU memory", "this computer"), "meta": ("meta", "shapes without memory")}
FEWEST = 3  # rows of a box
MOST_LINES = 400  # of a block; of a longer one only those are shown that a step is about
MOST_WORKS = 8  # lines from tensors to an operator; more would hide what they show


class Shot(Protocol):
    """What scenes are made of: steps, the memories that they are about, the lines, and the devices that are there."""

    steps: list[Step]
    memories: Memories
    block: Block | None
    places: dict[str, str]

    def notes(self) -> list[str]:
        """Return what is to be said beside the picture."""


def here() -> tuple[dict[str, str], str]:
    """Return this machine's accelerator with its name, if there is one, and what a picture says of it."""
    present = devices.present()
    if present.type == "cpu":
        return {}, "no GPU here"
    word = "simulated" if present.origin == "simulated" else "real"
    return {f"{present.type}:0": present.name}, f"{word} {present.name}"


class Scenes:
    """The data of a film.

    `looks` are [box, row, shape, bytes, label, fence, count, note] of a dot, `dots` are [look, since, until, left], `names` are
    [name, box, row, since, until], `fences` are [name, class, box, row, rows]: -1 for none. A dot or a name is there from the
    step `since` on and before the step `until`; one that `left` fades in that step.
    """

    def __init__(self, watch: Shot, card: str) -> None:
        self._watch, self._card = watch, card
        self.seen = Seen(watch.steps, watch.memories.all)
        self._rows = Rows(self.seen, self._devices(watch))
        self._looks: dict[tuple, int] = {}
        self._fences: dict[tuple[str, int], int] = {}

    def _devices(self, watch: Shot) -> list[str]:
        met = {memory.device for memory in watch.memories.all}
        return ["cpu", *sorted((met | set(watch.places)) - {"cpu"})]

    def data(self) -> dict[str, Any]:
        """Return it all as what JSON can hold."""
        self._make_fences()
        names = [list(name) for name in self._names()]
        dots = [list(dot) for dot in self._dots()]
        counts: Counter[int] = Counter()
        steps = [self._step(at, step, counts) for at, step in enumerate(self.seen.steps)]
        return {
            "question": QUESTION,
            "card": self._card,
            "boxes": [self._box(device) for device in self._rows.devices],
            "code": self._code(),
            "looks": [list(look) for look in self._looks],
            "dots": dots,
            "names": names,
            "fences": [[*fence] for fence in self._fence_list],
            "steps": steps,
            "notes": self._watch.notes(),
        }

    def _box(self, device: str) -> dict[str, Any]:
        title, note = TITLES.get(device, (f"{device} memory", self._watch.places.get(device, "")))
        return {"device": device, "title": title, "note": note, "rows": max(FEWEST, self._rows.count(device))}

    def _code(self) -> list[list[Any]]:
        block = self._watch.block
        seen = sorted({step.line for step in self.seen.steps[1:]})
        if block is None:
            return [[number, f"line {number}"] for number in seen]
        lines = (
            block.text
            if len(block.text) <= MOST_LINES
            else [number for number in seen if number in block.text]
        )
        return [[number, block.text[number]] for number in lines]

    # --- what stands in the boxes ---------------------------------------------------------------------------------

    def _make_fences(self) -> None:
        self._fence_list: list[tuple] = []
        owners = {name: kind for step in self.seen.steps for name, kind in step.owners.items()}
        for unit in self._rows.units:
            if unit.owner:
                box = self._rows.devices.index(unit.device)
                self._fences[unit.owner, box] = len(self._fence_list)
                self._fence_list.append((unit.owner, owners.get(unit.owner, ""), box, unit.top, unit.height))

    def _dots(self) -> list[tuple[int, int, int, bool]]:
        found: list[tuple[int, int, int, bool]] = []
        by_row: dict[tuple[int, int], list[int]] = {}
        for number, at in self._rows.of.items():
            if at in self._rows.gathered:
                by_row.setdefault(at, []).append(number)
            else:
                found += self._alone(at, number)
        for at, numbers in by_row.items():
            found += self._gathered(at, numbers)
        return found

    def _alone(self, at: tuple[int, int], number: int) -> Iterator[tuple[int, int, int, bool]]:
        """Yield the dots of a row's one memory: another look when its owner lets it go, or takes it."""
        shape = self.seen.memories[number].shape
        for since, until, left in self.seen.spans(number):
            marks = [self.seen.is_owned(number, step) for step in range(since, until)] or [True]
            begins = [
                0,
                *(step for step in range(1, len(marks)) if marks[step] != marks[step - 1]),
                len(marks),
            ]
            for begin, end in pairwise(begins):
                look = self._look(at, shape, [number], marks[begin])
                last = end == len(marks)
                yield look, since + begin, until if last else since + end, left and last

    def _gathered(self, at: tuple[int, int], numbers: list[int]) -> list[tuple[int, int, int, bool]]:
        """Return the dots of a row that stands for many: another one whenever their number changes."""
        found: list[tuple[int, int, int, bool]] = []
        for step, there in enumerate(self.seen.there):
            now = [number for number in numbers if number in there]
            look = self._look(at, many(len(now), "tensor"), now) if now else None
            if found and found[-1][2] == step and found[-1][0] == look:
                found[-1] = (*found[-1][:2], step + 1, False)
            elif look is not None:
                found.append((look, step, step + 1, False))
            elif found and found[-1][2] == step:  # the last of them left
                found[-1] = (*found[-1][:3], True)
        return found

    def _look(self, at: tuple[int, int], shape: str, numbers: list[int], owned: bool = True) -> int:
        home = self.seen.homes.get(numbers[0], NOBODY) if owned else NOBODY
        fenced = bool(home.owner) and not home.outside
        label = self._rows.label.get(at, "") if owned else ""
        fence = self._fences.get((home.owner, at[0]), -1) if fenced and label != MORE else -1
        nbytes = sum(self.seen.memories[number].nbytes for number in numbers)
        note = _note(home) if at not in self._rows.gathered else ""
        look = (*at, shape, size(nbytes), label, fence, len(numbers), note)
        return self._looks.setdefault(look, len(self._looks))

    def _names(self) -> list[tuple[str, int, int, int, int]]:
        """Return each name with the row that it stands at, from step to step; those of gathered rows are not shown."""
        found: dict[tuple[str, tuple[int, int]], list[list[int]]] = {}
        for at in range(len(self.seen.steps)):
            for name, number in self._pins(at):
                spans = found.setdefault((name, self._rows.of[number]), [])
                if spans and spans[-1][1] == at:
                    spans[-1][1] = at + 1
                else:
                    spans.append([at, at + 1])
        return [(name, *row, since, until) for (name, row), spans in found.items() for since, until in spans]

    def _pins(self, at: int) -> list[tuple[str, int]]:
        """Return what is pinned to memories at a step: variables, and plain attributes with their owner's name."""
        pins = list(self.seen.called(at).items())
        for number, one in self.seen.steps[at].held.items():
            if one.owner and one.outside:
                pins.append((self.seen.names(number, at), number))
        rows = self._rows
        return [(name, n) for name, n in pins if n in rows.of and rows.of[n] not in rows.gathered]

    # --- what happens in a step -----------------------------------------------------------------------------------

    def _step(self, at: int, step: Step, counts: Counter[int]) -> dict[str, Any]:
        counts[step.line] += not step.function
        found = {
            "line": step.line,
            "turn": counts[step.line] if not step.function else 0,
            "inner": f"{step.function}: {step.source}" if step.function else "",
            "say": tell(self.seen, at),
            "arrows": self._arrows(at, step),
            "works": self._works(step),
            "refused": self._refused(step),
        }
        return {key: value for key, value in found.items() if value}

    def _arrows(self, at: int, step: Step) -> list[list[Any]]:
        sums: dict[tuple[int, int, int, int], int] = {}
        for copy in step.heard.copies:
            if copy.source in self._rows.of and copy.target in self._rows.of:
                ends = (*self._rows.of[copy.source], *self._rows.of[copy.target])
                sums[ends] = sums.get(ends, 0) + copy.nbytes
        return [[*ends, size(nbytes)] for ends, nbytes in sums.items()]

    def _works(self, step: Step) -> list[list[Any]]:
        """Return [box, text, rows of its operands] for each device on which operators ran."""
        found = []
        for box, device in enumerate(self._rows.devices):
            works = [work for work in step.heard.works if work.device == device]
            if works:
                text = works[0].name if len(works) == 1 else many(len(works), "operator")
                rows = sorted(
                    {self._rows.of[n] for work in works for n in work.operands if n in self._rows.of}
                )
                found.append([box, text, [list(row) for row in rows] if len(rows) <= MOST_WORKS else []])
        return found

    def _refused(self, step: Step) -> dict[str, Any] | None:
        refusal = step.refusal
        if refusal is None:
            return None
        of = self._rows.of
        wanted = next((one.device for one in refusal.operands if one.device != "cpu"), "cpu")
        operands = {of[one.memory]: one.device != wanted for one in refusal.operands if one.memory in of}
        pieces = [
            [part.text, [list(of[n]) for n in part.memories if n in of], part.is_operator]
            for part in parts(refusal)
        ]
        return {
            "kind": refusal.kind,
            "operator": refusal.operator,
            "operands": [[*row, stayed] for row, stayed in operands.items()],
            "parts": pieces,
        }


def _note(home: Holding) -> str:
    return "out of .to()'s reach" if home.outside else "stays on purpose" if home.stays else ""


def nothing(card: str, note: str) -> dict[str, Any]:
    """Return the data of a film that shows nothing but a note."""
    lists = ("boxes", "code", "looks", "dots", "names", "fences")
    return {
        "question": QUESTION,
        "card": card,
        "steps": [{"say": ""}],
        "notes": [note],
        **{name: [] for name in lists},
    }
