"""What a profiler recorded, as plain objects: events of the host in a tree, and the card's work that they started."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Work:
    """One kernel, copy or memset that the card ran: seconds, bytes of a copy."""

    name: str
    device: int
    begin: float
    seconds: float
    nbytes: int = 0


@dataclass(eq=False)
class Node:
    """One event on the host. `kind` is "op", "python" or "runtime"; `caller` is the file and line that called it.

    `function` is the file and first line of a Python function that was called, None of one in C. `inputs` are the
    device and the number of dimensions of every input tensor; `work` is what a runtime call started on the card.
    """

    kind: str
    name: str
    begin: float = 0.0
    seconds: float = 0.0
    sequence: int = -1
    inputs: tuple[tuple[str, int], ...] = ()
    thread: int = 0
    caller: tuple[str, int] | None = None
    function: tuple[str, int] | None = None
    work: tuple[Work, ...] = ()
    children: list["Node"] = field(default_factory=list)
    parent: "Node | None" = None

    def add(self, *children: "Node") -> "Node":
        """Put events below this one, and return it."""
        for child in children:
            child.parent = self
            self.children.append(child)
        return self

    def below(self) -> Iterator["Node"]:
        """Yield this event and all below it."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    def above(self) -> Iterator["Node"]:
        """Yield this event and all above it, the innermost first."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent
