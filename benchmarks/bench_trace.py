"""What `lab.trace()` costs: the same work under it and under an empty TorchDispatchMode, in one run.

    python -m benchmarks trace        # the ratios that count
    python -m benchmarks.bench_trace  # all of them

CPU time of one thread, the best of several rounds, measured on this machine; only the ratios of one run mean something.
"Empty" is a mode as anyone writes it, "leanest" one that also spares itself the wrapper against torch.compile. The last
rows compare with no mode at all, on steps of about 50 ms with many and with few operators.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import nn

import devicelab as lab
from benchmarks.shared import Empty, Leanest, cpu_seconds, in_turns, layers, step_of

ROUNDS = 15
# What tracing may cost: times an empty mode on small operators, times no mode on a step of 50 ms.
SMALL, LARGE = 1.6, 1.03


Mode = Callable[[], AbstractContextManager]
MODES: dict[str, Mode] = {"none": nullcontext, "empty": Empty, "leanest": Leanest, "trace": lab.trace}


def once(mode: Mode, fn: Callable[[], object], calls: int) -> float:
    """Return the CPU seconds of one call under a mode, from `calls` in a row."""
    with mode():
        fn()
        return cpu_seconds(fn, calls)


def seconds(fn: Callable[[], object], calls: int, rounds: int = ROUNDS) -> dict[str, float]:
    """Return the CPU seconds of one call under each mode."""
    return in_turns({name: partial(once, mode, fn, calls) for name, mode in MODES.items()}, rounds)


def nested(depth: int) -> nn.Module:
    """Return a small layer inside `depth` modules: the user's line is that many Python frames away."""
    module: nn.Module = nn.Linear(8, 8)
    for _ in range(depth):
        module = nn.Sequential(module)
    return module


def small_works() -> Iterator[tuple[str, Callable[[], object], int]]:
    """Yield small operators: name, work and how often in a row."""
    a = torch.ones(4)
    small = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 2))
    yield "a + a, 30 times", lambda: [a + a for _ in range(30)], 60
    yield "small training step", step_of(small, torch.randn(100, 10)), 30
    yield "layer 12 modules deep", step_of(nested(12), torch.randn(8, 8)), 30


def large_works() -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield steps of about 50 ms, with many and with few operators."""
    for count, width in ((8, 512), (2, 1024)):
        yield f"{count} layers, {width} wide", step_of(layers(count, width), torch.randn(384, width))


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield name, value and bound."""
    torch.set_num_threads(1)
    for name, fn, calls in small_works():
        best = seconds(fn, calls)
        yield f"trace to empty mode, {name}", best["trace"] / best["empty"], SMALL
    for name, fn in large_works():
        best = seconds(fn, 1, 40)
        yield f"trace to none, {name}", best["trace"] / best["none"], LARGE


def main() -> None:
    """Print a row for each kind of work."""
    torch.set_num_threads(1)
    print(f"{'work (CPU time, measured)':28}{'empty, us':>11}{'trace, us':>11}{'ratio':>8}{'to leanest':>12}")
    for name, fn, calls in small_works():
        best = seconds(fn, calls)
        empty, trace, leanest = (1e6 * best[mode] for mode in ("empty", "trace", "leanest"))
        print(f"{name:28}{empty:11.0f}{trace:11.0f}{trace / empty:8.2f}{trace / leanest:12.2f}")
    print(f"\n{'step of about 50 ms':28}{'none, ms':>11}{'empty':>11}{'trace':>8}")
    for name, fn in large_works():
        best = seconds(fn, 1, 40)
        empty, trace = (100 * (best[name] / best["none"] - 1) for name in ("empty", "trace"))
        print(f"{name:28}{1e3 * best['none']:11.1f}{empty:+9.1f} %{trace:+6.1f} %")


if __name__ == "__main__":
    main()
