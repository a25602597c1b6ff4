"""Whether CUDA would accept operands on different devices: its own error, or the device of the result.

CUDA PyTorch refuses a mix in three ways: by a check that torchgen generates for each kernel, by TensorIterator, which drives
the pointwise operators, and by checks written by hand. Which of them holds for an operator is read from PyTorch's own files
(`published`); the exceptions are in `by_name`.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch.utils._pytree import tree_map

from . import by_name, published
from .refusals import CPU, Call, Operand, accelerator, generated, iterate, pointwise, resize_out, shapes_first


def resolve(
    func: torch._ops.OpOverload,
    operands: list[tuple[str, torch.Tensor, torch.device]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> torch.device | list[torch.device]:
    """Raise CUDA's error for a call whose operands are on different devices, or return the device of its result.

    Operators on lists of tensors (`_foreach_add`) return a device for each result.
    """
    return decide(call_of(func, operands, args, kwargs))


def call_of(
    func: torch._ops.OpOverload,
    operands: list[tuple[str, torch.Tensor, torch.device]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Call:
    """Bind a call's tensors and other arguments to the names of the operator's schema."""
    tensors: dict[str, list[Operand]] = {}
    for name, tensor, device in operands:
        tensors.setdefault(name, []).append((tensor, device))
    names, defaults = signature(func)
    arguments = defaults | dict(zip(names, args, strict=False)) | kwargs
    return Call(
        func, tensors, arguments, lambda: func(*args, **kwargs), lambda: without_writing(func, args, kwargs)
    )


def without_writing(func: torch._ops.OpOverload, args: Any, kwargs: Any) -> Any:
    """Run an operator on tensors of the same shapes and dtypes with other values, so that nothing is written."""

    def like(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.is_nested:
            return value.clone()
        return torch.ones(value.shape, dtype=value.dtype) if isinstance(value, torch.Tensor) else value

    args, kwargs = tree_map(like, (args, kwargs))
    return func(*args, **kwargs)


def decide(call: Call) -> torch.device | list[torch.device]:
    """Judge a call by hand where CUDA does, else by what is published about its kernel."""
    origin = published.origin(call.func)
    if origin is not None:
        return derived(call, origin)
    key = published.dispatch_key([tensor for tensor, _ in call.all()], call.arguments.get("layout"))
    kernel = published.kernel(call.func, key)
    by_hand = by_name.find(published.overload_name(call.func), kernel.checked is not None)
    if by_hand is not None:
        return by_hand(call)
    if kernel.checked is not None:
        return generated(kernel.wrapper, call.named(*kernel.checked)) or accelerator(call.all())
    outputs, inplace, inputs = roles(call)
    if kernel.structured and not kernel.iterator and outputs:
        return resize_out(outputs, inputs[0][1] if inputs else CPU)
    if kernel.iterator:
        return pointwise(call, outputs, inputs)
    shapes_first(call, inputs, inplace)
    return iterate(outputs, inputs)


def derived(call: Call, origin: torch._ops.OpOverload) -> torch.device | list[torch.device]:
    """Judge an operator that torchgen derives from another: the other's check, then the out= tensors'."""
    names, _ = signature(origin)
    inner = {name: operands for name, operands in call.tensors.items() if name in names}
    device = decide(replace(call, func=origin, tensors=inner))
    outputs = [
        operand for name, operands in call.tensors.items() if name not in names for operand in operands
    ]
    return resize_out(outputs, device) if isinstance(device, torch.device) else device


def roles(call: Call) -> tuple[list[Operand], list[Operand], list[Operand]]:
    """Return the operands that are written, those of them written in place (not out=), and those that are read."""
    outputs: list[Operand] = []
    inplace: list[Operand] = []
    inputs: list[Operand] = []
    for name, is_written, is_out in written(call.func):
        operands = call.tensors.get(name, [])
        outputs += operands if is_written else []
        inplace += operands if is_written and not is_out else []
        inputs += [] if is_out else operands
    return outputs, inplace, inputs


@cache
def signature(func: torch._ops.OpOverload) -> tuple[list[str], dict[str, Any]]:
    """Return the names of an operator's arguments, and the values of those that may be left out."""
    arguments = func._schema.arguments
    defaults = {
        argument.name: argument.default_value for argument in arguments if argument.has_default_value()
    }
    return [argument.name for argument in arguments], defaults


@cache
def written(func: torch._ops.OpOverload) -> list[tuple[str, bool, bool]]:
    """Return for each argument of an operator its name, whether it is written, and whether it is an out= argument."""
    return [
        (argument.name, bool(argument.alias_info and argument.alias_info.is_write), argument.is_out)
        for argument in func._schema.arguments
    ]
