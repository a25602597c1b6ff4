"""One call of a function: is it one that can be timed, where did it compute, and what did the clocks say?"""

import inspect
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_iter

from devicelab import devices
from devicelab.errors import InputError

Fn = Callable[[], object]
CYCLES = 2e9  # a second, no fewer than any card's; for torch.cuda._sleep
LONG = 0.1  # seconds of a call from which threads surely pay, and too long to let a card sleep for


class Call(NamedTuple):
    """Seconds of one synchronized call.

    `total` on the device's clock, `host` until the function returned, `wall` on this machine's own clock, `low` and
    `high` the bounds of a simulated total, `worked` what a simulated card did (0: a real one does not tell).
    """

    total: float
    host: float
    wall: float
    low: float
    high: float
    worked: float


def check_function(fn: object, name: str) -> None:
    """Raise InputError unless `fn` can be called without arguments; `name` is the asking function's."""
    if not callable(fn):
        raise InputError(
            f"{name} needs a function to call, but it got {type(fn).__name__}, perhaps what a call returned. "
            f"Give the function itself, step and not step(), or wrap the work: lambda: model(x)."
        )
    needed = _needed(fn)
    if needed:
        raise InputError(
            f"{name} calls the function without arguments, but it needs {', '.join(needed)}. Wrap it: lambda: step(x)."
        )


def _needed(fn: Callable[..., object]) -> list[str]:
    """Return the names of the arguments that cannot be left out."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # some built-in functions do not tell
        return []
    left_out = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in left_out]


class _Watch(devices.Listener):
    """Notes on which devices operators leave their results."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def hear(self, run: Callable[..., Any], func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        out = run(func, types, args, kwargs)
        self.seen.update(str(leaf.device) for leaf in tree_iter(out) if isinstance(leaf, torch.Tensor))
        return out


def compilations() -> int:
    """Return how often torch.compile has compiled something so far."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return dynamo.counters["frames"]["total"] if dynamo else 0


def devices_used(fn: Fn) -> list[str]:
    """Call `fn` once, uncompiled, and return the devices of its operators' results, in alphabetical order.

    Work of other threads is not seen: on a real GPU that includes the backward pass. A generator or a coroutine, whose
    body a call does not run, is an InputError.
    """
    with _Watch() as watch:
        _check_result(fn())
    return sorted(watch.seen)


def _check_result(result: object) -> None:
    if inspect.isgenerator(result):
        raise InputError(
            "The function returned a generator, so nothing of it has run yet. Time lambda: list(work()) instead."
        )
    if inspect.iscoroutine(result):
        result.close()  # or Python warns that it was never awaited
        raise InputError(
            "The function is asynchronous: a call only makes a coroutine, and nothing of it has run yet. Time a plain one."
        )


def where(used: list[str]) -> devices.Device:
    """Return the device whose clock counts for work that leaves its results on these devices."""
    present = devices.present()
    return present if any(name.split(":")[0] == present.type for name in used) else devices.CPU


def quiet(device: devices.Device) -> AbstractContextManager[object]:
    """Keep a simulation out of the way of work that runs on the CPU alone."""
    return devices.present().undisturbed() if device is devices.CPU else nullcontext()


def once(fn: Fn, device: devices.Device) -> Call:
    """Call `fn` with an empty queue before and after."""
    device.synchronize()
    (low, high), worked = device.bounds(), device.worked()
    wall, begin = time.perf_counter(), device.clock()
    fn()
    host = device.clock() - begin
    device.synchronize()
    total, wall = device.clock() - begin, time.perf_counter() - wall
    after_low, after_high = device.bounds()
    return Call(total, host, wall, after_low - low, after_high - high, device.worked() - worked)


def event_seconds(fn: Fn, device: devices.Device, host: float) -> float:
    """Call `fn` and return the seconds that a real GPU works on it, by events before and after.

    CUDA first sleeps until the host, which needs `host` seconds, has submitted everything, so that gaps between the
    kernels do not count. They do where the function itself waits for the card, submits more than the queue holds, or
    takes long; on Apple's GPU always.
    """
    assert device.event is not None
    begin, end = device.event(), device.event()
    if device.type == "cuda" and host < LONG:
        torch.cuda._sleep(int(2 * host * CYCLES))
    begin.record()
    fn()
    end.record()
    device.synchronize()
    return begin.elapsed_time(end) / 1000
