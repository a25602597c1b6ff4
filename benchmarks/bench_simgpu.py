"""What the simulated GPU costs, alone and watched by a trace: the same training step under it and without it, in one run.

    python -m benchmarks simgpu                  # the ratios
    python -m benchmarks.bench_simgpu            # the times of both steps
    python -m benchmarks.bench_simgpu --profile  # where the time of the small step goes

All numbers are CPU time of one thread, measured on this machine, so that other programs disturb them less; only the
ratios of one run mean something. `foreach=True` on both sides.
"""

import argparse
import cProfile
import pstats
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from benchmarks.shared import Leanest, cpu_seconds, in_turns
from devicelab import simulate_gpu, trace

ROUNDS = 15


def make_step(rows: int, width: int, out: int, device: str) -> Callable[[], None]:
    """Return the article's training step at a size, on `device`."""
    torch.manual_seed(0)
    model = nn.Linear(width, out).to(device)
    criterion, optimizer = nn.MSELoss(), torch.optim.SGD(model.parameters(), lr=0.01, foreach=True)
    data, labels = torch.randn(rows, width).to(device), torch.randn(rows, out).to(device)

    def step() -> None:
        optimizer.zero_grad()
        criterion(model(data), labels).backward()
        optimizer.step()

    return step


@contextmanager
def traced() -> Iterator[None]:
    """Simulate a card and watch it."""
    with simulate_gpu(), trace():
        yield


VARIANTS: dict[str, tuple[Callable[[], AbstractContextManager], str]] = {
    "plain": (nullcontext, "cpu"),
    "empty": (Leanest, "cpu"),
    "simulated": (simulate_gpu, "cuda"),
    "simulated and traced": (traced, "cuda"),
}


class Case(NamedTuple):
    """A step: rows, width and outputs, calls in a row, and the bounds of its ratios to the plain one."""

    title: str
    size: tuple[int, int, int]
    calls: int
    bounds: dict[str, float]

    def once(self, context: Callable[[], AbstractContextManager], device: str) -> float:
        """Return the CPU seconds of one call in a variant."""
        with context():
            step = make_step(*self.size, device)
            step()
            return cpu_seconds(step, self.calls)


CASES = (
    Case("the article's step", (100, 10, 2), 100, {"simulated": 3.0, "simulated and traced": 4.0}),
    Case("a step of about 50 ms", (2048, 1024, 512), 3, {"simulated": 1.05}),
)
START_AND_STOP = 0.1  # seconds


def measured() -> Iterator[tuple[Case, dict[str, float]]]:
    """Yield each case with the seconds of its variants, the best of all rounds."""
    torch.set_num_threads(1)
    for case in CASES:
        yield case, in_turns({name: partial(case.once, *kind) for name, kind in VARIANTS.items()}, ROUNDS)


def start_and_stop() -> float:
    """Return the CPU seconds that a simulation needs to begin and end, the best of a few."""
    simulate_gpu().stop()  # the first start loads what torch loads late
    return min(cpu_seconds(lambda: simulate_gpu().stop()) for _ in range(ROUNDS))


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield name, value and bound."""
    for case, best in measured():
        for name, bound in case.bounds.items():
            yield f"{name} to plain CPU, {case.title}", best[name] / best["plain"], bound
    yield "start and stop of a simulation, seconds", start_and_stop(), START_AND_STOP


def profile() -> None:
    """Print where the time of the small step goes."""
    with simulate_gpu():
        step = make_step(100, 10, 2, "cuda")
        step()
        profiler = cProfile.Profile()
        profiler.runcall(cpu_seconds, step, 2000)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> None:
    """Print the times, or the profile."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", action="store_true", help="print where the time of the small step goes")
    if parser.parse_args().profile:
        profile()
        return
    for case, best in measured():
        print(f"{case.title}: {', '.join(f'{name} {value * 1e6:,.0f} us' for name, value in best.items())}")


if __name__ == "__main__":
    main()
