"""What Python, modules, autograd and the optimizer cost the host for each operator that is dispatched.

    python benchmarks/bench_host_overhead.py

Small training steps on one CPU core, where the operators themselves take next to no time. The constant DISPATCH of
devicelab.costs is read off this table (measured, this machine).
"""

from collections.abc import Callable, Iterator
from timeit import repeat

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


class Counter(TorchDispatchMode):
    """Counts dispatched operators."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def step_of(model: nn.Module, data: torch.Tensor, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """Return one training step; foreach as CUDA chooses it."""

    def step() -> None:
        optimizer.zero_grad()
        model(data).square().mean().backward()
        optimizer.step()

    return step


def cases() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield names and steps of small models."""
    for name, kind in (("SGD", torch.optim.SGD), ("Adam", torch.optim.Adam)):
        linear = nn.Linear(10, 2)
        deep = nn.Sequential(*[layer for _ in range(8) for layer in (nn.Linear(16, 16), nn.ReLU())])
        encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        sizes = ((linear, (100, 10)), (deep, (8, 16)), (encoder, (2, 4, 16)))
        for label, (model, shape) in zip(("Linear(10, 2)", "8 layers", "encoder layer"), sizes, strict=True):
            optimizer = kind(model.parameters(), lr=0.01, foreach=True)
            yield f"{label}, {name}", step_of(model, torch.randn(shape), optimizer)


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
