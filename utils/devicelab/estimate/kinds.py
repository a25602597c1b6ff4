"""How an operator is treated when nothing is to be computed, and which tensors it takes and gives."""

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor

from devicelab.errors import InputError

from . import shapes

SMALL = 2**16  # elements of integers and masks up to which their values are worked out
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
RUN, ITEM, DYNAMIC, INDEX, IN_PLACE, NEW = range(6)


@cache
def kind_of(func: Any) -> int:
    """Say how an operator is treated when nothing is to be computed."""
    if not isinstance(func, torch._ops.OpOverload) or func.is_view or func.namespace == "profiler":
        return RUN
    name = func._schema.name
    if name == "aten::_local_scalar_dense":
        return ITEM
    if name == "aten::index":
        return INDEX
    if torch.Tag.inplace_view in func.tags or name in (
        "aten::set_",
        "aten::lift_fresh",
        "aten::record_stream",
    ):
        return RUN
    if torch.Tag.dynamic_output_shape in func.tags or torch.Tag.data_dependent_output in func.tags:
        return DYNAMIC
    written = any(
        value.alias_info is not None and value.alias_info.is_write for value in func._schema.arguments
    )
    return IN_PLACE if written else NEW


def tensors_in(values: Any) -> Iterator[Tensor]:
    """Yield the tensors among values, also those in lists."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif value.__class__ in (list, tuple):
            yield from tensors_in(value)


def memory_of(args: Any, kwargs: dict[str, Any]) -> torch.device:
    """Return where empty memory is taken: on meta where an operand or `device=` is."""
    device = kwargs.get("device")
    is_meta = device is not None and device.type == "meta"
    return shapes.META if is_meta or any(one.is_meta for one in tensors_in(args)) else shapes.CPU


def drawn(found: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Return empty tensors of the shapes that were found, where the operands' own values would be."""
    try:
        return shapes.drawn(found, memory_of(args, kwargs))
    except RuntimeError as error:  # address space, which is all that empty memory takes
        raise InputError(
            f"This machine cannot set aside the memory that a result would take ({error}). Build the model and its data on "
            'meta, which takes none: with torch.device("meta"): ...'
        ) from None


def is_lone(args: Any, kwargs: dict[str, Any]) -> bool:
    """Say whether a factory makes a single number without a dimension, as `torch.rand([])` does."""
    device = kwargs.get("device")
    sizes = [value for value in args if value.__class__ in (list, tuple)]
    return (device is None or device.type == "cpu") and len(sizes) == 1 and not sizes[0]


def is_whole(found: Any) -> bool:
    """Say whether all described results are integers or masks, and small."""
    if found.__class__ is shapes.Sketch:
        return found[2] in WHOLE and math.prod(found[0]) <= SMALL
    return found.__class__ is tuple and bool(found) and all(map(is_whole, found))


def is_small(found: Any) -> bool:
    """Say whether all described results are small, whatever their dtype."""
    if found.__class__ is shapes.Sketch:
        return math.prod(found[0]) <= SMALL
    return found.__class__ is tuple and all(map(is_small, found))


def written_by(func: Any, args: Any, kwargs: dict[str, Any]) -> list[Tensor]:
    """Return the tensors that an operator writes."""
    written = [
        args[number] if number < len(args) else kwargs.get(argument.name)
        for number, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return list(tensors_in(written))


def same_as(func: Any, args: Any, kwargs: dict[str, Any], names: set[str]) -> Any:
    """Return the argument that a result is the same tensor as."""
    for number, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.before_set & names:
            return args[number] if number < len(args) else kwargs.get(argument.name)
    return None
