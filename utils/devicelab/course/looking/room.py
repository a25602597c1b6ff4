"""How many bytes of the card a call needs beyond those that were there, and how many it still holds from call to call."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

MIB = 2**20


@dataclass
class Room:
    """Bytes of the card: at the fullest moment of a block, and at its end, beyond those at its beginning."""

    fullest: int = 0
    left: int = 0


@contextmanager
def new_alone() -> Iterator[None]:
    """Have collections of garbage look at what the block makes alone: at all of PyTorch they take a tenth of a second each."""
    gc.collect()
    ours = gc.get_freeze_count() == 0
    if ours:
        gc.freeze()
    try:
        yield
    finally:
        if ours:
            gc.unfreeze()


@contextmanager
def room() -> Iterator[Room]:
    """Count, as PyTorch's allocator does, what the block needs of the present card; the peak of its statistics begins anew."""
    gc.collect()  # what dies in the block must be the block's own
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    found = Room()
    yield found
    found.fullest = torch.cuda.max_memory_allocated() - before
    found.left = torch.cuda.memory_allocated() - before


class Call(NamedTuple):
    """One call of a model: the bytes that were in use on the card as it began, and where it computed."""

    held: int
    device: str


def calls_of(model: nn.Module) -> list[Call]:
    """Return a list that grows with each call of the model."""
    calls: list[Call] = []

    def note(_module: nn.Module, given: tuple[Any, ...]) -> None:
        gc.collect(0)  # what only a circle of references holds is not kept by the learner
        calls.append(Call(torch.cuda.memory_allocated(), str(given[0].device)))

    model.register_forward_pre_hook(note)
    return calls


def mib(nbytes: float) -> str:
    """Return bytes as the lessons write them: "12.0 MiB"."""
    return f"{nbytes / MIB:.1f} MiB"
