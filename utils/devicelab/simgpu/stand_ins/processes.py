"""Spawned processes have the same cards, as on a machine with real ones; a DataLoader's workers must not return what is there."""

import functools
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch.utils._pytree import tree_iter
from torch.utils.data import get_worker_info

from devicelab.errors import SimulationError
from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine

WORKER = (
    "A DataLoader worker made a batch on {}, which the simulated GPU cannot share with the process that trains. Let the dataset "
    "and collate_fn return CPU tensors, and move each batch to the GPU in the training loop."
)


def reduce_process(process: BaseProcess, protocol: Any) -> Any:
    """Pickle a process to be spawned such that the child starts with the same cards, as it would on a machine with real ones."""
    parts: Any = object.__reduce_ex__(process, protocol)
    make, arguments, *rest = parts
    if state.current is None:
        return (make, arguments, *rest)
    machine = state.current
    cards = machine.cards[0].spec.name, len(machine.cards), machine.compiled
    return (machine.revive, (cards, make, arguments), *rest)


def fetching(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes a batch, which in a worker must be of CPU tensors: the training process could not read it."""

    @functools.wraps(original)
    def fetch(self: Any, *args: Any, **kwargs: Any) -> Any:
        data = original(self, *args, **kwargs)
        if get_worker_info() is not None:
            for leaf in tree_iter(data):
                if isinstance(leaf, torch.Tensor) and leaf.is_cuda:
                    raise SimulationError(WORKER.format(leaf.device))
        return data

    return fetch


def install(machine: Machine) -> None:
    """Replace how a process object is pickled on its way to the child, and how a worker makes its batches."""
    machine.patches.replace("multiprocessing.process.BaseProcess.__reduce_ex__", reduce_process)
    for kind in ("Map", "Iterable"):
        machine.patches.wrap(f"torch.utils.data._utils.fetch._{kind}DatasetFetcher.fetch", fetching)
