"""Spawned processes have the same cards, as they would on a machine with real ones."""

from multiprocessing.process import BaseProcess
from typing import Any

from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine


def reduce_process(process: BaseProcess, protocol: Any) -> Any:
    """Pickle a process to be spawned such that the child starts with the same cards, as it would on a machine with real ones."""
    parts: Any = object.__reduce_ex__(process, protocol)
    make, arguments, *rest = parts
    if state.current is None:
        return (make, arguments, *rest)
    machine = state.current
    cards = machine.cards[0].spec.name, len(machine.cards), machine.compiled
    return (machine.revive, (cards, make, arguments), *rest)


def install(machine: Machine) -> None:
    """Replace how a process object is pickled on its way to the child."""
    machine.patches.replace("multiprocessing.process.BaseProcess.__reduce_ex__", reduce_process)
