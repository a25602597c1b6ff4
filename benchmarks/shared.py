"""What several benchmarks share: a training step, modes that do nothing, a stopwatch, and cases that take turns."""

from collections.abc import Callable, Mapping
from time import process_time

import torch
from torch import nn
from torch.optim import SGD
from torch.utils._python_dispatch import TorchDispatchMode


class Empty(TorchDispatchMode):
    """Passes every operator on, as a mode that anyone writes."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class Leanest(Empty):
    """The same without the wrapper that keeps torch.compile away."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


def step_of(model: nn.Module, data: torch.Tensor, kind: type = SGD, **options: bool) -> Callable[[], None]:
    """Return one training step with this kind of optimizer."""
    optimizer = kind(model.parameters(), lr=0.01, **options)

    def step() -> None:
        optimizer.zero_grad()
        model(data).square().mean().backward()
        optimizer.step()

    return step


def layers(count: int, width: int) -> nn.Module:
    """Return so many layers of one width."""
    return nn.Sequential(*[layer for _ in range(count) for layer in (nn.Linear(width, width), nn.ReLU())])


def cpu_seconds(fn: Callable[[], object], calls: int = 1) -> float:
    """Return the CPU seconds of one call, from `calls` in a row."""
    begin = process_time()
    for _ in range(calls):
        fn()
    return (process_time() - begin) / calls


def in_turns(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Return the least that each case gave; they take turns, so that a change of the machine's speed meets them all."""
    taken = [{name: case() for name, case in cases.items()} for _ in range(rounds)]
    return {name: min(one[name] for one in taken) for name in cases}
