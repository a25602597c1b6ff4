"""The dispatch mode on every thread: torch keeps modes per thread, and a new thread starts without any."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from . import state
from .dispatch import SimulatedDispatch

if TYPE_CHECKING:
    from .session import Simulation

_push = torch._C._push_on_torch_dispatch_stack
_pop = torch._C._pop_torch_dispatch_stack


def enter(mode: SimulatedDispatch) -> None:
    """Put the mode below all others of this thread, where a device belongs."""
    others = _take_all()
    _push(mode)
    for other in others:
        _push(other)


def leave(mode: SimulatedDispatch) -> None:
    """Take exactly this mode off this thread, whatever lies above it."""
    for other in _take_all():
        if other is not mode:
            _push(other)


def _take_all() -> list[Any]:
    """Take all modes off this thread; return them lowest first."""
    return [_pop(None) for _ in range(torch._C._len_torch_dispatch_stack())][::-1]


def on_this_thread(mode: SimulatedDispatch) -> bool:
    """Say whether the mode is on this thread."""
    return any(
        torch._C._get_dispatch_stack_at(i) is mode for i in range(torch._C._len_torch_dispatch_stack())
    )


@contextmanager
def simulated_thread() -> Iterator[None]:
    """Have the running simulation's mode on this thread."""
    simulation = state.current
    if simulation is None or on_this_thread(simulation.mode):
        yield
        return
    enter(simulation.mode)
    try:
        yield
    finally:
        leave(simulation.mode)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Take the simulation's mode off this thread for work that runs on the CPU alone."""
    simulation = state.current
    if simulation is None or not on_this_thread(simulation.mode):
        yield
        return
    leave(simulation.mode)
    try:
        yield
    finally:
        if simulation.active:
            enter(simulation.mode)


_bootstrap_inner = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]


def bootstrap_inner(thread: threading.Thread) -> None:
    """Run a thread with the mode of the running simulation."""
    with simulated_thread():
        _bootstrap_inner(thread)


def install(simulation: "Simulation") -> None:
    """Put the mode on this thread and on those started from now on."""
    simulation.patches.set(threading.Thread, "_bootstrap_inner", bootstrap_inner)
    enter(simulation.mode)
    simulation.on_stop(lambda: leave(simulation.mode))
