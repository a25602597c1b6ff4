"""torch.profiler, which records the CPU alone; and its marks: where nobody hears of them, they take their time and no dispatch.

Of every optimizer's marks two in zero_grad and two in step are a fifth of a small step's operators, and each would pass the
mode for nothing. Marks of the learner's own stay what they are.
"""

import functools
import warnings
from collections.abc import Callable
from threading import get_ident
from typing import Any

import torch
from torch.autograd import ProfilerActivity, ProfilerState

from devicelab.errors import SimulationError
from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine
from devicelab.versions import release

CPU_ALONE = (
    "The profiler asks the NVIDIA driver what a GPU does, and a simulated card has none: {}. devicelab.trace() tells what ran "
    "on the card, and its simulated times."
)
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


def of_the_cpu(original: Callable[..., None]) -> Callable[..., None]:
    """Return the __init__ of a profiler that was asked for the card as well, and records what this machine's CPU does."""

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, use_cpu: bool = True, **kwargs: Any) -> None:
        if not use_cpu and kwargs.get("use_device") == "cuda":
            raise SimulationError(CPU_ALONE.format("profile ProfilerActivity.CPU"))
        original(self, *args, use_cpu=use_cpu, **kwargs)
        if self.enabled and self.use_device == "cuda":
            self.use_device, self.profiler_kind = None, ProfilerState.KINETO
            self.kineto_activities.discard(ProfilerActivity.CUDA)
            warnings.warn(CPU_ALONE.format("it records the CPU alone"), stacklevel=2)

    return __init__


def install(machine: Machine) -> None:
    """Replace what begins a profile, and what sets a mark and ends it; before PyTorch 2.11 the mode heard of no marks."""
    machine.patches.wrap("torch.autograd.profiler.profile.__init__", of_the_cpu)
    if release(torch.__version__) < (2, 11):
        return
    machine.patches.wrap("torch.autograd.profiler.record_function.__enter__", enter)
    machine.patches.wrap("torch.autograd.profiler.record_function.__exit__", leave)
