"""One estimate: the stage on which the function runs without computing, and everything put back."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from threading import get_ident
from typing import Any

import torch
from torch.optim import optimizer as torch_optimizer
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack, _pop_mode, _push_mode

from devicelab import compiled, costs, devices
from devicelab.gpus import Card
from devicelab.simgpu import session
from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.memory import Ledger, rounded
from devicelab.simgpu.marks import marks

from .dispatch import Idle
from .keep import Undo
from .meter import Meter
from .values import Values

ENDLESS = 2**60  # bytes
_HOOKS: Any = (torch_optimizer._global_optimizer_pre_hooks, torch_optimizer._global_optimizer_post_hooks)
_Storage: Any = torch.UntypedStorage


class Run:
    """One pass of the function over one stage, with what was counted."""

    def __init__(self, card: Card, undo: Undo, budget: float, host: costs.Host = costs.NOMINAL):
        self.card, self.undo, self.budget, self.host = card, undo, budget, host
        self.steps = Steps(undo)
        self.meter = Meter([card])
        self.peak = 0
        self.chance = ""  # what hangs on drawn numbers

    def __call__(
        self, fn: Callable[..., object], args: tuple, *, moved: bool, host: list[torch.Tensor]
    ) -> None:
        """Run `fn(*args)`. `moved`: every CPU tensor counts as lying on the card, but for those in `host`."""
        with self.stage(moved, host) as (simulation, idle):
            fn(*args)
            self.meter.finish()
            if self.steps.fresh:  # a first step makes the optimizer's state, the others do not
                self.meter.restart()
                idle.chance.read_at.clear()
                self.steps.count = 0
                fn(*args)
                self.meter.finish()
            self.peak, self.chance = self._peak(simulation, idle), idle.chance.note

    def ledger(self, index: int) -> Ledger:
        """Return the account of a card's memory, here without an end: it counts what would be needed, and refuses nothing."""
        return Ledger(replace(self.card, total_memory=ENDLESS), index)

    @contextmanager
    def stage(self, moved: bool, host: list[torch.Tensor]) -> Iterator[tuple[Any, Idle]]:
        """Give the simulation and the mode below it, under which nothing is computed; all is put back."""
        with ExitStack() as stack:
            stack.callback(self.undo.restore)
            simulation = stack.enter_context(_simulation(self.card))
            stack.enter_context(_without_other_modes(simulation.mode.listeners))
            self.meter = stack.enter_context(_metered(simulation, self.card, self.ledger))
            self.meter.host_of, self.meter.dispatch = self.host, self.host.dispatch
            self.steps.meter = self.meter
            if moved:
                stack.enter_context(_everything_on(simulation.cards[0], host))
            stack.enter_context(self.steps.followed(moved, host))
            stack.enter_context(compiled.held())
            deadline = time.monotonic() + self.budget
            idle = Idle(self.undo, simulation.mode, simulation.cards[0], moved, deadline, self.steps)
            values = Values(idle)
            stack.callback(values.patches.undo)
            values.install()
            simulation.mode.listeners[get_ident()] = [idle]
            try:
                yield simulation, idle
            finally:
                del simulation.mode.listeners[get_ident()]
                for storage, owner in idle.adopted:
                    storage._simulated_card = owner

    def _peak(self, simulation: Any, idle: Idle) -> int:
        before = sum(rounded(storage.nbytes()) for storage in idle.met.values())
        return before + sum(
            card.ledger.stats()["allocated_bytes"]["all"]["peak"] for card in simulation.cards
        )


class Steps:
    """Hears of the optimizers' steps."""

    def __init__(self, undo: Undo):
        self.undo, self.count = undo, 0
        self.fresh = False  # whether an optimizer had no state before the run
        self.meter: Meter
        self._moved = False
        self._host: list[torch.UntypedStorage] = []
        self.staying: set[int] = set()  # memory that counts as the host's, whatever else is moved

    def __call__(self) -> int:
        return self.count

    @property
    def inside(self) -> bool:
        """Say whether an optimizer's step is being run."""
        return self.meter.stepping

    @contextmanager
    def followed(self, moved: bool, host: list[torch.Tensor]) -> Iterator[None]:
        """Follow every optimizer while the block runs; `host` are tensors that stay on the CPU."""
        self.count, self.fresh, self._moved = 0, False, moved
        self.staying = {tensor.untyped_storage()._cdata for tensor in host}
        handles = [
            torch_optimizer.register_optimizer_step_pre_hook(self._begins),
            torch_optimizer.register_optimizer_step_post_hook(self._ends),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for storage in self._host:
                if "_simulated_card" in vars(storage):
                    del storage._simulated_card  # type: ignore[attr-defined]
            self._host.clear()

    def _begins(self, optimizer: Any, *_: Any) -> None:
        self.undo.walk([optimizer])
        self.meter.stepping = True
        self.fresh = self.fresh or not optimizer.state
        if not self._moved:
            return
        for group in optimizer.param_groups:
            counted_on_card = group.get("capturable") or group.get("fused")
            for parameter in group["params"]:
                step = optimizer.state.get(parameter, {}).get("step")
                if isinstance(step, torch.Tensor) and not counted_on_card:
                    self._keep_on_host(step)

    def _keep_on_host(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        self.staying.add(storage._cdata)
        if "_simulated_card" not in vars(storage):
            storage._simulated_card = None  # type: ignore[attr-defined]
            self._host.append(storage)

    def _ends(self, *_: Any) -> None:
        self.meter.stepping = False
        self.count += 1


@contextmanager
def _simulation(card: Card) -> Iterator[Any]:
    """Give the running simulation, or one of our own; whether CUDA was started stays as it was."""
    running = state.current
    if running is None:
        with session.Simulation(card, 1).start() as own:
            yield own
        return
    started = running.initialized, running.asked, torch.cuda._initialized
    awake = [card.awake for card in running.cards]
    try:
        yield running
    finally:
        running.initialized, running.asked, torch.cuda._initialized = started
        for simulated, was_awake in zip(running.cards, awake, strict=True):
            simulated.awake = was_awake


@contextmanager
def _without_other_modes(listeners: dict[int, list[devices.Listener]]) -> Iterator[None]:
    """Take traces and counters off this thread: what an estimate does is none of their business."""
    others = [mode for mode in _get_current_dispatch_mode_stack() if not mode.is_infra_mode()]
    told = listeners.pop(get_ident(), [])
    observers, removed = devices.observers[:], [_hooks_of((*others, *told), table) for table in _HOOKS]
    for _ in others:
        _pop_mode()
    devices.observers.clear()
    for table, own in zip(_HOOKS, removed, strict=True):
        for number in own:
            del table[number]
    try:
        yield
    finally:
        for table, own in zip(_HOOKS, removed, strict=True):
            before = sorted({**table, **own}.items())  # by number is in the order of coming
            table.clear()
            table.update(before)
        # A trace of another thread may have ended meanwhile, and another begun.
        devices.observers[:0] = [one for one in observers if getattr(one, "end", None) is None]
        listeners |= {get_ident(): told} if told else {}
        for mode in others:
            _push_mode(mode)


def _hooks_of(modes: tuple[object, ...], table: dict[int, Any]) -> dict[int, Any]:
    """Return the hooks that are methods of some modes."""
    return {
        number: hook
        for number, hook in table.items()
        if any(getattr(hook, "__self__", None) is mode for mode in modes)
    }


@contextmanager
def _metered(simulation: Any, card: Card, ledger: Callable[[int], Ledger]) -> Iterator[Meter]:
    """Let the simulation's cards be of this kind, empty, and on a clock of ours."""
    meter = Meter([card] * len(simulation.cards))
    clock, before = simulation.clock, [(one.spec, one.ledger) for one in simulation.cards]
    generators = [one.generator.get_state() for one in simulation.cards]
    simulation.clock = simulation.mode.clock = meter
    for one in simulation.cards:
        one.spec, one.ledger = card, ledger(one.index)
    try:
        yield meter
    finally:
        simulation.clock = simulation.mode.clock = clock
        for one, (spec, ledger), generator in zip(simulation.cards, before, generators, strict=True):
            one.spec, one.ledger = spec, ledger
            one.generator.set_state(generator)
        torch.clear_autocast_cache()


@contextmanager
def _everything_on(card: Any, host: list[torch.Tensor]) -> Iterator[None]:
    """Let every tensor that is on no card count as lying on this one, but for those in `host`."""
    staying = [tensor.untyped_storage() for tensor in host]
    staying = [storage for storage in staying if "_simulated_card" not in vars(storage)]
    for storage in staying:
        marks.unmark(storage)
    _Storage._simulated_card = card
    try:
        yield
    finally:
        _Storage._simulated_card = None
        for storage in staying:
            del storage._simulated_card, storage._token  # type: ignore[attr-defined]
