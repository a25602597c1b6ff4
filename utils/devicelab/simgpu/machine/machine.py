"""The simulated cards of one simulation, and what belongs to them: the clock, the memory, what is replaced of torch."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from devicelab.gpus import Card

from .clock import Clock
from .memory import CONTEXT, Ledger
from .patches import Patches
from .texts import ORDINAL


class SimCard:
    """One simulated card: what it is and holds.

    `running`: its kernels run. `known`: its tensors say that they are on it, which they also do in a forked child, where no
    kernel runs.
    """

    __slots__ = ("device", "forked", "generator", "index", "known", "ledger", "running", "spec")

    def __init__(self, spec: Card, index: int):
        self.spec, self.index = spec, index
        self.device = torch.device("cuda", index)
        self.ledger = Ledger(spec, index)
        self.generator: Any = None
        self.running = self.known = self.forked = False

    def __deepcopy__(self, memo: Any) -> "SimCard":
        return self


class Machine:
    """The cards that answer as cuda:0, cuda:1, ...: which one is current, whether CUDA has been started, their one clock.

    `mode` sees every operator; `revive` starts the same cards in a spawned child; `compiled` is "run", or "refuse" for
    programs that must not call compiled functions.
    """

    compiled: str
    mode: TorchDispatchMode
    revive: Callable[..., Any]

    def __init__(self, spec: Card, count: int):
        self.cards = [SimCard(spec, index) for index in range(count)]
        self.clock = Clock([spec] * count)
        self.current = 0
        self.active = False
        self.initialized = False
        self.cublas_is_reproducible: bool | None = None  # asked at the first product
        self.patches = Patches()
        self._at_stop: list[Callable[[], object]] = []

    def card(self, device: torch.device) -> SimCard:
        """Return the card that a cuda device means; without index the current one. Using a card starts (simulated) CUDA."""
        index = self.current if device.index is None else device.index
        if not 0 <= index < len(self.cards):
            raise torch.AcceleratorError(ORDINAL)
        card = self.cards[index]
        if card.forked or not self.initialized:
            torch.cuda._lazy_init()
            self.initialized = True
        return card

    def synchronize(self) -> None:
        """Let the simulated host wait until every card has finished."""
        for card in self.cards:
            self.clock.wait(card.index)

    def memory(self, index: int) -> tuple[int, int]:
        """Return (taken, total) bytes of a card as a driver would count them: the CUDA context and what PyTorch reserved."""
        ledger = self.cards[index].ledger
        taken = CONTEXT + ledger.segments.bytes if self.initialized else 0
        return taken, ledger.card.total_memory

    def on_stop(self, call: Callable[[], object]) -> None:
        """Have something undone when the simulation stops or rests; last one first."""
        self._at_stop.append(call)

    def forked(self) -> None:
        """Do in a forked child what CUDA does there: tensors still say where they are, but no kernel runs."""
        if self.initialized:
            for card in self.cards:
                card.forked, card.running = True, False
