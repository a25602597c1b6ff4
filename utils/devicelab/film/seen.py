"""What is seen after each step: which memories are there, which just left, and who holds them."""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property

from .look import Holding
from .memory import Memory
from .watch import Step

NOBODY = Holding()


class Seen:
    """The memories of a film, step by step. A memory is seen from the first step that holds it to the last that it lives in."""

    def __init__(self, steps: list[Step], memories: list[Memory]) -> None:
        self.steps, self.memories = steps, memories

    @cached_property
    def there(self) -> list[set[int]]:
        """For each step the memories that are there after it, with a name or without."""
        known: set[int] = set()
        found = []
        for step in self.steps:
            known |= set(step.held) | _copied(step)
            operands = {one.memory for one in step.refusal.operands} if step.refusal else set()
            found.append((known | operands) & step.alive)
        return found

    @cached_property
    def left(self) -> list[set[int]]:
        """For each step the memories that it gave back, among them copies that nobody kept."""
        before: set[int] = set()
        found = []
        for step, there in zip(self.steps, self.there, strict=True):
            found.append((before | _copied(step)) - there)
            before = there
        return found

    @cached_property
    def homes(self) -> dict[int, Holding]:
        """How each memory is held as a rule: by an owner if it ever is, inside a module rather than outside."""
        found: dict[int, Holding] = {}
        for step in self.steps:
            for number, holding in step.held.items():
                found[number] = min(found.get(number, holding), holding, key=_rank)
        for step in self.steps:
            for copy in step.heard.copies:  # made and moved in one line: at home where the copy is
                if copy.source not in found and copy.target in found:
                    found[copy.source] = found[copy.target]._replace(names=())
        return found

    def spans(self, number: int) -> Iterator[tuple[int, int, bool]]:
        """Yield from which step on a memory is there, at which it is not any more, and whether it left then."""
        since = None
        for at, there in enumerate([*self.there, set()]):
            if since is None and at < len(self.left) and number in self.left[at] and number not in there:
                yield at, at, True
            if number in there and since is None:
                since = at
            elif number not in there and since is not None:
                yield since, at, at < len(self.left)
                since = None

    def is_owned(self, number: int, at: int) -> bool:
        """Whether a memory is at a step where it is at home, or with nobody else: another name may hold what its owner let go."""
        holding = self.steps[at].held.get(number)
        return holding is None or holding.owner == self.homes[number].owner

    def names(self, number: int, at: int) -> str:
        """Return what a memory is called at a step, by its owner's name or its own; empty where nobody holds it."""
        holding = self.steps[at].held.get(number, NOBODY)
        if holding.names:
            return holding.names[0]
        return f"{holding.owner}.{holding.label}".replace(".[", "[") if holding.owner else ""

    @cached_property
    def owned(self) -> list[dict[str, Counter[str]]]:
        """For each step the devices of what each owner holds."""
        found: list[dict[str, Counter[str]]] = []
        for step in self.steps:
            found.append({})
            for number, holding in step.held.items():
                if holding.owner:
                    found[-1].setdefault(holding.owner, Counter())[self.memories[number].device] += 1
        return found

    def called(self, at: int) -> dict[str, int]:
        """Return the memory of each name that a variable of its own has at a step."""
        return {name: number for number, held in self.steps[at].held.items() for name in held.names}


def _copied(step: Step) -> set[int]:
    return {number for copy in step.heard.copies for number in copy[:2]}


def _rank(holding: Holding) -> tuple[bool, bool, bool]:
    """Return what sorts first: an owner of the block's own before one that a function names, inside before outside."""
    return not holding.owner, " in " in holding.owner, holding.outside
