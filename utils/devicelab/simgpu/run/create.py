"""Operators that make tensors: where the new tensor belongs, and whether the card has room for it."""

import math
import threading
from typing import Any

import torch

from devicelab.simgpu.machine import generators
from devicelab.simgpu.machine.machine import SimCard
from devicelab.simgpu.marks.adopt import adoptable
from devicelab.simgpu.marks.marks import CPU, Device, Tensor
from devicelab.simgpu.marks.place import NOTHING, is_on_card, merge, position

from .call import Calls
from .move import HOST


class Request(threading.local):
    """What the Python function being executed asks of the operators below it: the device of new tensors."""

    target: Any = None  # a SimCard, the CPU's device, or None: as the operands say


request = Request()


def wanted(mode: Calls, kwargs: Any, seen: Any) -> Any:
    """Return where a new tensor belongs: a card, CPU (asked for), or `seen` (as the operands say)."""
    if request.target is not None:
        return request.target
    device = kwargs.get("device")
    if device is not None and device.type == "cuda":
        return mode.machine.card(device)
    if device is not None and device == HOST:
        return CPU
    return seen


def create(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a factory: zeros, empty_like, new_full and so on."""
    target = wanted(mode, kwargs, seen)
    if kwargs.get("pin_memory"):
        return create_pinned(mode, func, args, kwargs, target)
    kwargs = cpu_device(kwargs)
    if target is None or target.__class__ is Device:
        return mode.host(func, args, kwargs)
    if is_on_card(target):
        reserve_for(func, args, kwargs, target)
        out = func(*args, **kwargs)
        mode.finish(func, args, out, target)
        return out
    return create_unasked(mode, func, args, kwargs, seen)


def spaced(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run linspace or logspace: the host reads limits that are tensors, and where they are says nothing of the result."""
    read = torch.ops.aten._local_scalar_dense.default
    limits = args[:2]
    if func._schema.overload_name.startswith(("Tensor", "Scalar")) and all(
        limit.dim() == 0 for limit in limits if isinstance(limit, Tensor)
    ):
        plain = "out" if "out" in kwargs else "default"
        func = getattr(getattr(torch.ops.aten, func._schema.name.removeprefix("aten::")), plain)
        numbers = [
            mode.treat(read, (), (limit,), {}) if isinstance(limit, Tensor) else limit for limit in limits
        ]
        args, seen = (*numbers, *args[2:]), merge(NOTHING, kwargs.values())
        if seen is NOTHING and request.target is None and kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": HOST if kwargs["device"] == CPU else kwargs["device"]}
    return create(mode, func, args, kwargs, seen)


def zeros(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Make real zeros where autograd wants a tensor without memory: below any dispatch mode, 2 * such a tensor crashes torch."""
    return create(mode, torch.ops.aten.zeros.default, args, kwargs, seen)


def create_pinned(mode: Calls, func: Any, args: Any, kwargs: Any, target: Any) -> Any:
    """Run a factory for page-locked memory, which here is a mark for the clock."""
    if is_on_card(target):
        raise RuntimeError("Only dense CPU tensors can be pinned")
    mode.machine.wake_for_pinning()
    out = mode.host(func, args, {**kwargs, "pin_memory": False})
    out.untyped_storage()._simulated_pinned = True
    return out


def cpu_device(kwargs: Any) -> Any:
    """Return the arguments with the CPU in place of a simulated card."""
    device = kwargs.get("device")
    return {**kwargs, "device": CPU} if device is not None and device.type == "cuda" else kwargs


def create_unasked(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a factory for which nobody named a device: it follows its operands, or is adoptable where it has none."""
    card = mode.settle(func, args, kwargs, seen) if seen is not NOTHING else None
    out = func(*args, **kwargs)
    if seen is NOTHING and isinstance(out, Tensor) and out.device.type == "cpu":
        card = adoptable()
    mode.finish(func, args, out, card)
    return out


def reserve(card: SimCard, nbytes: int) -> None:
    """Raise CUDA's out-of-memory error before the host's memory is used for what the card could not hold."""
    if nbytes > 2**24:
        card.ledger.check(nbytes)


def reserve_for(func: Any, args: Any, kwargs: Any, card: SimCard) -> None:
    """Reserve what a factory with a `size` argument will need."""
    at = position(func, "size")
    size = args[at] if 0 <= at < len(args) else None
    if isinstance(size, (list, tuple)):
        reserve(card, math.prod(size) * (kwargs.get("dtype") or torch.get_default_dtype()).itemsize)


def create_random(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a random factory with the generator of the device that it belongs to."""
    target = wanted(mode, kwargs, seen)
    card = target if is_on_card(target) else None
    if card is None and func._schema.name == "aten::randperm":
        generators.ready_for_randperm(kwargs.get("generator"))
    generators.ready(kwargs.get("generator"), card)
    if card is None:
        return create(mode, func, args, kwargs, seen)
    if kwargs.get("generator") is not None:
        return create(mode, func, args, kwargs, seen)
    with generators.default_generator_of(card):
        return create(mode, func, args, kwargs, seen)
