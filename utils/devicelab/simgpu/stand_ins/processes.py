"""Children have the same cards, as on a machine with real ones; a DataLoader's workers must not return what is there."""

import functools
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch.utils._pytree import tree_iter
from torch.utils.data import get_worker_info

from devicelab import children
from devicelab.errors import SimulationError
from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine

WORKER = (
    "A DataLoader worker made a batch on {}, which the simulated GPU cannot share with the process that trains. Let the dataset "
    "and collate_fn return CPU tensors, and move each batch to the GPU in the training loop."
)
Cards = tuple[
    str, int, str, str | None
]  # the name, how many, what becomes of compiled functions, CUDA_VISIBLE_DEVICES
START = """
try:
    from devicelab.simgpu.session import start_in_child
except ModuleNotFoundError:
    pass  # the path is not set yet: the process object brings the cards
else:
    start_in_child(*{!r})
"""


def cards_of(machine: Machine) -> Cards:
    """Return what starts the same simulation in another process."""
    return machine.cards[0].spec.name, len(machine.cards), machine.compiled, machine.visible


class Told:
    """What starts the same cards where a spawned child reads it: before its main module, whose imports bind what they find."""

    def __init__(self, cards: Cards):
        self.cards = cards

    def __reduce__(self) -> Any:
        return exec, (START.format(self.cards), {})


def preparing(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return what tells a spawned child how to begin."""

    @functools.wraps(original)
    def get_preparation_data(*args: Any, **kwargs: Any) -> dict[str, Any]:
        data = original(*args, **kwargs)
        return data if state.current is None else data | {"devicelab": Told(cards_of(state.current))}

    return get_preparation_data


def reduce_process(process: BaseProcess, protocol: Any) -> Any:
    """Pickle a process to be spawned such that the child starts with the same cards, as it would on a machine with real ones."""
    parts: Any = object.__reduce_ex__(process, protocol)
    make, arguments, *rest = parts
    if state.current is None:
        return (make, arguments, *rest)
    return (state.current.revive, (cards_of(state.current), make, arguments), *rest)


def launching(original: Callable[..., None]) -> Callable[..., None]:
    """Return subprocess.Popen's __init__, which hands the cards on to a child with an environment of its own."""

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, env: Any = None, **kwargs: Any) -> None:
        original(self, *args, env=env if env is None else children.extended(env), **kwargs)

    return __init__


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
    """Tell children of the cards, on every way to them, and look at the batches that workers make."""
    if machine.children:
        machine.on_stop(children.tell("devicelab.simgpu.session:start_in_child", *cards_of(machine)))
    machine.patches.wrap("multiprocessing.spawn.get_preparation_data", preparing)
    machine.patches.wrap("subprocess.Popen.__init__", launching)
    machine.patches.replace("multiprocessing.process.BaseProcess.__reduce_ex__", reduce_process)
    for kind in ("Map", "Iterable"):
        machine.patches.wrap(f"torch.utils.data._utils.fetch._{kind}DatasetFetcher.fetch", fetching)
