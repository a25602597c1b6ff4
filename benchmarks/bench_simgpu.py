"""What the simulated GPU costs, alone and watched by a trace: the same training step under it and without it, in one run.

    python benchmarks/bench_simgpu.py            # both steps
    python benchmarks/bench_simgpu.py --profile  # where the time of the small step goes

All numbers are CPU time of one thread, measured on this machine, so that other programs disturb them less; only the
ratios of one run mean something. `foreach=True` on both sides.
"""

import argparse
import cProfile
import pstats
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import process_time
from typing import NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from devicelab import simulate_gpu, trace

ROUNDS = 15


class Empty(TorchDispatchMode):
    """Does nothing, and is no slower than it must be."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **kwargs) if kwargs else func(*args)


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


def seconds(step: Callable[[], None], calls: int) -> float:
    """Return the CPU seconds of one call, from `calls` in a row."""
    start = process_time()
    for _ in range(calls):
        step()
    return (process_time() - start) / calls


@contextmanager
def traced() -> Iterator[None]:
    """Simulate a card and watch it."""
    with simulate_gpu(), trace():
        yield


def sample(rows: int, width: int, out: int, calls: int) -> dict[str, list[float]]:
    """Time the step in turn without any mode, under the empty one, on the simulated card, and there under a trace."""
    cases: dict[str, tuple[Callable[[], AbstractContextManager[object]], str]] = {
        "plain": (nullcontext, "cpu"),
        "empty": (Empty, "cpu"),
        "simulated": (simulate_gpu, "cuda"),
        "simulated and traced": (traced, "cuda"),
    }
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, (context, device) in cases.items():
            with context():
                step = make_step(rows, width, out, device)
                step()
                samples[name].append(seconds(step, calls))
    return samples


class Case(NamedTuple):
    """A step: its size, calls in a row, and the bounds of its ratios to the plain one."""

    title: str
    rows: int
    width: int
    out: int
    calls: int
    bounds: dict[str, float]


CASES = (
    Case("the article's step", 100, 10, 2, 100, {"simulated": 3.0, "simulated and traced": 4.0}),
    Case("a step of about 50 ms", 2048, 1024, 512, 3, {"simulated": 1.05}),
)
START_AND_STOP = 0.1  # seconds


def measured() -> Iterator[tuple[Case, dict[str, float]]]:
    """Yield each case with the seconds of its variants, the best of all rounds."""
    torch.set_num_threads(1)
    for case in CASES:
        samples = sample(case.rows, case.width, case.out, case.calls)
        yield case, {name: min(values) for name, values in samples.items()}


def start_and_stop() -> float:
    """Return the CPU seconds that a simulation needs to begin and end, the best of a few."""
    simulate_gpu().stop()  # the first start loads what torch loads late
    return min(seconds(lambda: simulate_gpu().stop(), 1) for _ in range(ROUNDS))


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
        profiler.runcall(seconds, step, 2000)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> None:
    """Print both ratios, or the profile."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", action="store_true", help="print where the time of the small step goes")
    if parser.parse_args().profile:
        profile()
        return
    for case, best in measured():
        print(f"{case.title}: {', '.join(f'{name} {value * 1e6:,.0f} us' for name, value in best.items())}")
        for name, bound in case.bounds.items():
            print(f"  {name} / plain = {best[name] / best['plain']:.2f} (at most {bound}), measured")
    print(f"start and stop: {start_and_stop():.3f} s (at most {START_AND_STOP}), measured")


if __name__ == "__main__":
    main()
