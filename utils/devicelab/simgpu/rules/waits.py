"""How often CUDA makes the host wait inside one operator, from the table beside this file."""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml

from devicelab.simgpu.marks.marks import Tensor, card_of
from devicelab.simgpu.marks.place import position

SLICE = 2048  # elements of which one block of CUDA finds the mode
MANY = (10.0, 0.145)  # numpy's measure of how many values are worth sorting, as in TensorCompare.cpp


class Call:
    """One call of an operator, whose arguments are asked for by their names in the schema."""

    def __init__(self, func: Any, args: Any, kwargs: Any):
        self._func, self.args, self._kwargs = func, args, kwargs

    def get(self, name: str) -> Any:
        """Return an argument, or None where it was left out."""
        at = position(self._func, name)
        return self.args[at] if 0 <= at < len(self.args) else self._kwargs.get(name)


def _same_shape_and_other_memory(call: Call) -> bool:
    first, second = call.args[:2]
    if first.shape != second.shape or not first.numel():
        return False
    if not first.layout is second.layout is torch.strided:
        return True
    memory = [(x.untyped_storage()._cdata, x.storage_offset(), x.stride(), x.dtype) for x in (first, second)]
    return memory[0] != memory[1]


def _many_that_may_repeat(call: Call) -> bool:
    elements, sought = call.get("elements"), call.get("test_elements")
    if not isinstance(elements, Tensor) or not isinstance(sought, Tensor) or call.get("assume_unique"):
        return False
    return elements.numel() > 0 and sought.numel() >= int(MANY[0] * elements.numel() ** MANY[1])


def _slice_of(call: Call) -> int:
    """Return the length of what one mode is taken of."""
    tensor, dim = call.args[0], call.get("dim")
    return tensor.shape[-1 if dim is None else dim] if tensor.dim() else 1


def _has(name: str) -> Callable[[Call], bool]:
    return lambda call: bool(call.get(name))


CONDITIONS: dict[str, Callable[[Call], bool]] = {
    "always": lambda call: True,
    "never": lambda call: False,
    "along a dimension": lambda call: call.get("dim") is not None,
    "deviations on the card": lambda call: on_card(call.get("std")) and call.get("std").numel() > 0,
    "the same shape and other memory": _same_shape_and_other_memory,
    "errors are checked": _has("check_errors"),
    "two rows or more": lambda call: call.args[0].shape[-1] > 1 and call.args[0].numel() > 0,
    "no range": lambda call: call.get("min") == call.get("max") and call.args[0].numel() > 0,
    "over all values": lambda call: call.get("dim") is None and call.args[0].numel() > 0,
    "slices of more than 2048": lambda call: _slice_of(call) > SLICE,
    "a sorter": lambda call: call.get("sorter") is not None and call.get("sorter").numel() > 0,
    "no output size": lambda call: call.get("output_size") is None and call.args[0].numel() > 0,
    "lengths that are checked": lambda call: call.get("lengths") is not None and not call.get("unsafe"),
    "many values that may repeat": _many_that_may_repeat,
    "a value on the card": lambda call: on_card(call.get("value")),
    "a value on another device": lambda call: on_card(call.get("value")) and not on_card(call.args[0]),
    "from dense": lambda call: call.args[0].layout is torch.strided,
}
COUNTS: dict[str, Callable[[Call], int]] = {
    "smallest and largest": lambda call: (
        0 if not call.args[0].numel() else 1 if call.args[0].dtype is torch.uint8 else 2
    ),
    "one for each slice": lambda call: math.prod(call.args[0].shape) // _slice_of(call),
    "singular or eigenvalues": lambda call: (
        1 if call.get("hermitian") else 2
    ),  # as _linalg_eigh and _linalg_svd
    "gaps and lengths": lambda call: 1 if call.get("mask_check") is False else 2,
}


def on_card(value: Any) -> bool:
    """Say whether an argument is a tensor of a card."""
    return isinstance(value, Tensor) and card_of(value) is not None


@cache
def table() -> dict[str, dict[str, Any]]:
    """Return the operators, each with its number of waits and the condition."""
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def name_of(func: Any) -> str:
    """Return the name by which the table knows an operator."""
    return func._schema.name.removeprefix("aten::")


def waits(func: Any, args: Any, kwargs: Any) -> tuple[int, bool]:
    """Return how often a call of an operator in the table waits, and whether debug mode is told of it."""
    row, call = table()[name_of(func)], Call(func, args, kwargs)
    if not CONDITIONS[row.get("when", "always")](call):
        return 0, False
    count, silent = row["waits"], CONDITIONS[row.get("silent", "never")](call)
    return count if isinstance(count, int) else COUNTS[count](call), not silent
