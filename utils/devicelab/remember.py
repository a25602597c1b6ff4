"""Everything that can be reached from some objects, as it is now, and its way back."""

import operator
import random
from collections import deque
from collections.abc import Iterable
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
import torch

from .reach import ABSENT, Reach, base, inside, namespace, slots, variables


class Remembered:
    """The contents of containers, attributes, the variables of functions, NumPy arrays, generators of random numbers.

    What becomes of a tensor, `_tensor`, and which values are looked into, `_follows`, is for subclasses to say.
    """

    largest = float("inf")  # elements of a NumPy array whose values are remembered

    def __init__(self, roots: Iterable[Any]) -> None:
        self._reach: Reach[str] = Reach(lambda _, value: inside(value) if self._follows(value) else ())
        self._containers: list[tuple[Any, Any]] = []
        self._variables: list[tuple[Any, str, Any]] = []
        self._arrays: list[tuple[Any, Any]] = []
        self._generators: list[tuple[Any, Any]] = []
        self.walk(roots)

    def walk(self, roots: Iterable[Any]) -> None:
        """Remember the roots and all that can be reached from them."""
        for _, value in self._reach.walk(("", root) for root in roots):
            self._remember(value)

    def _follows(self, value: Any) -> bool:
        raise NotImplementedError

    def _tensor(self, value: torch.Tensor) -> None:
        raise NotImplementedError

    def _remember(self, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            self._tensor(value)
        elif isinstance(value, dict):
            self._containers.append((value, dict(base(value).items(value))))
        elif isinstance(value, (list, set, deque)):
            self._containers.append((value, list(base(value).__iter__(value))))
        else:
            self._state(value)
        if self._follows(value):
            self._variables.extend(variables(value) if isinstance(value, FunctionType) else ())
            self._variables.extend((value, name, content) for name, content in slots(value))
            held = namespace(value)
            self._containers.extend([(held, dict(held))] if held is not None else ())

    def _state(self, value: Any) -> None:
        """Remember what an object holds outside of Python's attributes."""
        if isinstance(value, torch.Generator):
            self._generators.append((value.set_state, value.get_state()))
        elif isinstance(value, random.Random):
            self._generators.append((value.setstate, value.getstate()))
        elif isinstance(value, np.random.RandomState):
            self._generators.append((value.set_state, value.get_state()))
        elif isinstance(value, np.random.Generator):
            bits = value.bit_generator
            self._generators.append((partial(setattr, bits, "state"), bits.state))
        elif isinstance(value, np.ndarray) and value.size <= self.largest and value.flags.writeable:
            self._arrays.append((value, value.copy()))

    def restore(self) -> None:
        """Put back what has changed."""
        for owner, name, value in self._variables:
            _restore_variable(owner, name, value)
        for container, content in self._containers:
            _restore_container(container, content)
        for array, values in self._arrays:
            array[...] = values
        for set_state, state in self._generators:
            set_state(state)


def _restore_variable(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, dict):
        if owner.get(name, ABSENT) is not value:
            owner[name] = value
    elif getattr(owner, name, ABSENT) is not value:
        if value is ABSENT:
            object.__delattr__(owner, name)
        else:
            object.__setattr__(owner, name, value)


def _restore_container(container: Any, content: Any) -> None:
    kind = base(container)
    if _same(list(kind.__iter__(container)), list(content)) and (
        not isinstance(content, dict) or _same(kind.values(container), content.values())
    ):
        return
    kind.clear(container)
    if isinstance(content, dict):
        for key, value in content.items():
            kind.__setitem__(container, key, value)
    else:
        (kind.update if kind is set else kind.extend)(container, content)


def _same(now: Any, before: Any) -> bool:
    return len(now) == len(before) and all(map(operator.is_, now, before))
