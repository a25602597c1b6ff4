"""Buffers of the host that are used while a copy may still be on its way, though nothing orders the two.

A copy with `non_blocking=True` from or into pinned memory goes on after its line: until a wait has ordered them, whoever writes
what is being sent, or reads what is being received, may get the old values, the new ones or a mixture. Values are never wrong on
a simulated card, so only its clock can tell: a copy counts as on its way until it has ended by the low, the guessed and
the high estimate alike.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from .lines import Places

Tensor = torch.Tensor
Moments = tuple[float, float, float]  # on the low, the high and the guessed clock
# They make a view or reserve memory, and look at no value.
_BLIND = {
    "aten::alias", "aten::detach", "aten::detach_", "aten::empty_like", "aten::lift_fresh", "aten::new_empty",
    "aten::new_empty_strided", "aten::resize_", "aten::set_", "aten::_reshape_alias", "aten::_unsafe_view", "aten::is_pinned",
    "aten::record_stream", "aten::zeros_like", "aten::ones_like", "aten::full_like", "aten::rand_like", "aten::randn_like",
}  # fmt: skip
UNUSUAL = (
    RuntimeError,
    NotImplementedError,
    AttributeError,
    ValueError,
)  # what tensors without a storage say


@dataclass(frozen=True)
class Flight:
    """One copy on its way: the host's buffer, as `weak` storage and the elements of it, and whether it is written."""

    weak: Any
    elements: tuple[tuple[int, ...], tuple[int, ...], int, int]  # sizes, strides, offset, bytes of an element
    into: bool
    end: Moments
    route: tuple[str, str]
    nbytes: int
    place: int


class Flights:
    """The copies of pinned memory that may be on their way, and what may come too early; `now` reads the three clocks."""

    def __init__(self, now: Callable[[], Moments], places: Places):
        self.now, self.places = now, places
        self.met: dict[tuple, int] = {}  # Hazard's fields, with places for lines: how often
        self._by_storage: dict[int, list[Flight]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_storage)

    def launch(
        self, buffer: Tensor, into: bool, end: Moments, route: tuple[str, str], nbytes: int, place: int
    ) -> None:
        """Note a copy that the host does not wait for."""
        self.land()
        storage = buffer.untyped_storage()
        flight = Flight(weakref.ref(storage), _elements(buffer), into, end, route, nbytes, place)
        self._by_storage.setdefault(storage._cdata, []).append(flight)

    def land(self) -> None:
        """Forget the copies that have ended, and those whose buffer is gone."""
        now = self.now()
        for key, flights in list(self._by_storage.items()):
            left = [one for one in flights if one.weak() is not None and _is_later(one.end, now)]
            if left:
                self._by_storage[key] = left
            else:
                del self._by_storage[key]

    def look(self, func: Any, args: Any, kwargs: Any) -> None:
        """Look whether an operator uses a buffer of the host too early."""
        for tensor, writes in operands(func, args, kwargs):
            self.meet(tensor, func._schema.name, writes)

    def meet(self, tensor: Tensor, how: str, writes: bool = False) -> None:
        """Look whether a tensor of the host is used too early."""
        for one in self.over(tensor, writes):
            kind = "written" if writes else "read"
            key = (kind, how, self.places.here(), one.place, *one.route, one.into, one.nbytes)
            self.met[key] = self.met.get(key, 0) + 1

    def over(self, tensor: Tensor, writes: bool) -> list[Flight]:
        """Return the copies that a use of a tensor of the host may come too early for."""
        try:
            storage = tensor.untyped_storage()
        except UNUSUAL:
            return []
        if storage._cdata not in self._by_storage:
            return []
        self.land()
        flights = [one for one in self._by_storage.get(storage._cdata, []) if one.weak() is storage]
        return [one for one in flights if (writes or one.into) and _share(one.elements, _elements(tensor))]


def _is_later(end: Moments, now: Moments) -> bool:
    return any(one > other for one, other in zip(end, now, strict=True))


def _elements(tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, ...], int, int]:
    return tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()), tensor.itemsize


def _span(elements: tuple[tuple[int, ...], tuple[int, ...], int, int]) -> range:
    """Return the bytes from the first to the last."""
    sizes, strides, offset, itemsize = elements
    if 0 in sizes:
        return range(0)
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    return range(offset * itemsize, (last + 1) * itemsize)


def _share(one: Any, other: Any) -> bool:
    """Say whether two tensors of a storage have an element in common; exactly, where their elements are of one size."""
    first, second = _span(one), _span(other)
    if max(first.start, second.start) >= min(first.stop, second.stop):
        return False
    if one[3] != other[3]:
        return True
    with torch._C._DisableTorchDispatch():  # type: ignore[attr-defined]
        marks = torch.zeros(max(first.stop, second.stop) // one[3], dtype=torch.bool)
        marks.as_strided(*one[:3]).fill_(True)
        return bool(marks.as_strided(*other[:3]).any())


@cache
def uses(func: Any) -> tuple[bool, frozenset[str]]:
    """Return whether an operator looks at its operands' values, and the names of the arguments that it writes."""
    if not isinstance(func, torch._ops.OpOverload) or func.is_view or func._schema.name in _BLIND:
        return False, frozenset()
    written = (one.name for one in func._schema.arguments if one.alias_info and one.alias_info.is_write)
    return True, frozenset(written)


def operands(func: Any, args: Any, kwargs: Any) -> list[tuple[Tensor, bool]]:
    """Return the tensors that an operator uses, and whether it writes them; none of a copy between devices."""
    looks, written = uses(func)
    if not looks or _crosses(func._schema.name, args, kwargs):
        return []
    found: list[tuple[Tensor, bool]] = []
    for number, argument in enumerate(func._schema.arguments):
        value = args[number] if number < len(args) else (kwargs or {}).get(argument.name)
        for item in value if value.__class__ in (list, tuple) else (value,):
            if isinstance(item, Tensor):
                found.append((item, argument.name in written))
    return found


def _crosses(name: str, args: Any, kwargs: Any) -> bool:
    """Say whether this is a copy between devices, which its stream orders behind the others."""
    if name == "aten::copy_":
        return args[0].device != args[1].device
    target = (kwargs or {}).get("device")
    return name == "aten::_to_copy" and target is not None and target.type != args[0].device.type
