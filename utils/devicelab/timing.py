"""How long a call takes on the device it really runs on: warm, synchronized, with raw samples."""

import os
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.benchmark import Timer

from . import devices
from .errors import InputError, check_range
from .results import Timing

LONG = 0.1  # seconds of a call from which threads surely pay
FEWEST = 3  # samples, so that there is a spread to look at, however long one takes


class _Watch(TorchDispatchMode):
    """Notes on which devices operators leave their results."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.seen.update(str(leaf.device) for leaf in tree_iter(out) if isinstance(leaf, torch.Tensor))
        return out


def devices_used(fn: Callable[[], object]) -> list[str]:
    """Call `fn` once and return the devices of its operators' results, in alphabetical order.

    Work of other threads is not seen: on a real GPU that includes the backward pass.
    """
    with _Watch() as watch:
        fn()
    return sorted(watch.seen)


def timeit(
    fn: Callable[[], object],
    *,
    seconds: float = 0.3,
    repeats: int | None = None,
    threads: int | None = None,
) -> Timing:
    """Time one call of `fn` on the device where its work really runs.

    The calls before the first sample warm up; each sample ends with the accelerator's queue empty. `seconds` is the time to
    spend on samples, `repeats` asks for that many samples of one call instead. `threads` is the number of CPU threads; left
    out, it is one or torch's own setting, whichever is faster here. Work on the CPU alone is measured even while a GPU is
    simulated; work on a simulated GPU is timed on its simulated clock. torch.utils.benchmark.Timer does the timing.
    """
    _check(fn, seconds, repeats, threads)
    used = devices_used(fn)
    present = devices.present()
    device = present if any(name != "cpu" for name in used) else devices.CPU
    with present.undisturbed() if device is devices.CPU else nullcontext():
        threads = threads or (_best_threads(fn) if device is devices.CPU else torch.get_num_threads())
        samples, calls, bounds = _samples(fn, device, seconds, repeats, threads)
    low, high = bounds if bounds else (None, None)
    where = " and ".join(used) or "no device"
    return Timing(samples, calls, where, device.name, device.origin, threads, low, high, _load())


def _check(fn: object, seconds: float, repeats: int | None, threads: int | None) -> None:
    if not callable(fn):
        raise InputError(
            f"timeit needs a function to call, but it got {type(fn).__name__}. Wrap the work: lab.timeit(lambda: model(x))."
        )
    check_range("seconds", seconds, 0.001, 600)
    if repeats is not None:
        check_range("repeats", repeats, 1, 1_000_000)
    if threads is not None:
        check_range("threads", threads, 1, 1024)


def _samples(fn, device: devices.Device, seconds: float, repeats: int | None, threads: int):
    """Return seconds per call of each sample, calls in a sample, and (low, high) seconds of a simulated call."""

    def clock() -> float:
        device.synchronize()
        return device.clock()

    timer = Timer("fn()", globals={"fn": fn}, timer=clock, num_threads=threads)
    if device.origin == "simulated":  # the same every time, so a few samples say all
        return _counted(timer, repeats or FEWEST), 1, _bounds(fn, device)
    if repeats is not None:
        return _counted(timer, repeats), 1, None
    measurement = timer.adaptive_autorange(threshold=0.05, min_run_time=seconds / 3, max_run_time=seconds)
    calls, times = measurement.number_per_run, list(measurement.times)
    while len(times) < FEWEST:
        times += timer.timeit(calls).times
    return tuple(times), calls, None


def _best_threads(fn: Callable[[], object]) -> int:
    """Return one thread or torch's own number of them, whichever is faster for short work.

    On a busy machine two threads wait for each other far longer than a small operator takes.
    """
    most = torch.get_num_threads()
    if most == 1 or _quickest(fn, most, 1) > LONG:
        return most
    return min((1, most), key=lambda threads: _quickest(fn, threads, 5))


def _quickest(fn: Callable[[], object], threads: int, repeats: int) -> float:
    timer = Timer("fn()", globals={"fn": fn}, num_threads=threads, timer=time.perf_counter)
    return min(_counted(timer, repeats))


def _load() -> float | None:
    """Return how many programs were ready to run per core during the last minute, or None where nobody counts."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):
        return None


def _counted(timer: Timer, repeats: int) -> tuple[float, ...]:
    return tuple(timer.timeit(1).times[0] for _ in range(repeats))


def _bounds(fn, device: devices.Device) -> tuple[float, float]:
    device.synchronize()
    low, high = device.bounds()
    fn()
    device.synchronize()
    after_low, after_high = device.bounds()
    return after_low - low, after_high - high
