"""What can be reached from a value: one walk for whoever looks for tensors, or remembers what may change.

No code of a user's class is run: containers are read as Python's own hold their contents, attributes from `__dict__` and
from slots, so that no property is called.
"""

import inspect
import sys
import types
from array import array
from collections import OrderedDict, UserDict, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any, Generic, TypeGuard, TypeVar

import torch

MOST = 200_000  # objects that one walk meets, where nothing else is said
_TEXTS_AND_NUMBERS = (str, bytes, int, float, complex, type(None), torch.Size)
PLAIN = (*_TEXTS_AND_NUMBERS, torch.device, torch.dtype, type, types.ModuleType, types.BuiltinFunctionType)
INFINITE = float("inf")
WITHOUT_SLOTS = {
    dict,
    list,
    tuple,
    set,
    frozenset,
    deque,
    OrderedDict,
    torch.Tensor,
    torch.nn.Parameter,
}  # met most often
ABSENT, UNSET = object(), types.CellType()  # what a slot holds that was never set, and a cell that was not
_grad: Any = torch._C.TensorBase.grad
Way = TypeVar("Way")  # what a walk knows of how it came to a value
Kind = TypeVar("Kind")
Held = Iterable[tuple[str, Any]]


def is_a(value: object, kinds: type[Kind] | tuple[type[Kind], ...]) -> TypeGuard[Kind]:
    """Whether a value is of a class in truth: `isinstance` also believes the `__class__` that a mock or a proxy pretends."""
    return issubclass(type(value), kinds)


class Reach(Generic[Way]):
    """A walk that meets each object once, depth first and without recursion, however deep or circular the structure is.

    `inside(way, value)` gives what a value holds, each with its own way. `truncated` says that something was left out:
    there were more than `most` objects, or more than `deepest` levels.
    """

    def __init__(
        self,
        inside: Callable[[Way, Any], Iterable[tuple[Way, Any]]],
        deepest: float = INFINITE,
        most: int = MOST,
    ) -> None:
        self._inside, self._deepest, self._most = inside, deepest, most
        self.seen: dict[int, object] = {}  # keeps what was met alive, so that no id is used twice
        self.truncated = False

    def walk(self, roots: Iterable[tuple[Way, Any]]) -> Iterator[tuple[Way, Any]]:
        """Yield what was not met before; a value is asked what it holds after it was yielded."""
        waiting = [iter(roots)]
        while waiting:
            for way, value in waiting[-1]:
                if self._is_new(value, len(waiting)):
                    self.seen[id(value)] = value
                    yield way, value
                    waiting.append(iter(self._inside(way, value)))
                    break
            else:
                waiting.pop()

    def _is_new(self, value: object, level: int) -> bool:
        if is_a(value, PLAIN) or id(value) in self.seen:
            return False
        full = level > self._deepest or len(self.seen) >= self._most
        self.truncated = self.truncated or full
        return not full


def inside(value: Any) -> Held:
    """Return what a value holds, each with the step that leads there: "['key']", "[0]", ".name"."""
    if is_a(value, (dict, UserDict)):
        found = _items(value)
    elif is_a(value, tuple) and (fields := getattr(type(value), "_fields", None)):
        found = zip((f".{name}" for name in fields), tuple.__iter__(value), strict=False)
    elif is_a(value, (tuple, list, deque)):
        found = ((f"[{number}]", item) for number, item in enumerate(base(value).__iter__(value)))
    elif is_a(value, (set, frozenset)):
        found = (("{...}", item) for item in base(value).__iter__(value))
    else:
        found = iter(_parts(value))
    own = (*(namespace(value) or {}).items(), *slots(value))
    return chain(found, ((f".{name}", item) for name, item in own))


def base(container: Any) -> Any:
    """Return the built-in class of a container, whose methods run no code of a subclass."""
    kinds: Any = (OrderedDict, dict, list, deque, set, tuple, frozenset, bytearray, array)
    return next(kind for kind in kinds if is_a(container, kind))


def _items(mapping: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values, then the keys, which may be objects too."""
    held = vars(mapping).get("data") if is_a(mapping, UserDict) else mapping
    pairs = list(base(held).items(held)) if is_a(held, dict) else []
    for key, item in pairs:
        yield f"[{repr(key) if is_a(key, (str, int, float)) else type(key).__name__}]", item
    yield from (("{...}", key) for key, _ in pairs)


def _parts(value: Any) -> Held:
    """Return what a tensor, a function, a method or a partial holds beside its attributes."""
    if is_a(value, torch.Tensor):
        with torch._C.DisableTorchFunctionSubclass():
            return [(".grad", _grad.__get__(value))] if value.is_leaf else []
    if is_a(value, types.FunctionType):
        held = ((f".{name}", item) for _, name, item in variables(value))
        return [*held, (".__defaults__", value.__defaults__), (".__kwdefaults__", value.__kwdefaults__)]
    if is_a(value, types.MethodType):
        return [(".__self__", value.__self__), (".__func__", value.__func__)]
    if is_a(value, partial):
        return [(".func", value.func), (".args", value.args), (".keywords", value.keywords)]
    return []


def variables(function: types.FunctionType) -> list[tuple[Any, str, Any]]:
    """Return the variables around a function, and the globals that it names, as (owner, name, value)."""
    cells = [cell for cell in function.__closure__ or () if cell != UNSET]
    there = function.__globals__
    found = [(there, name, there[name]) for name in _names(function.__code__) if name in there]
    return [*((cell, "cell_contents", cell.cell_contents) for cell in cells), *found]


def _names(code: types.CodeType) -> set[str]:
    """Return the global names and attributes that a function and those within it use."""
    inner = (_names(one) for one in code.co_consts if isinstance(one, types.CodeType))
    return set(code.co_names).union(*inner)


def namespace(value: object) -> dict[str, Any] | None:
    """Return the `__dict__` of an object itself, or None where it has none."""
    try:
        held = object.__getattribute__(value, "__dict__")
    except Exception:  # a proxy may answer by code of its own
        return None
    return held if is_a(held, dict) else None


def slots(value: object) -> list[tuple[str, Any]]:
    """Return the slots of an object with what they hold, or ABSENT."""
    if type(value) in WITHOUT_SLOTS:
        return []
    kinds = [vars(kind) for kind in type(value).__mro__ if "__slots__" in vars(kind)]
    members = [pair for kind in kinds for pair in kind.items()]
    return [
        (name, _held(slot, value)) for name, slot in members if isinstance(slot, types.MemberDescriptorType)
    ]


def _held(slot: types.MemberDescriptorType, value: object) -> Any:
    try:
        return slot.__get__(value)
    except AttributeError:
        return ABSENT


def forget_copies(frame: types.FrameType) -> None:
    """Empty the copy of a function's variables that Python before 3.13 keeps where `f_locals` was asked: it holds tensors.

    Not from a trace function of this frame: there Python writes the copy back.
    """
    if sys.version_info < (3, 13) and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        frame.f_locals.clear()
