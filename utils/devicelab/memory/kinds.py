"""What a piece of a card's memory is: known from the modules and optimizers that run, and settled when the run has ended."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.modules import module as torch_module
from torch.optim import optimizer as torch_optimizer

WEIGHTS, GRADIENTS, OPTIMIZER, ACTIVATIONS, PASSING = (
    "weights",
    "gradients",
    "optimizer",
    "activations",
    "passing",
)
KINDS = (WEIGHTS, GRADIENTS, OPTIMIZER, ACTIVATIONS, PASSING)
_task = torch._C._current_graph_task_id  # -1 outside of a backward pass


class Kinds:
    """Hears of modules and optimizers while a training runs, and tells `named` of each tensor whose kind it knows."""

    def __init__(self, named: Callable[[torch.Tensor, str], None]) -> None:
        self._named = named
        self._weights: dict[int, weakref.ref[torch.Tensor]] = {}
        self.steps = 0
        self.stepping = False

    @property
    def newborn(self) -> str:
        """Return what a piece is that comes now, until something better is known."""
        return PASSING if self.stepping or _task() != -1 else ACTIVATIONS

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Hear of every module and optimizer while the block runs."""
        handles = [
            torch_module.register_module_forward_pre_hook(self._forward),
            torch_optimizer.register_optimizer_step_pre_hook(self._begins),
            torch_optimizer.register_optimizer_step_post_hook(self._ends),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def settle(self) -> None:
        """Name the gradients that are there, also where no optimizer has come to use them."""
        for known in self._weights.values():
            tensor = known()
            if tensor is not None and tensor.grad is not None:
                self._named(tensor.grad, GRADIENTS)

    def _weight(self, tensor: torch.Tensor) -> None:
        if id(tensor) not in self._weights:
            self._weights[id(tensor)] = weakref.ref(tensor)
        self._named(tensor, WEIGHTS)

    def _forward(self, module: torch.nn.Module, _: Any) -> None:
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            self._weight(tensor)

    def _begins(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                self._weight(parameter)
        self.settle()
        self.stepping = True

    def _ends(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self.stepping = False
        self.steps += 1
        for state in optimizer.state.values():
            for value in state.values():
                if isinstance(value, torch.Tensor):
                    self._named(value, OPTIMIZER)
