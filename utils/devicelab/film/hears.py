"""What happens while a line runs: which operators ran where, what was copied, what was refused."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from devicelab import devices
from devicelab.placement.walk import bytes_of
from devicelab.trace.recorder import computes, first_tensor

from .memory import Memories

_COPIES = {
    "aten::_to_copy": (0, None),
    "aten::copy_": (1, 0),
}  # where its source stands, and its target unless it is the result
_READ = "aten::_local_scalar_dense"


class Transfer(NamedTuple):
    """A copy from one memory into another on another device."""

    source: int
    target: int
    nbytes: int


class Work(NamedTuple):
    """An operator by its name, the device on which its result is, and the memories that were known before it ran."""

    name: str
    device: str
    operands: frozenset[int]


class Operand(NamedTuple):
    """A tensor that a refused operator was given: its name in the operator's schema, its memory and its device."""

    name: str
    memory: int
    device: str


@dataclass(frozen=True)
class Refusal:
    """An error, and of the operator that raised it the name and the tensors, where it was one."""

    kind: str
    message: str
    operator: str = ""
    operands: tuple[Operand, ...] = ()


@dataclass
class Heard:
    """What was heard since the last line ended; `reads` counts the numbers that the host took from another device."""

    copies: list[Transfer] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)

    def __add__(self, later: "Heard") -> "Heard":
        return Heard(self.copies + later.copies, self.works + later.works, self.reads + later.reads)


class Hears(devices.Listener):
    """Hears of every operator of its thread. `take()` gives what was heard since it was asked last."""

    def __init__(self, memories: Memories) -> None:
        super().__init__()
        self._memories, self._heard = memories, Heard()
        self.refusal: Refusal | None = None  # of the last operator that failed
        self.is_looking = False  # the film itself looks at tensors: that is no work of the block's

    def take(self, before: Heard | None = None) -> Heard:
        """Return what was heard, after what was heard `before`, and begin anew."""
        heard, self._heard = self._heard, Heard()
        return heard if before is None else before + heard

    def hear(self, run: Callable[..., Any], func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Run an operator; note what it did, or by what it was refused."""
        try:
            out = run(func, types, args, kwargs)
        except Exception as error:
            self._quietly(self._refused, error, func, args, kwargs or {})
            raise
        if out is not NotImplemented:
            self._quietly(self._note, func, args, out)
        return out

    def _quietly(self, note: Callable[..., None], *what: Any) -> None:
        if self.is_looking:
            return
        self.is_looking = True
        try:
            note(*what)
        except Exception:  # a tensor that cannot be asked: the learner's line must not fail for it
            pass
        finally:
            self.is_looking = False

    def _note(self, func: Any, args: Any, out: Any) -> None:
        name, works = _plan(func)
        if name in _COPIES and self._copied(name, args, out):
            return
        if name == _READ and args[0].device.type != "cpu":
            self._heard.reads.append(str(args[0].device))
        elif works:
            known = (self._memories.known(tensor) for _, tensor in tensors(args))
            result = first_tensor(out)
            device = str(result.device) if result is not None else "cpu"
            operands = frozenset(number for number in known if number is not None)
            self._heard.works.append(Work(short(name), device, operands))

    def _copied(self, name: str, args: Any, out: Any) -> bool:
        """Note a copy, if it is one between two devices."""
        at, into = _COPIES[name]
        source, target = args[at], out if into is None else args[into]
        if source.device == target.device:
            return False
        numbers = self._memories.number(source), self._memories.number(target)
        self._heard.copies.append(Transfer(*numbers, bytes_of(source)))
        return True

    def _refused(self, error: Exception, func: Any, args: Any, kwargs: Any) -> None:
        schema = getattr(func, "_schema", None)  # what vmap and torch.cond run has none
        names = [argument.name for argument in schema.arguments] if schema else []
        found = [*tensors(args, names), *tensors(list(kwargs.values()), list(kwargs))]
        operands = [
            Operand(name, self._memories.number(tensor), str(tensor.device)) for name, tensor in found
        ]
        self.refusal = Refusal(
            type(error).__name__, str(error), short(_name(func) if schema else ""), tuple(operands)
        )


@lru_cache(1024)
def _plan(func: Any) -> tuple[str, bool]:
    """Return an operator's name, and whether it computes something."""
    return _name(func), computes(func)


def _name(func: Any) -> str:
    return getattr(getattr(func, "_schema", None), "name", str(func))


def short(name: str) -> str:
    """Return an operator's name without its library: "addmm" of "aten::addmm"."""
    return name.rpartition("::")[2].removeprefix("_")


def tensors(values: Any, names: list[str] | None = None) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors among an operator's arguments with the arguments' names, those in lists too."""
    for position, value in enumerate(values):
        name = names[position] if names and position < len(names) else ""
        if isinstance(value, torch.Tensor):
            yield name, value
        elif isinstance(value, (list, tuple)):
            inside = (item for item in value if isinstance(item, torch.Tensor))
            yield from ((f"{name}[{number}]", item) for number, item in enumerate(inside))
