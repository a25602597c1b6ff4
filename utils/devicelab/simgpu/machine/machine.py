"""The simulated cards of one simulation, and what belongs to them: the clock, the memory, what is replaced of torch."""

import os
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from devicelab.gpus import Card

from .clock import Clock
from .memory import CONTEXT, Ledger
from .patches import Patches
from .plans import Plans
from .settings import Settings, from_environment
from .texts import ORDINAL


class SimCard:
    """One simulated card: what it is and holds.

    `running`: its kernels run. `known`: its tensors say that they are on it, which they also do in a forked child, where no
    kernel runs. `awake`: it has a CUDA context.
    """

    __slots__ = (
        "awake",
        "device",
        "forked",
        "generator",
        "index",
        "known",
        "ledger",
        "plans",
        "running",
        "spec",
    )

    def __init__(self, spec: Card, index: int):
        self.spec, self.index = spec, index
        self.device = torch.device("cuda", index)
        self.ledger = Ledger(spec, index)
        self.generator: Any = None
        self.plans = Plans()
        self.running = self.known = self.forked = self.awake = False

    def __deepcopy__(self, memo: Any) -> "SimCard":
        return self


class Machine:
    """The cards that answer as cuda:0, cuda:1, ...: which one is current, whether PyTorch has set CUDA up, their one clock.

    `initialized` is torch.cuda.is_initialized(): asking a card for its name sets it, and makes no context (`SimCard.awake`).
    `asked`: CUDA was asked anything at all, such as how many cards there are, and no child forked from now on can use it
    (poison_fork in torch/csrc/cuda/Module.cpp); `in_bad_fork`: this process is such a child.
    `mode` sees every operator; `revive` starts the same cards in a spawned child; `compiled` is "run", or "refuse" for
    programs that must not call compiled functions. `children` says whether Pythons that this one starts have the cards as
    well; `visible` is CUDA_VISIBLE_DEVICES as it was at the start, when all of the cards were to be seen.
    """

    children: bool
    compiled: str
    mode: TorchDispatchMode
    revive: Callable[..., Any]

    def __init__(self, spec: Card, count: int):
        self.cards = [SimCard(spec, index) for index in range(count)]
        self.clock = Clock([spec] * count)
        self._here = threading.local()
        self.visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        self.active = False
        self.initialized = self.asked = self.in_bad_fork = False
        self.benchmark_limit = 10  # of cuDNN; PyTorch's default
        self.allocator: Settings | None = None  # read from the environment as the first card is used
        self.cublas_is_reproducible: bool | None = None  # asked at the first product
        self.patches = Patches()
        self._at_stop: list[Callable[[], object]] = []

    @property
    def current(self) -> int:
        """The current card of this thread: the first, until the thread chooses another (CUDA keeps it per thread)."""
        return getattr(self._here, "current", 0)

    @current.setter
    def current(self, index: int) -> None:
        self._here.current = index

    def card(self, device: torch.device) -> SimCard:
        """Return the card that a cuda device means; without index the current one. Using a card wakes it."""
        index = self.current if device.index is None else device.index
        if not 0 <= index < len(self.cards):
            raise torch.AcceleratorError(ORDINAL)
        card = self.cards[index]
        if card.forked or not card.awake:
            torch.cuda._lazy_init()
            self.initialized = self.asked = True
            self.wake(index)
        return card

    def wake(self, index: int) -> None:
        """Make a card's CUDA context, if it has none.

        Memory needs one, also the host's once it is pinned (pytorch/pytorch issue 21081), and so do a stream, a wait and
        mem_get_info; names, properties and PyTorch's own account of memory do not (seen with nvidia-smi:
        unslothai/unsloth pull request 8677, unslothai/unsloth-zoo pull request 1053).
        """
        if not self.cards[index].awake:
            if self.allocator is None:
                self.configure(from_environment())
            self.cards[index].awake = True
            self.clock.context(index)
            if os.environ.get("CUDA_LAUNCH_BLOCKING") == "1":  # read as the context is made, as by CUDA
                self.clock.block()

    def configure(self, settings: Settings) -> None:
        """Let the allocator of every card heed these settings."""
        self.allocator = settings
        for card in self.cards:
            card.ledger.settings = settings
            if settings.fraction is not None:
                card.ledger.limit(settings.fraction)

    def wake_for_pinning(self) -> None:
        """Make the context that the host's memory needs before it is pinned: the current card's, where no card has one."""
        if not any(card.awake for card in self.cards):
            self.wake(self.current)

    def synchronize(self) -> None:
        """Let the simulated host wait until every card has finished."""
        for card in self.cards:
            self.clock.wait(card.index)

    def memory(self, index: int) -> tuple[int, int]:
        """Return (taken, total) bytes of a card as a driver would count them: the CUDA context and what PyTorch reserved."""
        ledger = self.cards[index].ledger
        taken = CONTEXT + ledger.segments.bytes if self.cards[index].awake else 0
        return taken, ledger.card.total_memory

    def on_stop(self, call: Callable[[], object]) -> None:
        """Have something undone when the simulation stops or rests; last one first."""
        self._at_stop.append(call)

    def forked(self) -> None:
        """Do in a forked child what CUDA does there: tensors still say where they are, but no kernel runs."""
        if self.asked:
            self.in_bad_fork = True
            for card in self.cards:
                card.forked, card.running = True, False
