"""The learner's own objects as they were before a check, and their way back."""

import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch

from devicelab.remember import Remembered
from devicelab.source import USER, whose

_BUILT_IN = (torch.Tensor, dict, list, tuple, set, frozenset, deque, partial, types.MethodType)
Restore = Callable[[], object]


class Snapshot(Remembered):
    """Remembers tensors, modules, optimizers, containers and plain objects that can be reached from `roots`.

    Also through a function: its closure, its defaults and the global names that it uses. What cannot be copied, such as a
    half-read iterator, is left alone.
    """

    def __init__(self, roots: Iterable[object]) -> None:
        self._restores: list[Restore] = []
        self._late: list[Restore] = []  # gradients, once they and their tensors are back on one device
        super().__init__(roots)

    def _steps(self) -> Iterator[Restore]:
        yield from self._restores
        yield from super()._steps()
        yield from self._late

    def _follows(self, value: object) -> bool:
        """Say whether a value is the learner's: a function or an object of a class in their code, or torch's, or Python's."""
        if isinstance(value, types.FunctionType):
            return whose(value.__code__.co_filename) == USER
        return isinstance(value, _BUILT_IN) or _is_followed(type(value))

    def _tensor(self, tensor: torch.Tensor) -> None:
        if tensor.layout != torch.strided or tensor.device.type == "meta" or tensor.is_inference():
            return
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


def _is_followed(kind: type) -> bool:
    """Say whether a class is torch's (modules, optimizers), made from one of torch's, or written by the learner."""
    if any(one.__module__.startswith("torch.") for one in kind.__mro__):
        return True
    return whose(getattr(sys.modules.get(kind.__module__), "__file__", None) or "<cell>") == USER
