"""The learner's own objects as they were before a check, and their way back."""

import sys
import types
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from devicelab.trace.lines import USER, kind_of

MOST = 20_000  # objects that are looked at; an exercise has some hundred
_PLAIN = (
    str,
    bytes,
    int,
    float,
    complex,
    bool,
    type(None),
    type,
    types.ModuleType,
    torch.device,
    torch.dtype,
)
Restore = Callable[[], object]


class Snapshot:
    """Remembers tensors, modules, optimizers, containers and plain objects that can be reached from `roots`.

    Also through a function: its closure, its defaults and the global names that it uses. What cannot be copied, such as a
    half-read iterator, is left alone.
    """

    def __init__(self, roots: Iterable[object]) -> None:
        self._restores: list[Restore] = []
        self._late: list[Restore] = []  # gradients, once they and their tensors are back on one device
        self._seen: dict[int, object] = {}  # kept, so that no id is used twice
        waiting: deque[object] = deque(roots)
        while waiting and len(self._seen) < MOST:
            found = waiting.popleft()
            if id(found) in self._seen or isinstance(found, _PLAIN):
                continue
            self._seen[id(found)] = found
            waiting.extend(self._remember(found))

    def restore(self) -> None:
        """Put everything back as it was."""
        for restore in [*self._restores, *self._late]:
            restore()

    def _remember(self, found: object) -> Iterable[object]:
        """Note how to restore one object, and return what can be reached from it."""
        if isinstance(found, torch.Tensor):
            return self._tensor(found)
        if isinstance(found, np.ndarray):
            values = found.copy()
            self._restores.append(lambda: np.copyto(found, values))
            return ()
        if isinstance(found, torch.Generator):
            state = found.get_state()
            self._restores.append(lambda: found.set_state(state))
            return ()
        if isinstance(found, dict):
            return self._dict(found)
        if isinstance(found, (list, deque, set)):
            return self._collection(found)
        if isinstance(found, (tuple, frozenset)):
            return found
        if isinstance(found, types.FunctionType):
            return self._function(found)
        if isinstance(found, types.MethodType):
            return (found.__self__, found.__func__)
        held = getattr(found, "__dict__", None)
        return (held,) if isinstance(held, dict) and _is_followed(type(found)) else ()

    def _tensor(self, tensor: torch.Tensor) -> Iterable[object]:
        if tensor.layout != torch.strided or tensor.device.type == "meta" or tensor.is_inference():
            return ()
        data, values = tensor.data, tensor.detach().clone()
        gradient, follows = (tensor.grad, tensor.requires_grad) if tensor.is_leaf else (None, None)

        def restore_data() -> None:
            if tensor.device != data.device or tensor.data_ptr() != data.data_ptr():
                tensor.data = data
            if tensor.shape != values.shape or not torch.equal(data, values):
                with torch.no_grad():
                    data.copy_(values)

        def restore_gradient() -> None:
            if follows is not None and tensor.is_leaf:
                tensor.grad = gradient
                if tensor.requires_grad != follows:
                    tensor.requires_grad_(follows)

        self._restores.append(restore_data)
        self._late.append(restore_gradient)
        return (gradient,)

    def _dict(self, found: dict) -> Iterable[object]:
        before = dict(found)

        def restore() -> None:
            if not _same(found, before):
                found.clear()
                found.update(before)

        self._restores.append(restore)
        return list(before.values())

    def _collection(self, found: Any) -> Iterable[object]:
        before = list(found)

        def restore() -> None:
            if [id(item) for item in found] != [id(item) for item in before]:
                found.clear()
                found.update(before) if isinstance(found, set) else found.extend(before)

        self._restores.append(restore)
        return before

    def _function(self, function: types.FunctionType) -> Iterable[object]:
        if kind_of(function.__code__.co_filename) != USER:
            return ()
        for cell in function.__closure__ or ():
            self._cell(cell)
        names = [name for name in _names(function.__code__) if name in function.__globals__]
        before = {name: function.__globals__[name] for name in names}

        def restore() -> None:
            for name, value in before.items():
                if function.__globals__.get(name) is not value:
                    function.__globals__[name] = value

        self._restores.append(restore)
        cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        return [*before.values(), *cells, function.__defaults__, function.__kwdefaults__, function.__dict__]

    def _cell(self, cell: types.CellType) -> None:
        if _is_filled(cell):
            value = cell.cell_contents
            self._restores.append(lambda: setattr(cell, "cell_contents", value))


def _is_followed(kind: type) -> bool:
    """Say whether objects of this class are torch's (modules, optimizers) or of a class that the learner wrote."""
    if kind.__module__.startswith("torch."):
        return True
    return kind_of(getattr(sys.modules.get(kind.__module__), "__file__", None) or "<cell>") == USER


def _same(now: dict, before: dict) -> bool:
    return list(now) == list(before) and all(now[name] is value for name, value in before.items())


def _is_filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _names(code: types.CodeType) -> set[str]:
    """Return the global names that a function uses, with those of the functions inside it."""
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return set(code.co_names).union(*(_names(one) for one in inner))
