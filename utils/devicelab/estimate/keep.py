"""What a function may change, remembered before it runs and put back afterwards.

No operator is computed during an estimate, so the values of tensors stay as they are. The rest is Python's: gradients,
the optimizer's state, lists, counters, attributes. They are found from the function's own variables.
"""

import random
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType, GeneratorType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from devicelab.errors import InputError
from devicelab.reach import is_a
from devicelab.remember import Remembered
from devicelab.source import USER, whose

_grad: Any = torch._C.TensorBase.grad
_versions = torch._C._autograd._unsafe_set_version_counter  # type: ignore[attr-defined]
_unseen = torch._C._DisableTorchDispatch  # no mode hears of what is done here


class Undo(Remembered):
    """The state of everything that can be reached from some objects."""

    largest = 2**20

    def __init__(self, *roots: Any):
        self._tensors: dict[int, tuple[Any, ...]] = {}
        self.iterators: list[tuple[GeneratorType, Any]] = []
        self._random, self._numpy = random.getstate(), np.random.get_state()
        self._rng = torch.default_generator.get_state()
        self._grad_mode = torch.is_grad_enabled()
        super().__init__(roots)

    def _follows(self, value: Any) -> bool:
        return not is_a(value, FunctionType) or whose(value.__code__.co_filename) == USER

    def _tensor(self, value: Tensor) -> None:
        self.tensor(value)

    def _state(self, value: Any) -> None:
        super()._state(value)
        if is_a(value, GeneratorType):
            self.iterators.append((value, _progress(value)))

    def tensor(self, value: Tensor) -> None:
        """Remember a tensor: its gradient, its shape and memory, whether it is a leaf, how often it was written."""
        if id(value) in self._tensors:
            return
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
        self._reach.seen[id(value)] = value

    def restore(self) -> None:
        """Put everything back that has changed."""
        torch.set_grad_enabled(self._grad_mode)
        super().restore()

    def _steps(self) -> Iterator[Callable[[], object]]:
        yield from (partial(_restore_tensor, *state) for state in self._tensors.values())
        yield from super()._steps()
        yield partial(random.setstate, self._random)
        yield partial(np.random.set_state, self._numpy)
        yield partial(torch.default_generator.set_state, self._rng)

    @property
    def truncated(self) -> bool:
        """Say whether there were too many objects, so that some were not remembered."""
        return self._reach.truncated

    @property
    def advanced(self) -> bool:
        """Say whether the function took items from a generator of the user's, which cannot be given back."""
        return any(_progress(iterator) != progress for iterator, progress in self.iterators)


def _progress(iterator: GeneratorType) -> Any:
    frame = iterator.gi_frame
    return None if frame is None else (frame.f_lasti, repr(sorted(frame.f_locals)), frame.f_lineno)


def _version(value: Tensor) -> int | None:
    return None if value.is_inference() else value._version


def _restore_tensor(
    value: Any, leaf: bool, needs: bool, gradient: Any, alias: Any, version: int | None
) -> None:
    with torch.no_grad(), _unseen():
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
