"""The dispatch mode on every thread: torch keeps modes per thread, and a new thread starts without any."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from devicelab.errors import SimulationError

from . import state
from .dispatch import SimulatedDispatch

if TYPE_CHECKING:
    from .session import Simulation

# Modes under this key lie below all others, as a device does, and keep C++ from initializing CUDA when it reads "cuda".
KEY = torch._C._TorchDispatchModeKey.FAKE


def enter(mode: SimulatedDispatch) -> None:
    """Put the mode on this thread, below all other modes."""
    present = torch._C._get_dispatch_mode(KEY)
    if isinstance(present, SimulatedDispatch):
        torch._C._unset_dispatch_mode(KEY)  # of a simulation that was stopped by another thread
    elif present is not None:
        raise SimulationError(
            "A FakeTensorMode is active on this thread, and the simulated GPU would take its place. Leave that mode before you "
            "start the simulation."
        )
    torch._C._set_dispatch_mode(mode)


def leave(mode: SimulatedDispatch) -> None:
    """Take exactly this mode off this thread, whatever lies above it."""
    if on_this_thread(mode):
        torch._C._unset_dispatch_mode(KEY)


def on_this_thread(mode: SimulatedDispatch) -> bool:
    """Say whether the mode is on this thread."""
    return torch._C._get_dispatch_mode(KEY) is mode


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
