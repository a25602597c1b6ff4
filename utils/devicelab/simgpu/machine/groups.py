"""NCCL's groups of this process: who is in them, and on which card each of them was first used."""

import os
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch

from .meetings import Meetings


@dataclass
class Group:
    """One group: `only` says that it has no backend for tensors of the CPU, `cards` those that this process used in it."""

    name: str
    store: Any
    rank: int
    size: int
    backend: Any = None  # kept, for C++ holds no class of Python's
    only: bool = False
    cards: dict[int, None] = field(default_factory=dict)  # in turn
    turn: int = 0
    meetings: Meetings | None = None
    collectives: int = 0
    coalesced: list[Any] | None = None  # the work since a program began to put several into one
    bound: int | None = None  # the card of `device_id`

    def cards_number(self, asked: Sequence[int], count: int) -> int:
        """Return the card by which a barrier meets: one that was asked for, used before or bound, else that of the rank."""
        known = [*asked[-1:], *list(self.cards)[-1:], *([] if self.bound is None else [self.bound])]
        return known[0] if known else self.rank % count

    def others(self) -> Meetings:
        """Return where the ranks tell each other when they come; made by all of them together."""
        if self.meetings is None:
            self.meetings = Meetings(self.store, self.rank, self.size, self.numbers)
        return self.meetings

    def numbers(self) -> list[int]:
        """Return the ranks of this group, as they are counted among all."""
        made: Any = torch.distributed.distributed_c10d
        one = next((group for group, name in made._world.pg_names.items() if name == self.name), None)
        return list(range(self.size)) if one is None else torch.distributed.get_process_group_ranks(one)

    def join(self, index: int) -> tuple[int, int] | None:
        """Meet the others with a card of this process; return two ranks that brought the same one, if there are such.

        The first use of a card in a group waits for all others, as NCCL does where it connects them.
        """
        if index in self.cards:
            return None
        self.turn = turn = self.turn + 1
        self.store.set(f"card {turn} of {self.rank}", physical(index))
        brought = [self.store.get(f"card {turn} of {rank}") for rank in range(self.size)]
        mine = brought[self.rank]
        other = next((rank for rank, card in enumerate(brought) if card == mine and rank != self.rank), None)
        if other is None:
            self.cards[index] = None
            return None
        return self.rank, other


def physical(index: int) -> str:
    """Return which card of which node a number means here, behind CUDA_VISIBLE_DEVICES and torchrun's number of the node."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    number = visible[index].strip() if index < len(visible) else ""
    return f"{os.environ.get('GROUP_RANK', '0')} {number or index}"


latest: list[Any] = [0, ""]  # the rank and the work of the last collective, as NCCL names it
barriers: list[int] = []  # cards at which the host waits for the others, once it waits for the work
known: dict[str, Group] = {}  # by the name that torch gives a group
# Whether C++ compares the ranks, by tensors of its own, which on a real card it makes there.
inside = ContextVar("inside", default=False)
# How the collective reduces that Python has just asked for.
asked: ContextVar[Any] = ContextVar("asked", default=None)


def settle() -> None:
    """Let this process's cards wait, at the collectives so far, for the ranks that came later."""
    for group in list(known.values()):
        if group.meetings is not None:
            group.meetings.settle()


def keep(names: set[str]) -> None:
    """Forget the groups that have ended: all but these."""
    for name in set(known) - names:
        del known[name]
