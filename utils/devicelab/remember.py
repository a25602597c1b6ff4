"""Everything that can be reached from some objects, as it is now, and its way back."""

import operator
import random
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
import torch

from .errors import InputError
from .reach import ABSENT, Reach, base, inside, is_a, namespace, slots, variables


class Remembered:
    """The contents of containers, attributes, the variables of functions, arrays, generators of random numbers.

    What becomes of a tensor, `_tensor`, and which values are looked into, `_follows`, is for subclasses to say.
    """

    largest = float("inf")  # elements of an array whose values are remembered

    def __init__(self, roots: Iterable[Any]) -> None:
        self._reach: Reach[str] = Reach(lambda _, value: inside(value) if self._follows(value) else ())
        self._containers: list[tuple[Any, Any]] = []
        self._variables: list[tuple[Any, str, Any]] = []
        self._states: list[tuple[Callable[[Any], object], Any]] = []
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
        if is_a(value, torch.Tensor):
            self._tensor(value)
        elif is_a(value, dict):
            self._containers.append((value, dict(base(value).items(value))))
        elif is_a(value, (list, set, deque)):
            self._containers.append((value, list(base(value).__iter__(value))))
        else:
            self._state(value)
        if self._follows(value):
            self._variables.extend(variables(value) if is_a(value, FunctionType) else ())
            self._variables.extend((value, name, content) for name, content in slots(value))
            held = namespace(value)
            self._containers.extend([(held, dict(held))] if held is not None else ())

    def _state(self, value: Any) -> None:
        """Remember what an object holds outside of Python's attributes."""
        if is_a(value, torch.Generator):
            self._states.append((value.set_state, value.get_state()))
        elif is_a(value, random.Random):
            self._states.append((value.setstate, value.getstate()))
        elif is_a(value, np.random.RandomState):
            self._states.append((value.set_state, value.get_state()))
        elif is_a(value, np.random.Generator):
            bits = value.bit_generator
            self._states.append((partial(setattr, bits, "state"), bits.state))
        elif is_a(value, np.ndarray) and value.size <= self.largest and value.flags.writeable:
            self._states.append((partial(np.ndarray.__setitem__, value, ...), value.copy()))
        elif is_a(value, (bytearray, array)) and base(value).__len__(value) <= self.largest:
            everything = slice(None)
            put = partial(base(value).__setitem__, value, everything)
            self._states.append((put, base(value).__getitem__(value, everything)))

    def restore(self) -> None:
        """Put back what has changed: every piece is tried, and what could not be put back is told at the end."""
        failures = []
        for put_back in self._steps():
            try:
                put_back()
            except Exception as failure:
                failures.append(failure)
        if failures:
            first = failures[0]
            raise InputError(
                f"{len(failures)} of the things that could change could not be put back as they were, the first because of "
                f"{type(first).__name__}: {first}. Make these anew; all others are as before."
            ) from first

    def _steps(self) -> Iterator[Callable[[], object]]:
        """Yield what puts one piece back, each."""
        yield from (partial(_restore_variable, *one) for one in self._variables)
        yield from (partial(_restore_container, *one) for one in self._containers)
        yield from (partial(put, state) for put, state in self._states)


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
