"""The marks that every optimizer sets for the profiler: where nobody profiles, they take their time and no dispatch.

Two in zero_grad and two in step are a fifth of a small step's operators, and each would pass the mode for nothing.
"""

from collections.abc import Callable
from threading import get_ident
from typing import Any

import torch

from devicelab.costs import DISPATCH
from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine

UNHEARD = object()  # in the place of the profiler's record
_profiling = torch._C._autograd._profiler_enabled  # type: ignore[attr-defined]
_modes = torch._C._len_torch_dispatch_stack


def enter(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return record_function.__enter__, which sets the mark only for those who hear of it."""

    def __enter__(mark: Any) -> Any:
        machine = state.current
        if machine is None or _profiling() or _modes() != 1:
            return original(mark)
        listening = machine.mode.listeners.get(get_ident(), ())  # type: ignore[attr-defined]
        if any(listener.hears_marks for listener in listening):
            return original(mark)
        machine.clock.spend(DISPATCH)
        mark.record, mark.run_callbacks_on_exit = UNHEARD, False  # so torch's own __exit__ lets it be
        return mark

    return __enter__


def leave(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return record_function.__exit__, which ends the mark that was set."""

    def __exit__(mark: Any, *error: Any) -> Any:
        if mark.record is not UNHEARD:
            return original(mark, *error)
        mark.record, mark.run_callbacks_on_exit = None, True
        if state.current is not None:
            state.current.clock.spend(DISPATCH)

    return __exit__


def install(machine: Machine) -> None:
    """Replace what sets a mark and what ends it."""
    machine.patches.wrap("torch.autograd.profiler.record_function.__enter__", enter)
    machine.patches.wrap("torch.autograd.profiler.record_function.__exit__", leave)
