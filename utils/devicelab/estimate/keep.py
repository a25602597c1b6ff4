"""What a function may change, remembered before it runs and put back afterwards.

No operator is computed during an estimate, so the values of tensors stay as they are. The rest is Python's: gradients,
the optimizer's state, lists, counters, attributes. They are found from the function's own variables.
"""

import operator
import random
import sys
from collections import OrderedDict, deque
from collections.abc import Iterable
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from devicelab.errors import InputError
from devicelab.source import USER, whose

MOST = 200_000  # objects that are looked at
LARGEST = 2**20  # elements of a NumPy array whose values are kept
_SKIPPED = (
    str,
    bytes,
    int,
    float,
    complex,
    bool,
    type(None),
    type,
    ModuleType,
    BuiltinFunctionType,
    torch.device,
    torch.dtype,
)
_grad: Any = torch._C.TensorBase.grad
_versions = torch._C._autograd._unsafe_set_version_counter  # type: ignore[attr-defined]
_unseen = torch._C._DisableTorchDispatch  # no mode hears of what is done here
_ABSENT = object()


class Kept:
    """The state of everything that can be reached from some objects."""

    def __init__(self, *roots: Any):
        self._seen: dict[int, Any] = {}
        self._tensors: dict[int, tuple[Any, ...]] = {}
        self._containers: list[tuple[Any, Any]] = []
        self._variables: list[tuple[Any, Any, Any]] = []
        self._arrays: list[tuple[Any, Any]] = []
        self._generators: list[tuple[Any, Any]] = []
        self.iterators: list[tuple[GeneratorType, Any]] = []
        self._random = random.getstate()
        self._numpy = sys.modules["numpy"].random.get_state() if "numpy" in sys.modules else None
        self._rng = torch.default_generator.get_state()
        self._grad_mode = torch.is_grad_enabled()
        self.walk(roots)

    def walk(self, roots: Iterable[Any]) -> None:
        """Remember the roots and all that can be reached from them."""
        waiting = list(roots)
        while waiting and len(self._seen) < MOST:
            value = waiting.pop()
            if isinstance(value, _SKIPPED) or id(value) in self._seen:
                continue
            self._seen[id(value)] = value
            waiting.extend(self._inside(value))

    def _inside(self, value: Any) -> Iterable[Any]:
        """Remember one object, and return what it holds."""
        if isinstance(value, Tensor):
            return self.tensor(value)
        if isinstance(value, dict):
            self._containers.append((value, dict(value)))
            return [*value, *value.values()]
        if isinstance(value, (list, set, deque)):
            self._containers.append((value, list(value)))
            return list(value) if len(value) < MOST else ()
        if isinstance(value, (tuple, frozenset)):
            return list(value)
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, MethodType):
            return (value.__self__, value.__func__)
        if isinstance(value, partial):
            return (value.func, value.args, value.keywords)
        return self._other(value)

    def _other(self, value: Any) -> Iterable[Any]:
        if isinstance(value, GeneratorType):
            self.iterators.append((value, _progress(value)))
        elif isinstance(value, torch.Generator):
            self._generators.append((value.set_state, value.get_state()))
        elif isinstance(value, random.Random):
            self._generators.append((value.setstate, value.getstate()))
        elif "numpy" in sys.modules and isinstance(value, sys.modules["numpy"].ndarray):
            if value.size <= LARGEST and value.flags.writeable:
                self._arrays.append((value, value.copy()))
        elif hasattr(type(value), "bit_generator"):  # NumPy's
            bits = value.bit_generator
            self._generators.append((partial(setattr, bits, "state"), bits.state))
        slots = [
            (name, getattr(value, name, _ABSENT)) for kind in type(value).__mro__ for name in _slots(kind)
        ]
        self._variables.extend((value, name, content) for name, content in slots)
        inside = [content for _, content in slots]
        held = getattr(value, "__dict__", None)
        return [*inside, held] if isinstance(held, dict) else inside

    def _function(self, function: FunctionType) -> Iterable[Any]:
        """Return what a function of the user's holds: variables around it, defaults, globals that it names."""
        if whose(function.__code__.co_filename) != USER:
            return ()
        inside: list[Any] = [function.__defaults__, function.__kwdefaults__, function.__dict__]
        for cell in function.__closure__ or ():
            try:
                self._variables.append((cell, "cell_contents", cell.cell_contents))
                inside.append(cell.cell_contents)
            except ValueError:  # not set yet
                continue
        for name in _names(function.__code__):
            if name in function.__globals__:
                self._variables.append((function.__globals__, name, function.__globals__[name]))
                inside.append(function.__globals__[name])
        return inside

    def tensor(self, value: Tensor) -> Iterable[Any]:
        """Remember a tensor: its gradient, its shape and memory, whether it is a leaf, how often it was written."""
        if id(value) in self._tensors:
            return ()
        if is_lazy(value):
            raise InputError(
                "The model has parameters without a shape (a lazy layer that has seen no data). Call the model once on a "
                "batch, then estimate."
            )
        leaf = value.is_leaf
        gradient = _grad.__get__(value) if leaf else None
        with _unseen():
            alias = value.detach() if value.layout is torch.strided else None
        self._tensors[id(value)] = (value, leaf, value.requires_grad, gradient, alias, _version(value))
        self._seen[id(value)] = value
        return (gradient, getattr(value, "__dict__", None))

    def restore(self) -> None:
        """Put everything back that has changed."""
        torch.set_grad_enabled(self._grad_mode)
        with torch.no_grad(), _unseen():
            for state in self._tensors.values():
                _restore_tensor(*state)
        for owner, name, value in self._variables:
            _restore_variable(owner, name, value)
        for container, content in self._containers:
            _restore_container(container, content)
        for array, values in self._arrays:
            array[...] = values
        for set_state, state in self._generators:
            set_state(state)
        random.setstate(self._random)
        if self._numpy is not None:
            sys.modules["numpy"].random.set_state(self._numpy)
        torch.default_generator.set_state(self._rng)

    @property
    def advanced(self) -> bool:
        """Say whether the function took items from a generator of the user's, which cannot be given back."""
        return any(_progress(iterator) != progress for iterator, progress in self.iterators)


def _progress(iterator: GeneratorType) -> Any:
    frame = iterator.gi_frame
    return None if frame is None else (frame.f_lasti, repr(sorted(frame.f_locals)), frame.f_lineno)


def _slots(kind: type) -> list[str]:
    names = (
        kind.__dict__.get("__slots__", ())
        if not kind.__module__.startswith(("torch", "numpy", "builtins"))
        else ()
    )
    return [name for name in ([names] if isinstance(names, str) else names) if not name.startswith("__")]


def _names(code: CodeType) -> set[str]:
    """Return the global names and attributes that a function and those within it use."""
    inner = (one for one in code.co_consts if isinstance(one, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _version(value: Tensor) -> int | None:
    return None if value.is_inference() else value._version


def _restore_tensor(
    value: Any, leaf: bool, needs: bool, gradient: Any, alias: Any, version: int | None
) -> None:
    if leaf and not value.is_leaf:
        value.detach_()
    if leaf and value.requires_grad != needs:
        value.requires_grad_(needs)
    if alias is not None and _memory(value) != _memory(alias):
        value.data = alias
    if leaf and _grad.__get__(value) is not gradient:
        _grad.__set__(value, gradient)
    if version is not None and value._version != version:
        _versions((value,), (version,))


def _memory(value: Tensor) -> tuple[Any, ...]:
    return value.untyped_storage()._cdata, value.storage_offset(), value.shape, value.stride()


def _restore_variable(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, dict):
        if owner.get(name, _ABSENT) is not value:
            owner[name] = value
    elif getattr(owner, name, _ABSENT) is not value:
        if value is _ABSENT:
            delattr(owner, name)
        else:
            object.__setattr__(owner, name, value)


def _restore_container(container: Any, content: Any) -> None:
    if isinstance(container, dict):
        same = len(container) == len(content) and all(
            key in content and content[key] is value for key, value in container.items()
        )
        if not same:
            kind = OrderedDict if isinstance(container, OrderedDict) else dict
            kind.clear(container)
            for key, value in content.items():
                kind.__setitem__(container, key, value)
        return
    same = len(container) == len(content) and all(map(operator.is_, container, content))
    if not same:
        container.clear()
        (container.update if isinstance(container, set) else container.extend)(content)
