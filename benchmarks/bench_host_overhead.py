"""What Python, modules, autograd and the optimizer cost the host for each operator that is dispatched.

    python -m benchmarks.bench_host_overhead

Small training steps on one CPU core, where the operators themselves take next to no time. The constant DISPATCH of
devicelab.costs is read off this table (measured, this machine).
"""

from collections.abc import Callable, Iterator
from timeit import repeat

import torch
from torch import nn

from benchmarks.shared import Empty, layers, step_of


class Counter(Empty):
    """Counts dispatched operators."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return super().__torch_dispatch__(func, types, args, kwargs)


def cases() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield names and steps of small models; foreach as CUDA chooses it."""
    for name, kind in (("SGD", torch.optim.SGD), ("Adam", torch.optim.Adam)):
        encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        for label, model, shape in (
            ("Linear(10, 2)", nn.Linear(10, 2), (100, 10)),
            ("8 layers", layers(8, 16), (8, 16)),
            ("encoder layer", encoder, (2, 4, 16)),
        ):
            yield f"{label}, {name}", step_of(model, torch.randn(shape), kind, foreach=True)


def main() -> None:
    """Print microseconds per dispatched operator."""
    torch.set_num_threads(1)
    print(f"{'step (one core, measured)':30}{'us a step':>10}{'operators':>11}{'us each':>9}")
    for name, step in cases():
        step()
        with Counter() as counter:
            step()
        seconds = min(repeat(step, number=100, repeat=7)) / 100
        print(f"{name:30}{seconds * 1e6:10.0f}{counter.count:11d}{seconds * 1e6 / counter.count:9.1f}")


if __name__ == "__main__":
    main()
