"""The marks that every optimizer sets for the profiler: where nobody hears of them, they take their time and no dispatch.

Two in zero_grad and two in step are a fifth of a small step's operators, and each would pass the mode for nothing. Marks of
the learner's own stay what they are.
"""

import functools
from collections.abc import Callable
from threading import get_ident
from typing import Any

import torch

from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine
from devicelab.versions import release

UNHEARD = object()  # in the place of the profiler's record
_profiling = torch._C._autograd._profiler_enabled  # type: ignore[attr-defined]


def is_unheard(mark: Any, machine: Any) -> bool:
    """Say whether a mark is an optimizer's, which lives for one step, and nothing but the simulated card would see it."""
    if not mark.name.startswith("Optimizer.") or _profiling() or torch._C._len_torch_function_stack():
        return False
    mode = machine.mode
    if torch._C._len_torch_dispatch_stack() != 1 or torch._C._get_dispatch_mode(mode._mode_key) is not mode:
        return False
    return not any(listener.hears_marks for listener in mode.listeners.get(get_ident(), ()))


def enter(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return record_function.__enter__, which sets an optimizer's mark only for those who hear of it."""

    @functools.wraps(original)  # TorchScript reads the source of what is wrapped
    def __enter__(self: Any) -> Any:
        machine = state.current
        if machine is None or not is_unheard(self, machine):
            return original(self)
        machine.clock.spend(machine.clock.dispatch)
        self.record, self.run_callbacks_on_exit = UNHEARD, False  # so torch's own __exit__ lets it be
        return self

    return __enter__


def leave(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return record_function.__exit__, which ends the mark that was set."""

    @functools.wraps(original)
    def __exit__(self: Any, *error: Any) -> Any:
        if self.record is not UNHEARD:
            return original(self, *error)
        self.record = None
        if state.current is not None:
            state.current.clock.spend(state.current.clock.dispatch)

    return __exit__


def install(machine: Machine) -> None:
    """Replace what sets a mark and what ends it; before PyTorch 2.11 the mode did not hear of marks, and they took no time."""
    if release(torch.__version__) < (2, 11):
        return
    machine.patches.wrap("torch.autograd.profiler.record_function.__enter__", enter)
    machine.patches.wrap("torch.autograd.profiler.record_function.__exit__", leave)
