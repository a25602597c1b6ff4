"""Start and stop a simulated GPU."""

import os
import warnings
from collections.abc import Callable
from importlib import import_module
from types import TracebackType

import torch

from devicelab import devices
from devicelab.errors import SimulationError, check_range
from devicelab.gpus import Card, find
from devicelab.simgpu import texts

from . import state, threads
from .clock import Clock
from .dispatch import SimulatedDispatch
from .memory import CONTEXT
from .patches import Patches, run_all
from .tags import SimCard, device_of

# Modules with an `install(simulation)`, in order; undone in reverse.
INSTALLERS = (
    "default_device",
    "tensor_surface",
    "subclasses",
    "dlpack",
    "factories",
    "device_numbers",
    "composites",
    "gradients",
    "surface",
    "rng",
    "streams",
    "accelerator",
    "autocast",
    "serialization",
    "torchscript",
    "legacy_types",
    "unsupported",
    "traceback",
    "processes",
    "sleep",
    "threads",
)
DEFAULT = "Tesla T4"
MOST_CARDS = 8


class Simulation:
    """Simulated cards that answer as cuda:0, cuda:1, ... until `stop`; usable in a `with` statement.

    Simulations nest: while an inner one runs, the outer one rests, and its tensors count as the CPU tensors that they are.
    They may be stopped in any order.
    """

    def __init__(self, spec: Card, count: int):
        self.cards = [SimCard(spec, index) for index in range(count)]
        self.clock = Clock([spec] * count)
        self.current = 0
        self.active = False
        self.initialized = False
        self.patches = Patches()
        self.mode = SimulatedDispatch(self)
        self._at_stop: list[Callable[[], object]] = []
        self.registered = devices.Device(
            "cuda",
            spec.name,
            "simulated",
            clock=self.clock.now,
            synchronize=self.synchronize,
            undisturbed=threads.undisturbed,
            bounds=self.clock.bounds,
            worked=self.clock.worked,
            watchers=self.clock.watchers,
            memory=self.memory,
        )

    def card(self, device: torch.device) -> SimCard:
        """Return the card that a cuda device means; without index the current one. Using a card starts (simulated) CUDA."""
        index = self.current if device.index is None else device.index
        if not 0 <= index < len(self.cards):
            raise torch.AcceleratorError(texts.ORDINAL)
        card = self.cards[index]
        if card.forked or not self.initialized:
            torch.cuda._lazy_init()
            self.initialized = True
        return card

    def device_of(self, tensor: torch.Tensor) -> torch.device:
        """Return the tensor's device as a learner sees it."""
        return device_of(tensor)

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

    def start(self) -> "Simulation":
        """Replace what a simulated card needs of torch; undo all of it if one step fails."""
        if state.stack:
            state.stack[-1]._deactivate()
        state.stack.append(self)
        try:
            self._activate()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Put torch back exactly as it was, or the simulation that this one interrupted; a second call does nothing."""
        if self not in state.stack:
            return
        on_top = state.stack[-1] is self
        try:
            if on_top:
                self._deactivate()
        finally:
            state.stack.remove(self)
        if on_top and state.stack:
            state.stack[-1]._activate()

    def _activate(self) -> None:
        self.active = True
        state.current = self
        for card in self.cards:
            card.known = card.running = not card.forked
        for name in INSTALLERS:
            import_module(f"{__package__}.{name}").install(self)
        devices.register(self.registered)

    def _deactivate(self) -> None:
        self.active = False
        state.current = None
        devices.unregister(self.registered)
        for card in self.cards:
            card.known = card.running = False
        run_all([self.patches.undo, lambda: run_all(self._at_stop)])

    def forked(self) -> None:
        """Do in a forked child what CUDA does there: tensors still say where they are, but no kernel runs."""
        if self.initialized:
            for card in self.cards:
                card.forked, card.running = True, False

    def __enter__(self) -> "Simulation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        names = ", ".join(f"{card.device} = {card.spec.name}" for card in self.cards)
        rest = "" if self.active else ", resting" if self in state.stack else ", stopped"
        return f"<simulated GPU: {names}{rest}>"


def _after_fork_in_child() -> None:
    for simulation in state.stack:
        simulation.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def current() -> Simulation | None:
    """Return the running simulation, or None."""
    return state.current


def simulate_gpu(name: str | None = None, count: int = 1) -> Simulation:
    """Start a simulated GPU: `count` cards of one kind (a Tesla T4, if no name is given) answer as cuda:0, cuda:1, ...

    Values are real, computed on the CPU; errors are CUDA's own; times are estimates. Stop it by `.stop()` or use it in a
    `with` statement. On a machine with a real NVIDIA GPU it starts only when a card is named.
    """
    check_range("count", count, 1, MOST_CARDS)
    spec = find(name or DEFAULT)
    if not state.stack and torch.cuda.is_available():
        _beside_real_gpu(name, spec)
    import_module(
        "torch._dynamo"
    )  # before anything is replaced, because it keeps references to what it finds
    return Simulation(spec, count).start()


def _beside_real_gpu(name: str | None, spec: Card) -> None:
    real = torch.cuda.get_device_name()
    if name is None:
        raise SimulationError(
            f"This machine has a real GPU ({real}), so none is simulated. To simulate one all the same, name the card: "
            f'simulate_gpu("{spec.name}").'
        )
    warnings.warn(
        f"From here on cuda:0 is a simulated {spec.name}, not this machine's {real}, until the simulation stops.",
        stacklevel=3,
    )


__all__ = ["Simulation", "current", "simulate_gpu"]
