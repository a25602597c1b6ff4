"""`lab.timeit` beside torch.utils.benchmark on the same work, and how long a default `lab.compare()` takes.

    python -m benchmarks timing

The two timers take turns, so that a change of the machine's speed meets both, with equally many calls in a sample: on a
busy machine longer samples hold more waiting. The ratio is the median over the rounds.
Measured on this machine, on the CPU with one thread, or on its GPU where there is one.
"""

import time
from collections.abc import Callable, Iterator
from statistics import median

import torch
from torch import nn
from torch.utils.benchmark import Timer

import devicelab as lab

ROUNDS, SECONDS = 41, 0.06  # many short ones: a busy moment spoils few of them
AGREE = 1.03  # lab.timeit and torch.utils.benchmark, either way
COMPARE = 10.0  # seconds


def works(device: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield work from a few microseconds to tens of milliseconds."""
    a, b = torch.ones(4, device=device), torch.randn(512, 512, device=device)
    model, data = nn.Linear(10, 2).to(device), torch.randn(100, 10, device=device)
    yield "an addition", lambda: a + a
    yield "a training step", lambda: model(data).square().mean().backward()
    yield "a 512 x 512 product", lambda: b @ b


def agreement(fn: Callable[[], object]) -> float:
    """Return by what factor the two timers differ, at least 1."""
    timer = Timer("fn()", globals={"fn": fn}, num_threads=1)
    ratios = []
    for _ in range(ROUNDS):
        ours = lab.timeit(fn, seconds=SECONDS, threads=1)
        theirs = median(timer.timeit(ours.calls).median for _ in ours.samples)
        ratios.append(ours.median / theirs)
    ratio = median(ratios)
    return max(ratio, 1 / ratio)


def seconds_of_compare() -> float:
    """Return how long a default comparison takes, a GPU simulated where there is none."""
    if not torch.cuda.is_available():
        lab.simulate_gpu()
    begin = time.perf_counter()
    lab.compare()
    return time.perf_counter() - begin


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield name, value and bound."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name, fn in works(device):
        yield f"timeit to torch.utils.benchmark, {name} on {device}, factor", agreement(fn), AGREE
    yield "a default compare(), s", seconds_of_compare(), COMPARE
