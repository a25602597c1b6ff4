"""The dispatch mode on every thread: torch keeps modes per thread, and a new thread starts without any."""

import _thread
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from devicelab.errors import SimulationError
from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.run.dispatch import SimulatedDispatch

from . import later

# Modes under this key lie below all others, as a device does, and keep C++ from initializing CUDA when it reads "cuda".
KEY = torch._C._TorchDispatchModeKey.FAKE


def enter(mode: TorchDispatchMode) -> None:
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


def leave(mode: TorchDispatchMode) -> None:
    """Take exactly this mode off this thread, whatever lies above it."""
    if on_this_thread(mode):
        torch._C._unset_dispatch_mode(KEY)


def on_this_thread(mode: TorchDispatchMode) -> bool:
    """Say whether the mode is on this thread."""
    return torch._C._get_dispatch_mode(KEY) is mode


@contextmanager
def simulated_thread() -> Iterator[None]:
    """Have the running simulation's mode on this thread."""
    machine = state.current
    if machine is None or on_this_thread(machine.mode):
        yield
        return
    enter(machine.mode)
    try:
        yield
    finally:
        leave(machine.mode)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Take the simulation's mode off this thread for work that runs on the CPU alone."""
    machine = state.current
    if machine is None or not on_this_thread(machine.mode):
        yield
        return
    leave(machine.mode)
    try:
        yield
    finally:
        if machine.active:
            enter(machine.mode)


def on_card(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs as `function` does, with the running simulation on its thread."""

    @functools.wraps(function)
    def simulated(*args: Any, **kwargs: Any) -> Any:
        with simulated_thread():
            return function(*args, **kwargs)

    return simulated


def takes_function(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of ThreadPool whose work runs with the simulation, also on threads that are older than it."""

    @functools.wraps(method)
    def submit(pool: Any, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return method(pool, on_card(func), *args, **kwargs)

    return submit


def start_new_thread(function: Callable[..., Any], *arguments: Any) -> int:
    """Stand in for _thread.start_new_thread."""
    later.load()
    return _start_new_thread(on_card(function), *arguments)


_start_new_thread = _thread.start_new_thread


def lazy_init(original: Callable[[], None]) -> Callable[[], None]:
    """Return a torch.cuda._lazy_init that does not let C++ believe that there is a real card, on a thread without the mode."""

    def _lazy_init() -> None:
        machine = state.current
        by_python = (
            sys._getframe(1).f_globals.get("__name__", "").startswith(("torch.cuda", "devicelab.simgpu"))
        )
        if machine is not None and not by_python and not on_this_thread(machine.mode):
            enter(machine.mode)
            raise SimulationError(
                "This thread is older than the simulated GPU and did not see it. Start the simulation first, or call this again: "
                "from now on the thread sees it."
            )
        original()

    return _lazy_init


def install(machine: Machine) -> None:
    """Put the mode on this thread and on those started from now on, and on the work of older pools."""
    patches = machine.patches
    patches.wrap("threading.Thread._bootstrap_inner", on_card)
    patches.replace("_thread.start_new_thread", start_new_thread)
    patches.wrap("concurrent.futures.thread._WorkItem.run", on_card)
    for name in ("apply_async", "_map_async", "imap", "imap_unordered"):
        patches.wrap(f"multiprocessing.pool.ThreadPool.{name}", takes_function)
    patches.wrap("torch.cuda._lazy_init", lazy_init)
    machine.on_stop(lambda: leave(machine.mode))
    enter(machine.mode)
