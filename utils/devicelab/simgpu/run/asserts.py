"""Operators whose kernels assert something of their values: launched as if all were well; the card is lost at the next wait.

A failed kernel's results are no numbers: floats are NaN, other types 0, and what is written in place stays as it is. Their
shapes come from PyTorch's meta kernels.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_map

from devicelab import devices
from devicelab.simgpu.machine.machine import SimCard
from devicelab.simgpu.marks.marks import Tensor
from devicelab.simgpu.marks.place import home, is_on_card
from devicelab.simgpu.rules import asserts
from devicelab.source import line_here

from .call import Calls

META = torch.device("meta")
empty_strided = torch.ops.aten.empty_strided.default


def asserting(handler: Callable[..., Any] | None, func: Any) -> Callable[..., Any]:
    """Have an operator's error on the CPU come as late as CUDA's, where CUDA leaves the check to the kernel."""
    is_unseen = asserts.unseen(func)

    def launched(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
        if seen is None:
            return handler(mode, func, args, kwargs, seen) if handler else mode.host(func, args, kwargs)
        if is_unseen is not None and is_on_card(seen) and is_unseen(func, args, kwargs):
            return lose(mode, func, args, kwargs, seen, "")
        try:
            return handler(mode, func, args, kwargs, seen) if handler else mode.run(func, args, kwargs, seen)
        except (IndexError, RuntimeError) as error:
            failed = error
        card = seen if is_on_card(seen) else next(filter(None, map(home, tensors(args, kwargs))), None)
        if card is None or isinstance(failed, torch.AcceleratorError):
            raise failed
        return lose(mode, func, args, kwargs, card, str(failed), failed)

    return launched


def lose(mode: Calls, func: Any, args: Any, kwargs: Any, card: SimCard, said: str, failed: Any = None) -> Any:
    """Launch a kernel whose assertion fails, and return what it leaves; raise `failed` where CUDA's host checks it."""
    clock, index = mode.clock, card.index
    fault = asserts.found(func, args, kwargs, said, clock.is_blocking)
    if fault is None:
        raise failed
    try:
        out: Any = unrun(func, args, kwargs)
    except UNKNOWN:
        out = WAITS  # the shape depends on values, which the host waits for
    mode.finish(func, args, None if out is WAITS else out, card)
    if index not in clock.faults:
        fault.line, fault.end = line_here(), clock.mark(index, clock.current_stream(index)).seconds
        clock.faults[index] = fault
        mode.treat = mode.treat_lost
        for observer in devices.observers:
            observer.failed(fault.summary)
    if clock.is_blocking or out is WAITS:
        raise clock.faults[index].error()
    return out


WAITS = object()
UNKNOWN = (RuntimeError, NotImplementedError, ValueError)  # what meta kernels say of what they cannot do


def tensors(*values: Any) -> list[Tensor]:
    """Return the tensors among arguments, also in lists."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += tensors(*value)
        elif isinstance(value, dict):
            found += tensors(*value.values())
    return found


def unrun(func: Any, args: Any, kwargs: Any) -> Any:
    """Return what an operator would return, without running it: what it writes stays as it is, what it makes holds no numbers."""
    shadows: dict[int, Tensor] = {}

    def shadow(value: Any) -> Any:
        if isinstance(value, torch.Generator):
            return None
        if not isinstance(value, Tensor):
            return value
        if value.layout is not torch.strided:
            raise NotImplementedError("the shapes of a sparse tensor's parts depend on values")
        # Labels may be bytes, for which the meta kernel of nll_loss has no word.
        dtype = torch.int64 if value.dtype is torch.uint8 and "nll_loss" in func._schema.name else value.dtype
        made = empty_strided(value.shape, value.stride(), dtype=dtype, device=META)
        shadows[id(made)] = value
        return made

    given, named = tree_map(shadow, (args, kwargs))
    try:
        made = func(*given, **named)
    except (
        NotImplementedError
    ):  # of those in the table only a backward, whose second argument was the forward's input
        if not func._schema.name.endswith("_backward"):
            raise
        made = torch.empty_like(given[1])
    return tree_map(lambda one: real(one, shadows), made)


def real(made: Any, shadows: dict[int, Tensor]) -> Any:
    """Return the tensor that a meta tensor stands for, in its shape; a new one where it stands for none."""
    if not isinstance(made, Tensor):
        return made
    found = shadows.get(id(made))
    if found is None:
        new = empty_strided(made.shape, made.stride(), dtype=made.dtype, device=torch.device("cpu"))
        return spoil(new)
    return found if found.shape == made.shape else torch.ops.aten.resize_.default(found, made.shape)


def spoil(tensor: Tensor) -> Tensor:
    """Fill a tensor with what is no number, where its type has that."""
    return tensor.fill_(float("nan") if tensor.is_floating_point() or tensor.is_complex() else 0)
