"""Operators that CUDA computes in single precision and rounds once, where the CPU's kernels round small types on the way."""

from collections.abc import Callable
from typing import Any

import torch

from devicelab.simgpu.marks.marks import Tensor
from devicelab.simgpu.marks.place import is_on_card
from devicelab.simgpu.rules import dtypes
from devicelab.simgpu.rules.nondeterministic import argument

from .call import Calls

SMALL = (torch.float16, torch.bfloat16)
WIDE = torch.float32
cast = torch.ops.aten._to_copy.default
copy_ = torch.ops.aten.copy_.default
resize_ = torch.ops.aten.resize_.default
add_ = torch.ops.aten.add_.Tensor


def once(handler: Callable[..., Any] | None) -> Callable[..., Any]:
    """Have an operator round once where all of its floats are of one small type; `handler` does what is asked otherwise."""

    def run(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
        small = small_type(args, kwargs) if is_on_card(seen) else None
        if small is None or not dtypes.rounds(func, args, kwargs):
            if handler is not None:
                return handler(mode, func, args, kwargs, seen)
            return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)
        out = rounded(func, args, kwargs, small)
        mode.finish(func, args, out, seen)
        return out

    return run


def small_type(args: Any, kwargs: Any) -> torch.dtype | None:
    """Return the small type of all floats among a call's tensors, or None."""
    found = {value.dtype for value in tensors((*args, *kwargs.values())) if value.dtype.is_floating_point}
    found |= {value for value in kwargs.values() if isinstance(value, torch.dtype)}
    return found.pop() if len(found) == 1 and found <= set(SMALL) else None


def tensors(values: Any) -> list[Tensor]:
    """Return the tensors among values, and in lists among them."""
    lists = (item for value in values if isinstance(value, (list, tuple)) for item in value)
    return [value for value in (*values, *lists) if isinstance(value, Tensor)]


def rounded(func: Any, args: Any, kwargs: Any, small: torch.dtype) -> Any:
    """Run an operator in single precision, and round what it returns and what it writes to."""
    wide: dict[int, Tensor] = {}
    out = func(*up(args, small, wide), **{name: up(value, small, wide) for name, value in kwargs.items()})
    given = {id(wide[id(value)]): value for value in tensors((*args, *kwargs.values())) if id(value) in wide}
    written = tensors(
        [
            argument(func, args, kwargs, one.name)
            for one in func._schema.arguments
            if one.alias_info and one.alias_info.is_write
        ]
    )
    for value in written:
        if value.dtype == small:
            if value.shape != wide[id(value)].shape:
                resize_(value, wide[id(value)].shape)
            copy_(value, wide[id(value)])
    return down(out, small, given)


# Not inside `rounded`: a function that calls itself there would keep its tensors until the next collection of garbage.
def up(value: Any, small: torch.dtype, wide: dict[int, Tensor]) -> Any:
    """Return a value with the tensors of a small type in single precision, and note them in `wide` by the id of the small one."""
    if isinstance(value, Tensor) and value.dtype == small:
        return wide.setdefault(id(value), cast(value, dtype=WIDE))
    if isinstance(value, (list, tuple)):
        return [up(item, small, wide) for item in value]
    return WIDE if value is small else value


def down(value: Any, small: torch.dtype, given: dict[int, Tensor]) -> Any:
    """Return a value with its tensors of single precision rounded, or those that were given in their place."""
    if isinstance(value, (list, tuple)):
        return type(value)(down(item, small, given) for item in value)
    if not isinstance(value, Tensor) or value.dtype != WIDE:
        return value
    return given[id(value)] if id(value) in given else cast(value, dtype=small)


def convolution(mode: Calls, func: Any, args: Any, seen: Any) -> Any:
    """Convolve as cuDNN does, and add the bias to what it has rounded (native/Convolution.cpp); None where nothing is small."""
    small = small_type(args, {}) if is_on_card(seen) else None
    if small is None:
        return None
    data, weight, bias, *rest = args
    out = rounded(func, (data, weight, None, *rest), {}, small)
    if bias is not None:
        if bias.shape != out.shape[1:2]:
            return None  # the operator itself says so
        add_(out, bias.reshape(-1, *[1] * (data.dim() - 2)))
    mode.finish(func, args, out, seen)
    return out
