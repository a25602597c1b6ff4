"""The right clock: warm, synchronized, with raw samples."""

import math
import os
import time
from statistics import median

import torch
from torch.utils.benchmark import Timer
from torch.utils.benchmark.utils.common import set_torch_threads

from devicelab import compiled, devices
from devicelab.errors import check_range
from devicelab.results import Timing, spread

from .calls import (
    LONG,
    Call,
    Fn,
    check_function,
    compilations,
    devices_used,
    event_seconds,
    once,
    quiet,
    where,
)

FEWEST = 3  # samples, so that there is a spread to look at
BLOCK = (
    0.001  # seconds of a sample on the CPU: long beside the clock, short beside what other programs take away
)
PART = 1 / 12  # of the time given for a sample on a GPU, whose synchronization is not free
CLOSE = 0.05  # of the median: a spread below it ends the sampling after a third of the time given
PATIENCE = 10  # a call longer than so many times the time given is timed once


def timeit(
    fn: Fn,
    *,
    seconds: float = 0.3,
    repeats: int | None = None,
    threads: int | None = None,
) -> Timing:
    """Time one call of `fn` on the device where its work really runs.

    `fn` is called many times, so what it changes is changed many times. The calls before the first sample warm up; each
    sample ends with the accelerator's queue empty. `seconds` is the time to spend on samples: a call longer than that
    is timed three times, one ten times as long once. `repeats` asks for that many samples of one call instead.
    `threads` is the number of CPU threads; left out, it is one or torch's own setting, whichever is faster here.

    Work on the CPU alone is measured even while a GPU is simulated; work on a simulated GPU is timed on its simulated
    clock. On a GPU `host` is what the host needs to submit a call and `gpu` what the GPU works on it.
    torch.utils.benchmark.Timer does the timing.
    """
    _check(fn, seconds, repeats, threads)
    used = devices_used(fn)
    device = where(used)
    uncompiled = compiled.calls()
    with quiet(device):
        tried = threads or torch.get_num_threads()
        with set_torch_threads(tried):
            before = compilations()
            first = once(fn, device)  # the call before was the warm-up
            if compilations() > before:
                first = once(fn, device)
        threads = threads or _threads(fn, device, first.wall, seconds)
        with set_torch_threads(threads):
            first = first if threads == tried else once(fn, device)
            samples, calls = _samples(fn, device, first, seconds, repeats, threads)
            host, gpu = _apart(fn, device, first, seconds)
    low, high = (first.low, first.high) if device.origin == "simulated" else (None, None)
    places = " and ".join(used) or "no device"
    return Timing(
        samples,
        calls,
        places,
        device.name,
        device.origin,
        threads,
        low,
        high,
        _load(),
        host=host,
        gpu=gpu,
        host_note=device.host_note(),
        uncompiled=compiled.calls() > uncompiled,
    )


def _check(fn: object, seconds: float, repeats: int | None, threads: int | None) -> None:
    check_function(fn, "timeit")
    check_range("seconds", seconds, 0.001, 600)
    if repeats is not None:
        check_range("repeats", repeats, 1, 1_000_000)
    if threads is not None:
        check_range("threads", threads, 1, 1024)


def _samples(
    fn: Fn, device: devices.Device, first: Call, seconds: float, repeats: int | None, threads: int
) -> tuple[tuple[float, ...], int]:
    """Return seconds per call of each sample, and the calls in a sample."""
    if repeats is not None:
        return tuple(once(fn, device).total for _ in range(repeats)), 1
    if first.wall > PATIENCE * seconds:
        return (first.total,), 1
    # Simulated time is the same every time, so a few samples say all.
    if first.wall > seconds or device.origin == "simulated":
        return (first.total, *(once(fn, device).total for _ in range(FEWEST - 1))), 1
    return _adaptive(fn, device, first.wall, seconds, threads)


def _adaptive(
    fn: Fn, device: devices.Device, call: float, seconds: float, threads: int
) -> tuple[tuple[float, ...], int]:
    """Take samples of several calls until they agree or the time is spent."""

    def clock() -> float:
        device.synchronize()
        return device.clock()

    timer = Timer("fn()", globals={"fn": fn}, timer=clock, num_threads=threads)
    block = BLOCK if device is devices.CPU else PART * seconds
    calls = math.ceil(block / median([call, *_quick(fn, device)]))
    begin = time.perf_counter()
    times: list[float] = []
    while not _enough(times, time.perf_counter() - begin, seconds):
        times += [once(fn, device).total] if calls == 1 else timer.timeit(calls).times
    return tuple(times), calls


def _enough(times: list[float], spent: float, seconds: float) -> bool:
    """Say whether the samples agree, the time is spent, or calls came to take far longer than the first ones."""
    if len(times) < FEWEST:
        return bool(times) and spent > 3 * seconds
    agree = len(times) > FEWEST and spread(times) < CLOSE * median(times)
    return spent > seconds or (agree and spent > seconds / 3)


def _apart(fn: Fn, device: devices.Device, first: Call, seconds: float) -> tuple[float | None, float | None]:
    """Return the host's seconds for submitting a call and the GPU's for doing it; None for the CPU."""
    if device is devices.CPU:
        return None, None
    if device.origin == "simulated":
        return first.host, first.worked
    if first.wall > PATIENCE * seconds or device.event is None:
        return first.host, None
    host = median(once(fn, device).host for _ in range(FEWEST))
    return host, median(event_seconds(fn, device, host) for _ in range(FEWEST))


def _threads(fn: Fn, device: devices.Device, call: float, seconds: float) -> int:
    """Return one thread or torch's own number of them, whichever is faster for short work on the CPU.

    On a busy machine two threads wait for each other far longer than a small operator takes, so that even a call that
    seems long is tried with one, if only once.
    """
    most = torch.get_num_threads()
    if device is not devices.CPU or most == 1 or call > PATIENCE * seconds / FEWEST:
        return most
    if call > min(LONG, seconds):
        with set_torch_threads(1):
            return 1 if once(fn, device).wall < call else most

    def quickest(threads: int) -> float:
        with set_torch_threads(threads):
            return min(_quick(fn, device))

    return min((1, most), key=quickest)


def _quick(fn: Fn, device: devices.Device) -> list[float]:
    """Return this machine's seconds for each of a few single calls."""
    return [once(fn, device).wall for _ in range(2 * FEWEST)]


def _load() -> float | None:
    """Return how many programs were ready to run per core during the last minute, or None where nobody counts."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):
        return None
