"""Spawned processes have the same cards, as they would on a machine with real ones."""

from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from . import state
from .session import Simulation, simulate_gpu


def reduce_process(process: BaseProcess, protocol: Any) -> Any:
    """Pickle a process to be spawned such that the child starts with the same cards, as it would on a machine with real ones."""
    parts: Any = object.__reduce_ex__(process, protocol)
    make, arguments, *rest = parts
    if state.current is None:
        return (make, arguments, *rest)
    cards = state.current.cards
    return (revive, (cards[0].spec.name, len(cards), make, arguments), *rest)


def revive(name: str, count: int, make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Start the simulation in a spawned child, if its main module has not done so, and make its process object."""
    if state.current is None:
        simulate_gpu(name, count)
    return make(*arguments)


def install(simulation: Simulation) -> None:
    """Replace how a process object is pickled on its way to the child."""
    simulation.patches.replace("multiprocessing.process.BaseProcess.__reduce_ex__", reduce_process)
