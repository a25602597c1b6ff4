"""What `lab.monitor()` takes from the work that it watches: the CPU time of its thread, as a share of one core.

    python -m benchmarks monitor

A sample reads every core and, where there is one, the GPU's driver; it is taken ten times a second. On the simulated card
the work itself tells the monitor of each kernel: that is compared with the same work unwatched, in turns.
"""

from collections.abc import Iterator
from statistics import median
from time import thread_time

import torch

import devicelab as lab
from devicelab.monitor import Sampler
from devicelab.monitor.readers import gpu_reader

SAMPLES, ROUNDS, KERNELS = 200, 15, 2000
INTERVAL = 0.1  # seconds, the default
SHARE, SLOWER = 0.01, 1.25


def share_of_a_core() -> float:
    """Return the CPU seconds of a sample over the seconds between two samples."""
    sampler = Sampler(INTERVAL, gpu_reader(None), None)
    sampler._begin = sampler._last = 0.0
    begin = thread_time()
    for _ in range(SAMPLES):
        sampler._sample()
    return (thread_time() - begin) / SAMPLES / INTERVAL


def kernels() -> float:
    """Return the CPU seconds of many tiny kernels on the simulated card."""
    x = torch.zeros(10, device="cuda")
    begin = thread_time()
    for _ in range(KERNELS):
        x.add_(1)
    return thread_time() - begin


def watched_to_unwatched() -> float:
    """Return by what factor tiny kernels on the simulated card become slower."""
    factors = []
    with lab.simulate_gpu("Tesla T4"):
        for _ in range(ROUNDS):
            alone = kernels()
            with lab.monitor():
                watched = kernels()
            factors.append(watched / alone)
    return median(factors)


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield name, value and bound."""
    yield "the monitor's thread, share of one core", share_of_a_core(), SHARE
    if not torch.cuda.is_available():
        yield "tiny simulated kernels, watched to unwatched", watched_to_unwatched(), SLOWER
