"""Which device computes here, how its clock is read and how its queue is emptied.

An instrument asks the device for its clock, so it need not know whether the device is real.
The simulated GPU registers itself here.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol, Self

import torch
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _get_current_dispatch_mode,
    _get_current_dispatch_mode_stack,
)

from devicelab import compiled
from devicelab.errors import InputError

Origin = Literal["measured", "simulated", "estimated", "recorded", "published"]
# Hears of work: the card's number, "kernel" or "copy" or "context", begin and end in simulated seconds.
Watcher = Callable[[int, str, float, float], object]


def _nothing() -> None:
    return None


def _never() -> float:
    return 0.0


def _unknown(index: int) -> tuple[int, int]:
    return 0, 0


def _same_twice() -> tuple[float, float]:
    now = time.perf_counter()
    return now, now


@dataclass(frozen=True)
class Device:
    """A device as the instruments see it.

    `clock` returns host seconds, `synchronize` returns when the queue is empty, `undisturbed` is entered around work
    that runs on the CPU alone, so that a simulation does not slow it down while it is measured. `bounds` returns the
    low and the high reading (seconds) of a simulated clock; on a real device both are the clock. `worked` returns the
    seconds of work that a simulated card was given so far; a real one does not tell. Nor does it call the `watchers`, which
    a simulated one tells of all its work, nor `memory`: the bytes that are taken of a simulated card, and its total.
    `listeners` of a simulated one hear of every operator of their thread, the innermost last; None where nobody is told.
    `event` makes a marker for a real card's queue: `record()` it, and `elapsed_time(later)` gives milliseconds.
    """

    type: str
    name: str
    origin: Origin
    clock: Callable[[], float] = time.perf_counter
    synchronize: Callable[[], None] = _nothing
    undisturbed: Callable[[], AbstractContextManager[object]] = nullcontext
    bounds: Callable[[], tuple[float, float]] = _same_twice
    worked: Callable[[], float] = _never
    event: Callable[[], Any] | None = None
    watchers: list[Watcher] = field(default_factory=list)
    listeners: dict[int, list["Listener"]] | None = None
    memory: Callable[[int], tuple[int, int]] = _unknown
    host_note: Callable[[], str] = str  # how the host's share of a simulated time is known


class Observer(Protocol):
    """What a simulated card tells while it is watched; a real card's driver tells its own profiler."""

    def began(self, device: Device) -> None:
        """Hear that a simulation began: its clock and its card are the ones to ask from now on."""

    def ended(self, device: Device) -> None:
        """Hear that a simulation ended."""

    def copied(
        self,
        source: torch.device,
        target: torch.device,
        nbytes: int,
        pinned: bool,
        waits: bool,
        seconds: float,
        buffer: Any = None,
        end: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        """Hear of a copy: whether the host waits for its end, and the seconds that the link needs.

        `buffer` is the host's tensor, where there is one; `end` the moment on the low, the high and the guessed clock.
        """

    def failed(self, message: str) -> None:
        """Hear that a kernel was launched whose assertion fails: nobody else knows yet."""

    def touched(self, tensor: Any, how: str) -> None:
        """Hear that the values of a tensor of the host were asked for past all operators: by "numpy", "tolist" or "print"."""

    def waited(self, seconds: float, why: str) -> None:
        """Hear that the host waited for the card; `why` is "copy" or empty."""

    def met(self, last: int, seconds: float) -> None:
        """Hear that a collective of several processes began, and how long this process waited for the rank that came last."""


observers: list[Observer] = []


def rank() -> int | None:
    """Return the rank of this process among several, or None where it is alone, as torch.distributed or a launcher say it."""
    group = sys.modules.get("torch.distributed")
    if group is not None and group.is_available() and group.is_initialized():
        return group.get_rank() if group.get_world_size() > 1 else None
    number, size = (os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE"))
    return int(number) if number.isdigit() and size.isdigit() and int(size) > 1 else None


def run_plainly(func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """Run an operator where no simulated card looks at it."""
    return func(*args, **kwargs) if kwargs else func(*args)


_frames = torch._C._dynamo.eval_frame
_CAN_HIDE = all(
    hasattr(_frames, name) for name in ("set_code_exec_strategy", "_FrameExecStrategy", "_FrameAction")
)


class Listener(TorchDispatchMode):
    """Hears of every operator of the thread that enters it: from the simulated card if there is one, else as a mode of its own.

    So a simulation and what watches it cost one dispatch mode, not two. `hear` is given what runs the operator.
    """

    supports_higher_order_operators = True  # heard as one where what they run is not; from PyTorch 2.9 on
    sees_inside = True  # of torch.cond and its like: see higher_order
    hears_marks = False  # also of those that optimizers set for the profiler, and that compute nothing
    _told_by: dict[int, list["Listener"]] | None = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return not _CAN_HIDE  # a wrapper around every operator; else see below, at no cost

    def hear(self, run: Callable[..., Any], func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Run an operator by `run(func, types, args, kwargs)`, and return its result."""
        raise NotImplementedError

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.hear(run_plainly, func, types, args, kwargs)

    def __enter__(self) -> Self:
        card, self._thread = simulated_here(), threading.get_ident()
        self._told_by = card.listeners if card else None
        if self._told_by is None:
            self._hold = compiled.Hold(self._thread)
            compiled.hold(self._hold)
            super().__enter__()
        else:
            self._together = self._told_by.setdefault(self._thread, [])
            self._together.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        if self._told_by is None:
            self._take_off(*error)
            compiled.release(self._hold)
            return
        self._together[:] = [other for other in self._together if other is not self]
        if not self._together and self._told_by.get(self._thread) is self._together:
            del self._told_by[self._thread]
        self._told_by = None

    def _take_off(self, *error: Any) -> None:
        """Take exactly this mode off this thread, whatever was entered after it."""
        modes = _get_current_dispatch_mode_stack()
        if self not in modes:
            raise InputError(
                "A trace ends where it began: leave its `with` block, or call __exit__, on the thread that entered it, "
                "outside of any operator."
            )
        above = modes[modes.index(self) + 1 :]
        for mode in reversed(above):
            TorchDispatchMode.__exit__(mode, None, None, None)
        super().__exit__(*error)
        for mode in above:
            TorchDispatchMode.__enter__(mode)

    def told_by(self, device: Device) -> bool:
        """Whether this simulated device tells it of operators."""
        return self._told_by is not None and self._told_by is device.listeners

    def follow(self) -> None:
        """Change over to the simulation that began inside the block, or back to a mode.

        Another thread cannot do that, and below a mode that is not ours it stays.
        """
        if threading.get_ident() != self._thread:
            return
        if self._told_by is not None or _get_current_dispatch_mode() is self:
            Listener.__exit__(self, None, None, None)
            Listener.__enter__(self)


if _CAN_HIDE:  # torch.compile leaves the listener, and all that it calls, alone
    _skip = _frames._FrameExecStrategy(_frames._FrameAction.SKIP, _frames._FrameAction.SKIP)
    _frames.set_code_exec_strategy(Listener.__torch_dispatch__.__code__, _skip)


CPU = Device("cpu", "CPU", "measured")
_registered: list[Device] = []


def register(device: Device) -> None:
    """Make `device` the present one, until it is unregistered."""
    _registered.append(device)
    for observer in observers:
        observer.began(device)


def unregister(device: Device) -> None:
    """Take `device` away again, in any order."""
    _registered[:] = [other for other in _registered if other is not device]
    for observer in observers:
        observer.ended(device)


def simulated() -> Device | None:
    """Return the simulated device, or None where no simulation runs."""
    return _registered[-1] if _registered else None


def simulated_here() -> Device | None:
    """Return the simulated device where it sees this thread: not one older than it, nor work that it leaves undisturbed."""
    device, mode = simulated(), torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
    return device if device is not None and getattr(mode, "listeners", None) is device.listeners else None


def real_accelerator() -> Device | None:
    """Return this machine's own GPU (CUDA before MPS), or None; while a simulation runs nobody can tell, so it is not asked."""
    if _registered:
        return None
    if torch.cuda.is_available():
        return _real("cuda", torch.cuda.get_device_name(), torch.cuda)
    if torch.backends.mps.is_available():
        return _real("mps", "Apple GPU (mps)", torch.mps)
    return None


def _real(kind: str, name: str, module: Any) -> Device:
    return Device(
        kind,
        name,
        "measured",
        synchronize=module.synchronize,
        event=partial(module.Event, enable_timing=True),
    )


def present() -> Device:
    """Return the device that training would be sent to here: the simulated one, the real one, else the CPU."""
    return simulated() or real_accelerator() or CPU


def present_here() -> Device:
    """Return the present device as this thread meets it: the CPU where a simulation does not see the thread."""
    device = present()
    return CPU if device.origin == "simulated" and simulated_here() is None else device


def default() -> torch.device:
    """Return the device of new tensors for which none is named.

    PyTorch's own function fails before 2.10 once a default device was taken back (pytorch/pytorch, `torch/__init__.py` of
    2.9: it asks the None that is left for its device).
    """
    try:
        return torch.get_default_device()
    except AttributeError:
        return torch.device("cpu")


def clock() -> float:
    """Return seconds on the host clock of the present device; only differences mean something.

    A real device: time.perf_counter(). A simulated one: its simulated host time, which time.perf_counter() cannot see.
    """
    return present().clock()
