"""Find every tensor of a model, an optimizer or a batch, with the name by which its owner would reach it."""

from collections import UserDict
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import FunctionType, MethodType
from typing import Any, NamedTuple
from weakref import proxy

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import DataLoader, Dataset

from devicelab.reach import MOST, Reach, inside, is_a, namespace, slots

from .result import Place

DEEPEST = (
    200  # levels of nesting; a structure that is deeper, or larger than Reach allows, is reported as cut off
)
HOOKS = ("_forward", "_backward", "_state_dict", "_load_state")
MODULE_TENSORS = {"_parameters", "_buffers", "_modules"}
CONTAINERS = (Mapping, list, tuple, set, frozenset, Dataset)
INNER = {
    "builtins",
    "torch",
    "numpy",
    "threading",
    "_io",
    "logging",
}  # objects of theirs hold nothing of the learner's


class At(NamedTuple):
    """How a value was come to: the name by which its owner would reach it, and what a tensor found there is called."""

    name: str
    kind: str = "tensor"
    hidden: bool = False  # inside something that module.to() cannot reach
    stays: bool = False  # PyTorch keeps it on the CPU on purpose

    def part(self, kind: str) -> str:
        """Return what a parameter or a buffer of a module is called."""
        return f"{kind} of a module that .to() cannot reach" if self.hidden else kind

    def expects(self, tensor: torch.Tensor) -> bool:
        """Say whether PyTorch itself keeps a tensor where it is."""
        return self.stays and tensor.device.type == "cpu"


class Walk:
    """One look at some objects: each tensor is met once, under the first name that leads to it."""

    def __init__(self, most: int = MOST) -> None:
        self.found: list[tuple[At, torch.Tensor]] = []
        # Weakly: a circle would keep all that was met, tensors too, until Python collects its garbage.
        inside = partial(Walk._inside, proxy(self))
        self._reach: Reach[At] = Reach(inside, DEEPEST, most)
        self._names: dict[int, str] = {}  # of parameters, for the optimizers that hold them

    @property
    def truncated(self) -> bool:
        """Whether the structure was too large, so that something was not looked at."""
        return self._reach.truncated

    @property
    def places(self) -> tuple[Place, ...]:
        """Where the tensors that were found are now."""
        return tuple(_place(at, tensor) for at, tensor in self.found)

    def look(self, named: Iterable[tuple[str, object]]) -> None:
        """Note the tensors that can be reached from some objects with their names."""
        for at, value in self._reach.walk((At(name), value) for name, value in named):
            if is_a(value, torch.Tensor):
                self.found.append((at, value))

    def _inside(self, at: At, value: Any) -> Iterable[tuple[At, Any]]:
        if is_a(value, torch.Tensor):
            return ()
        if is_a(value, nn.Module):
            return self._module(at, value)
        if is_a(value, torch.optim.Optimizer):
            return self._optimizer(at, value)
        if is_a(value, PackedSequence):  # PyTorch keeps its sizes on the CPU on purpose
            return [
                (At(f"{at.name}.batch_sizes", stays=True), value.batch_sizes),
                (at._replace(name=f"{at.name}.data"), value.data),
            ]
        return ((At(at.name + step, at.kind, at.hidden), item) for step, item in _held(value))

    def _module(self, at: At, module: nn.Module) -> Iterator[tuple[At, Any]]:
        parts = [(f".{path}" if path else "", part) for path, part in self._below(module)]
        for path, part in parts:
            for key, parameter in part._parameters.items():
                self._names.setdefault(id(parameter), f"{path}.{key}"[1:])
                yield At(f"{at.name}{path}.{key}", at.part("parameter"), at.hidden), parameter
            for key, buffer in part._buffers.items():
                yield At(f"{at.name}{path}.{key}", at.part("buffer"), at.hidden), buffer
        for path, part in parts:
            yield from _attributes(at.name + path, part)

    def _below(self, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        """Yield a module and those in it as named_modules() does, but without recursion and only what was not met before."""
        waiting = [("", module)]
        while waiting:
            path, part = waiting.pop()
            if part is not module and id(part) in self._reach.seen:
                continue
            self._reach.seen[id(part)] = part
            yield path, part
            below = [(f"{path}.{name}" if path else name, inner) for name, inner in part._modules.items()]
            waiting += [(way, inner) for way, inner in reversed(below) if inner is not None]

    def _optimizer(self, at: At, optimizer: torch.optim.Optimizer) -> Iterator[tuple[At, Any]]:
        """Yield the parameters, then their state; PyTorch keeps Adam's step counter on the CPU on purpose."""
        kind = "parameter that only the optimizer holds" if self._names else "parameter"
        for group, settings in enumerate(optimizer.param_groups):
            for number, parameter in enumerate(settings["params"]):
                yield At(f"{at.name}.param_groups[{group}]['params'][{number}]", kind), parameter
        for number, (parameter, state) in enumerate(optimizer.state.items()):
            owner = self._names.get(id(parameter), number)
            for key, value in state.items() if is_a(state, Mapping) else ():
                stays = key == "step" and is_a(value, torch.Tensor) and value.dim() == 0
                yield At(f"{at.name}.state[{owner}].{key}", "optimizer state", stays=stays), value


def _place(at: At, tensor: torch.Tensor) -> Place:
    lazy = is_lazy(tensor)
    shape = None if lazy else tuple(tensor.shape)
    size = 0 if lazy else bytes_of(tensor)
    return Place(at.name, at.kind, str(tensor.device), shape, size, at.expects(tensor))


def _attributes(name: str, module: nn.Module) -> Iterator[tuple[At, Any]]:
    """Yield a module's plain attributes, tensors first: so these get the shortest names."""
    own = [
        item
        for item in vars(module).items()
        if item[0] not in MODULE_TENSORS and not item[0].startswith(HOOKS)
    ]
    for key, value in sorted(own, key=lambda item: not is_a(item[1], torch.Tensor)):
        kind = "attribute" if is_a(value, torch.Tensor) else f"inside the attribute {key}"
        yield At(f"{name}.{key}", kind, hidden=True), value


def _held(value: Any) -> Iterable[tuple[str, Any]]:
    """Return what a value holds of the learner's; from data sets and loaders nothing is drawn."""
    if is_a(value, DataLoader):
        return [(".dataset", value.dataset)]
    if (
        is_a(value, Mapping)
        and not is_a(value, (dict, UserDict))
        and not namespace(value)
        and not slots(value)
    ):
        return inside(
            dict(value)
        )  # only its own code knows what it holds; else that code may read files, and is not run
    home = type(value).__module__.partition(".")[0]
    if is_a(value, (FunctionType, MethodType)) or (home in INNER and not is_a(value, CONTAINERS)):
        return ()
    return inside(value)


def bytes_of(tensor: torch.Tensor) -> int:
    """Return the bytes of a tensor's elements; a sparse one has its stored elements only."""
    if tensor.layout is torch.strided:
        return tensor.numel() * tensor.element_size()
    if tensor.layout is torch.sparse_coo:
        return bytes_of(tensor._values()) + bytes_of(tensor._indices())
    try:
        return bytes_of(tensor.values())
    except (RuntimeError, AttributeError):
        return 0
