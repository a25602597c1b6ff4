"""What the variables of a block hold: which memories, under which names, inside or outside of which module."""

from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, NamedTuple

import torch

from devicelab.placement.walk import Walk
from devicelab.reach import is_a

from .memory import Memories

MOST = 3000  # objects that are looked at after each line
MOST_NAMES = 1000  # variables that hold a tensor themselves
_grad: Any = torch._C.TensorBase.grad


class Holding(NamedTuple):
    """How a memory is held: by variables of its own, or by `owner`, a variable that holds a module or a container.

    `label` is its name inside the owner, `kind` what it is there; `outside` says that the owner's `.to()` cannot reach it,
    `stays` that PyTorch itself keeps it on the CPU.
    """

    names: tuple[str, ...] = ()
    owner: str = ""
    label: str = ""
    kind: str = ""
    outside: bool = False
    stays: bool = False


class Look:
    """One look at some variables, each a pair of name and value: `held` has a Holding for each memory that they lead to.

    `owners` has the class of each variable that is no tensor but holds some.
    """

    def __init__(self, memories: Memories, named: Iterable[tuple[str, Any]], gradients: bool = True) -> None:
        self.held: dict[int, Holding] = {}
        self.owners: dict[str, str] = {}
        self._memories, self._gradients = memories, gradients
        pairs = list(named)
        tensors = [(name, value) for name, value in pairs if is_a(value, torch.Tensor)]
        holders = [(name, value) for name, value in pairs if not is_a(value, torch.Tensor)]
        for name, tensor in tensors[:MOST_NAMES]:
            for ending, part in self._parts(tensor):
                self._name(name + ending, part)
        self._walk(holders)
        self.truncated |= len(tensors) > MOST_NAMES

    def _walk(self, holders: list[tuple[str, Any]]) -> None:
        holders.sort(
            key=lambda pair: is_a(pair[1], torch.optim.Optimizer)
        )  # their parameters are the models'
        values = dict(holders)
        walk = Walk(MOST)
        walk.look(holders)
        self.truncated = walk.truncated
        for at, tensor in walk.found:
            owner = max((name for name in values if at.name.startswith(name)), key=len)
            self.owners.setdefault(owner, type(values[owner]).__name__)
            for ending, part in self._parts(tensor):
                label, kind = at.name[len(owner) :].lstrip(".") + ending, "gradient" if ending else at.kind
                self._own(part, Holding((), owner, label, kind, at.hidden, at.expects(tensor)))

    def _parts(self, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        yield "", tensor
        if not self._gradients:
            return
        with torch._C.DisableTorchFunctionSubclass():
            gradient = _grad.__get__(tensor) if tensor.is_leaf else None
        if gradient is not None:
            yield ".grad", gradient

    def _name(self, name: str, tensor: torch.Tensor) -> None:
        number = self._memories.number(tensor)
        before = self.held.get(number, Holding())
        self.held[number] = before._replace(names=(*before.names, name))

    def _own(self, tensor: torch.Tensor, holding: Holding) -> None:
        number = self._memories.number(tensor)
        before = self.held.get(number, Holding())
        if not before.owner:
            self.held[number] = holding._replace(names=before.names)


def variables(frames: list[tuple[FrameType, tuple[str, ...]]]) -> Iterator[tuple[str, Any]]:
    """Yield the variables that each frame's names lead to; those of a function that was called say so."""
    for depth, (frame, names) in enumerate(frames):
        space, around = frame.f_locals, frame.f_globals if depth == 0 else {}
        for name in names:
            value = space.get(name, around.get(name))
            if value is not None and not name.startswith("_"):
                yield (f"{name} in {frame.f_code.co_name}" if depth else name), value
