"""Hooks of the backward pass's nodes (`y.grad_fn.register_hook`): what they hand back is looked at as other hooks' gradients are.

The nodes' classes are C++'s own, and no attribute of them may be set: their dictionaries are written to, and put back.
"""

import ctypes
import functools
import gc
from collections.abc import Callable, Iterable
from typing import Any

import torch

from devicelab.simgpu.machine.machine import Machine

from .gradients import keeping

NAMES = ("register_hook", "register_prehook")
forget = ctypes.pythonapi.PyType_Modified  # what Python remembers of a class
forget.argtypes, forget.restype = [ctypes.py_object], None


def names_of(kind: type) -> dict[str, Any]:
    """Return the dictionary of a class that lets no attribute be set; who writes to it has to `forget` the class."""
    return gc.get_referents(vars(kind))[0]


@functools.cache
def classes() -> tuple[tuple[type, dict[str, Any]], ...]:
    """Return the classes of nodes, each with its dictionary."""
    kinds = [*vars(torch._C._functions).values(), torch._C._FunctionBase]
    kinds = [kind for kind in kinds if isinstance(kind, type) and not set(NAMES) - vars(kind).keys()]
    return tuple((kind, names_of(kind)) for kind in kinds)


@functools.cache
def originals() -> tuple[dict[str, Any], ...]:
    """Return the methods that the classes have."""
    return tuple({name: names[name] for name in NAMES} for _, names in classes())


def hooking(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stand-in for a method that registers a hook."""

    @functools.wraps(original)
    def register(node: Any, hook: Callable[..., Any]) -> Any:
        return original(node, keeping(hook, getattr(hook, "__name__", "<unknown>")))

    return register


@functools.cache
def stand_ins() -> tuple[dict[str, Any], ...]:
    """Return what stands before them, made once: they are more than a thousand, and know of no simulation."""
    return tuple({name: hooking(method) for name, method in own.items()} for own in originals())


def put(methods: Iterable[dict[str, Any]]) -> None:
    """Give each class these methods."""
    for (kind, names), own in zip(classes(), methods, strict=True):
        names.update(own)
        forget(kind)


def install(machine: Machine) -> None:
    """Stand before the methods of all classes."""
    machine.on_stop(lambda: put(originals()))
    put(stand_ins())
