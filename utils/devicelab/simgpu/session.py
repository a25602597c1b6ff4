"""Start and stop a simulated GPU."""

import os
import sys
import warnings
from collections.abc import Callable
from itertools import takewhile
from types import TracebackType
from typing import Any

import torch

from devicelab import devices, versions
from devicelab.errors import InputError, SimulationError, check_range
from devicelab.gpus import Card, find

from .machine import state
from .machine.machine import Machine
from .machine.patches import run_all
from .machine.undivided import undivided
from .run.dispatch import SimulatedDispatch
from .stand_ins import (
    accelerator,
    autocast,
    backward,
    compiled,
    cuda,
    default_device,
    device_numbers,
    distributed,
    dlpack,
    factories,
    functions,
    generators,
    gradients,
    interpreter,
    kernels,
    later,
    legacy_types,
    library,
    nodes,
    processes,
    profiler,
    reads,
    remembered,
    several,
    sleep,
    storage,
    streams,
    subclasses,
    tensor,
    threads,
    torchscript,
    traceback,
    unsupported,
    warned,
)

# In order; undone in reverse.
STAND_INS = (
    later, default_device, tensor, subclasses, dlpack, factories, device_numbers, functions, reads, gradients, nodes, backward,
    cuda, generators, streams, accelerator, remembered, autocast, storage, torchscript, interpreter, kernels, legacy_types,
    library, compiled,
    unsupported, several, distributed, traceback, warned, profiler, processes, sleep, threads,
)  # fmt: skip
DEFAULT = "Tesla T4"
MOST_CARDS = 8
COMPILED = ("run", "refuse")


class Simulation(Machine):
    """Simulated cards that answer as cuda:0, cuda:1, ... until `stop`; usable in a `with` statement.

    Simulations nest: while an inner one runs, the outer one rests, and its tensors count as the CPU tensors that they are.
    They may be stopped in any order.
    """

    def __init__(self, spec: Card, count: int, compiled: str = "run", children: bool = True):
        super().__init__(spec, count)
        self.compiled, self.children = compiled, children
        self.mode = SimulatedDispatch(self)
        self.revive = revive
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
            listeners=self.mode.listeners,
            memory=self.memory,
            host_note=lambda: str(self.clock.host_of),
        )

    def start(self) -> "Simulation":
        """Replace what a simulated card needs of torch; undo all of it if one step fails, or at Ctrl-C. Twice is once."""
        if self in stack:
            return self
        try:
            with versions.known_names(torch.__version__), undivided():
                if stack:
                    stack[-1]._deactivate()
                stack.append(self)
                self._activate()
            _tell_of_lost_card()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Put torch back exactly as it was, or the simulation that this one interrupted; a second call does nothing."""
        try:
            self._stop()
        except KeyboardInterrupt:
            self._stop()  # it may have come before the first had begun
            raise

    def _stop(self) -> None:
        with undivided():
            if self not in stack:
                return
            on_top = stack[-1] is self
            for fault in self.clock.faults.values():
                fault.print()  # also where nobody waited: CUDA prints it as the process ends
                lost.append(self.cards[0].spec.name)
            try:
                if on_top:
                    self._deactivate()
            finally:
                stack.remove(self)
            if on_top and stack:
                stack[-1]._activate()

    def _activate(self) -> None:
        self.active = True
        state.current = self
        for card in self.cards:
            card.known = card.running = not card.forked
        self.patches.check_used()
        for stand_in in STAND_INS:
            stand_in.install(self)
        self.patches.search()
        devices.register(self.registered)

    def _deactivate(self) -> None:
        self.active = False
        state.current = None
        devices.unregister(self.registered)
        for card in self.cards:
            card.known = card.running = False
        run_all([self.patches.undo, lambda: run_all(self._at_stop)])

    def __enter__(self) -> "Simulation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        names = ", ".join(f"{card.device} = {card.spec.name}" for card in self.cards)
        rest = "" if self.active else ", resting" if self in stack else ", stopped"
        return f"<simulated GPU: {names}{rest}>"


def _after_fork_in_child() -> None:
    for simulation in stack:
        simulation.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


stack: list[Simulation] = []  # the running one, above those that it interrupted
lost: list[str] = []  # cards of simulations that have ended, and of which nobody was told yet


def _tell_of_lost_card() -> None:
    """Say, where a card was lost to an assertion, that this one is new, and that a real one would not be."""
    if lost:
        print(
            f"The simulated {lost.pop()} before this one was lost to a device-side assert. This is a new card; a real one works "
            "again only in a new process (restart the script, or the notebook's kernel).",
            file=sys.stderr,
        )
        lost.clear()


def current() -> Simulation | None:
    """Return the running simulation, or None."""
    return stack[-1] if state.current is not None else None


def revive(cards: processes.Cards, make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Start the simulation in a spawned child that has none yet, and make its process object."""
    start_in_child(*cards)
    return make(*arguments)


def start_in_child(name: str, count: int, compiled: str, visible: str | None) -> None:
    """Start the parent's cards in a child, unless it has them already, or DEVICELAB_GPU says that it wants none.

    Where the child's CUDA_VISIBLE_DEVICES is no more what it was (`visible`), it says which of the cards are seen.
    """
    now = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = count if now in (None, visible) else _visible(now, count)
    cards = (name, count, compiled, now)
    if count == 0 or os.environ.get("DEVICELAB_GPU") in ("off", "real"):
        return
    if state.current is None or processes.cards_of(state.current) != cards:
        simulate_gpu(name, count, compiled=compiled)


def _visible(numbers: str, count: int) -> int:
    """Return how many cards CUDA_VISIBLE_DEVICES names: those before the first that is not there (CUDA's programming guide)."""
    there = {str(number) for number in range(count)}
    return len(list(takewhile(there.__contains__, map(str.strip, numbers.split(",")))))


def simulate_gpu(
    name: str | None = None, count: int = 1, *, compiled: str = "run", children: bool = True
) -> Simulation:
    """Start a simulated GPU: `count` cards of one kind (a Tesla T4, if no name is given) answer as cuda:0, cuda:1, ...

    Values are real, computed on the CPU; errors are CUDA's own; times are estimates. Stop it by `.stop()` or use it in a
    `with` statement. On a machine with a real NVIDIA GPU it starts only when a card is named. What torch.compile made runs
    as it is written, which is said once; `compiled="refuse"` makes it an error. Pythons that this one starts have the same
    cards, unless `children` is False.
    """
    _check(name, count, compiled)
    spec = find(DEFAULT if name is None else name)
    with versions.known_names(torch.__version__):
        if not stack and torch.cuda.is_available():
            _beside_real_gpu(name, spec)
        simulation = Simulation(spec, count, compiled, children)
    return simulation.start()


def _check(name: object, count: object, compiled: object) -> None:
    """Raise InputError for what can be no card, no number of cards, or no way with compiled functions."""
    if name is not None and not (isinstance(name, str) and name.strip()):
        given = repr(name) if isinstance(name, (str, int, float)) else f"a {type(name).__name__}"
        one = name.name if isinstance(name, Card) else DEFAULT
        kind = (
            " All cards of one simulation are of one kind."
            if isinstance(name, (list, tuple, set, dict))
            else ""
        )
        raise InputError(
            f"simulate_gpu needs the name of a card, but it got {given}.{kind} "
            f'Write simulate_gpu("{one}"), or simulate_gpu("{one}", count=2) for two of them; lab.gpus() lists the names.'
        )
    if isinstance(count, bool) or not isinstance(count, int):
        raise InputError(
            f"count is how many cards there are, a whole number from 1 to {MOST_CARDS}, but it is {count!r}."
        )
    check_range("count", count, 1, MOST_CARDS)
    if compiled not in COMPILED:
        raise InputError(
            f'compiled says what becomes of compiled functions: "run" (as they are written) or "refuse", but it is {compiled!r}.'
        )


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
