"""Find every tensor of a model, an optimizer or a batch, with the name by which its owner would reach it."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.rnn import PackedSequence

from .result import Place

MOST_OBJECTS = 200_000  # looked at in one call; a larger structure is reported as cut off
DEEPEST = 200  # levels of nesting
MODULE_TENSORS = {"_parameters", "_buffers", "_modules"}
PLAIN = (
    str,
    bytes,
    bytearray,
    int,
    float,
    complex,
    bool,
    type(None),
    type,
    torch.device,
    torch.dtype,
    torch.Size,
)


class Walk:
    """One look at some objects: each tensor is met once, under the first name that leads to it."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.truncated = False
        self._depth = 0
        self._seen: dict[int, object] = {}  # keeps what was seen alive, so that no id is used again
        self._names: dict[int, str] = {}  # of parameters, for the optimizers that hold them
        self._hidden = False  # inside something that module.to() cannot reach

    def visit(self, name: str, value: object, kind: str = "tensor") -> None:
        """Note the tensors of `value`; `kind` is what a tensor found directly is called."""
        if isinstance(value, PLAIN) or id(value) in self._seen:
            return
        if len(self._seen) >= MOST_OBJECTS or self._depth >= DEEPEST:
            self.truncated = True
            return
        self._seen[id(value)] = value
        self._depth += 1
        self._look_into(name, value, kind)
        self._depth -= 1

    def _look_into(self, name: str, value: object, kind: str) -> None:
        if isinstance(value, torch.Tensor):
            self._note(name, value, kind)
        elif isinstance(value, nn.Module):
            self._module(name, value)
        elif isinstance(value, torch.optim.Optimizer):
            self._optimizer(name, value)
        else:
            for child, item in self._children(name, value):
                self.visit(child, item, kind)

    def _note(self, name: str, tensor: torch.Tensor, kind: str, *, expected: bool = False) -> None:
        lazy = is_lazy(tensor)
        shape = None if lazy else tuple(tensor.shape)
        size = 0 if lazy else _bytes(tensor)
        self.places.append(Place(name, kind, str(tensor.device), shape, size, expected))

    def _module(self, name: str, module: nn.Module) -> None:
        for path, part in list(module.named_modules()):
            self._seen[id(part)] = part
            at = f"{name}.{path}" if path else name
            for key, parameter in part._parameters.items():
                if parameter is not None:
                    self._names.setdefault(id(parameter), f"{path}.{key}" if path else key)
                    self.visit(f"{at}.{key}", parameter, self._reachable("parameter"))
            for key, buffer in part._buffers.items():
                self.visit(f"{at}.{key}", buffer, self._reachable("buffer"))
        for path, part in list(module.named_modules()):
            self._attributes(f"{name}.{path}" if path else name, part)

    def _reachable(self, kind: str) -> str:
        return f"{kind} of a module that .to() cannot reach" if self._hidden else kind

    def _attributes(self, name: str, module: nn.Module) -> None:
        outside, self._hidden = self._hidden, True
        plain = sorted(
            vars(module).items(), key=lambda item: not isinstance(item[1], torch.Tensor)
        )  # the shortest names first
        for key, value in plain:
            if key not in MODULE_TENSORS and not key.startswith(
                ("_forward", "_backward", "_state_dict", "_load_state")
            ):
                kind = "attribute" if isinstance(value, torch.Tensor) else f"inside the attribute {key}"
                self.visit(f"{name}.{key}", value, kind)
        self._hidden = outside

    def _optimizer(self, name: str, optimizer: torch.optim.Optimizer) -> None:
        for group, settings in enumerate(optimizer.param_groups):
            for number, parameter in enumerate(settings["params"]):
                kind = "parameter that only the optimizer holds" if self._names else "parameter"
                self.visit(f"{name}.param_groups[{group}]['params'][{number}]", parameter, kind)
        for number, (parameter, state) in enumerate(optimizer.state.items()):
            owner = self._names.get(id(parameter), number)
            for key, value in state.items() if isinstance(state, Mapping) else ():
                self._state(f"{name}.state[{owner}].{key}", key, value)

    def _state(self, name: str, key: str, value: object) -> None:
        """PyTorch keeps Adam's step counter on the CPU on purpose; everything else belongs beside its parameter."""
        if (
            isinstance(value, torch.Tensor)
            and key == "step"
            and value.dim() == 0
            and id(value) not in self._seen
        ):
            self._seen[id(value)] = value
            self._note(name, value, "optimizer state", expected=value.device.type == "cpu")
        else:
            self.visit(name, value, "optimizer state")

    def _children(self, name: str, value: object) -> Iterable[tuple[str, object]]:
        if isinstance(value, PackedSequence):
            return self._packed(name, value)
        if isinstance(value, Mapping):
            return ((f"{name}[{_key(key)}]", item) for key, item in list(value.items()))
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return ((f"{name}.{field}", getattr(value, field)) for field in value._fields)
        if isinstance(value, (list, tuple)):
            return ((f"{name}[{number}]", item) for number, item in enumerate(value))
        if isinstance(value, (set, frozenset)):
            return ((f"{name}{{...}}", item) for item in value)
        if dataclasses.is_dataclass(value):
            return ((f"{name}.{f.name}", getattr(value, f.name, None)) for f in dataclasses.fields(value))
        return _own_attributes(name, value)

    def _packed(self, name: str, packed: PackedSequence) -> Iterator[tuple[str, object]]:
        """PyTorch keeps a packed sequence's batch_sizes on the CPU on purpose."""
        self._seen[id(packed.batch_sizes)] = packed.batch_sizes
        self._note(f"{name}.batch_sizes", packed.batch_sizes, "tensor", expected=True)
        yield f"{name}.data", packed.data


def _own_attributes(name: str, value: object) -> Iterable[tuple[str, object]]:
    """The attributes of a user's object; functions, and torch's and Python's inner objects, hold nothing of the learner's."""
    if isinstance(value, (FunctionType, BuiltinFunctionType, MethodType)):
        return ()
    if type(value).__module__.partition(".")[0] in (
        "builtins",
        "torch",
        "numpy",
        "threading",
        "_io",
        "logging",
    ):
        return _dataset(name, value)
    attributes: dict[str, Any] = getattr(value, "__dict__", {})
    return ((f"{name}.{key}", item) for key, item in list(attributes.items()))


def _dataset(name: str, value: object) -> Iterable[tuple[str, object]]:
    """Look into torch's data sets and loaders; nothing is drawn from them."""
    if isinstance(value, torch.utils.data.DataLoader):
        return [(f"{name}.dataset", value.dataset)]
    if isinstance(value, torch.utils.data.Dataset):
        return [(f"{name}.{key}", item) for key, item in vars(value).items()]
    return ()


def _key(key: object) -> str:
    return repr(key) if isinstance(key, (str, int, float, bool)) else type(key).__name__


def _bytes(tensor: torch.Tensor) -> int:
    """Return the bytes of a tensor's elements; a sparse one has its stored elements only."""
    if tensor.layout is torch.strided:
        return tensor.numel() * tensor.element_size()
    if tensor.layout is torch.sparse_coo:
        return _bytes(tensor._values()) + _bytes(tensor._indices())
    try:
        return _bytes(tensor.values())
    except (RuntimeError, AttributeError):
        return 0
