"""Start and stop a simulated GPU."""

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from types import TracebackType
from typing import Any

import torch

from devicelab import devices
from devicelab.errors import SimulationError, check_range
from devicelab.gpus import Card, find

from . import state, threads
from .clock import Clock
from .dispatch import SimulatedDispatch
from .patches import Patches, run_all
from .tags import SimCard, device_of

INSTALLERS = (
    "tensor_surface",
    "factories",
    "device_numbers",
    "composites",
    "rng",
    "surface",
    "streams",
    "accelerator",
    "autocast",
    "serialization",
    "unsupported",
    "threads",
)
MOST_CARDS = 8


class Simulation:
    """Simulated cards that answer as cuda:0, cuda:1, ... until `stop`; usable in a `with` statement."""

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
        )

    def card(self, device: torch.device) -> SimCard:
        """Return the card that a cuda device means; without index the current one."""
        index = self.current if device.index is None else device.index
        if not 0 <= index < len(self.cards):
            raise torch.AcceleratorError(INVALID_ORDINAL)
        if not self.initialized:
            self.initialized = True
            torch.cuda._lazy_init()
        return self.cards[index]

    def device_of(self, tensor: torch.Tensor) -> torch.device:
        """Return the tensor's device as a learner sees it."""
        return device_of(tensor)

    def synchronize(self) -> None:
        """Let the simulated host wait until every card has finished."""
        for card in self.cards:
            self.clock.wait(card.index)

    def on_stop(self, call: Callable[[], object]) -> None:
        """Have something undone when the simulation stops; last one first."""
        self._at_stop.append(call)

    def start(self) -> "Simulation":
        """Replace what a simulated card needs of torch; undo all of it if one step fails."""
        try:
            self.active = True
            state.current = self
            for card in self.cards:
                card.running = True
            for name in INSTALLERS:
                if find_spec(f"{__package__}.{name}"):
                    getattr(importlib.import_module(f"{__package__}.{name}"), "install", lambda _: None)(self)
            devices.register(self.registered)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Put torch back exactly as it was; a second call does nothing."""
        if not self.active:
            return
        self.active = False
        try:
            run_all([self._clear, self.patches.undo, lambda: run_all(self._at_stop)])
        finally:
            devices.unregister(self.registered)

    def _clear(self) -> None:
        state.current = None
        for card in self.cards:
            card.running = False

    def __enter__(self) -> "Simulation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        names = ", ".join(f"{card.device} = {card.spec.name}" for card in self.cards)
        return f"<simulated GPU: {names}{'' if self.active else ', stopped'}>"


INVALID_ORDINAL = """CUDA error: invalid device ordinal
GPU device may be out of range, do you have enough GPUs?
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.
For debugging consider passing CUDA_LAUNCH_BLOCKING=1
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.
"""


def current() -> Simulation | None:
    """Return the running simulation, or None."""
    return state.current


def simulate_gpu(name: str = "Tesla T4", count: int = 1) -> Simulation:
    """Start a simulated GPU: `count` cards called `name` answer as cuda:0, cuda:1, ...

    Values are real, computed on the CPU; errors are CUDA's own; times are estimates. Stop it with `.stop()` or by a `with` statement.
    """
    check_range("count", count, 1, MOST_CARDS)
    spec = find(name)
    if state.current is not None:
        raise SimulationError("nested")
    import torch._dynamo  # noqa: F401  # before anything is replaced: it keeps references to what it finds

    return Simulation(spec, count).start()


__all__ = ["Simulation", "current", "simulate_gpu"]
_: Any = None
