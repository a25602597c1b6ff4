"""Operators that copy from one device to another."""

from typing import Any

import torch

from devicelab.simgpu.machine.machine import SimCard
from devicelab.simgpu.marks.adopt import adoptable
from devicelab.simgpu.marks.marks import CPU, Adoptable, Tensor, put, tag_of
from devicelab.simgpu.marks.place import home, is_on_card

from . import only
from .call import Calls
from .create import reserve


def to_copy(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run `_to_copy`: between devices where `device=` says so."""
    refuse_fork(mode, seen)
    device = kwargs.pop("device", None) if (kwargs := dict(kwargs)) else None
    source = home(args[0])
    if device is not None and device.type not in ("cpu", "cuda"):
        return func(*args, device=device, **kwargs)
    if device is not None and args[0].is_meta:  # has no values to copy, as PyTorch says of a copy to the CPU
        return func(*args, **kwargs, device=CPU)
    target = source
    if device is not None and device.type == "cuda":
        target = mode.machine.card(device)
    elif device is not None and device.index == 0:
        # move.HOST: asked for, not merely a composite operator's idea of where its tensors are.
        target = None
    non_blocking = kwargs.pop("non_blocking", False)
    if target is source:
        out = func(*args, **kwargs)
        mode.finish(func, args, out, source if source else inherit(args[0]))
        return out
    if target is not None:
        reserve(target, args[0].numel() * (kwargs.get("dtype") or args[0].dtype).itemsize)
    out = func(*args, **kwargs)
    if target is not None:
        put(out, target)
        if out.is_quantized:
            only.watch(out)
    elif non_blocking and out.layout is torch.strided:
        out.untyped_storage()._simulated_pinned = True  # what CUDA copies into without waiting
    mode.copied(args[0], source, target, non_blocking, buffer(args[0], source, out))
    return out


def refuse_fork(mode: Calls, tag: Any) -> None:
    """Raise CUDA's error for a tensor of a card that this process has inherited by a fork."""
    if tag.__class__ is SimCard:
        mode.usable(tag)


def buffer(given: Tensor, source: SimCard | None, out: Tensor) -> Tensor | None:
    """Return the host's tensor of a copy; None where CUDA converts on the host first, into memory of its own (cuda/Copy.cu)."""
    if source is not None:
        return out
    return given if given.dtype is out.dtype else None


def inherit(tensor: Tensor) -> Adoptable | None:
    """Return the mark that a copy of a tensor that is on no card gets."""
    tag = tag_of(tensor)
    return tag if tag.__class__ is Adoptable else None  # type: ignore[return-value]


def copy_(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run `copy_`, which may copy between devices."""
    if seen is None or is_on_card(seen):
        return mode.run(func, args, kwargs, seen) if seen is not None else mode.host(func, args, kwargs)
    for tensor in args[:2]:
        refuse_fork(mode, tag_of(tensor))
    target, source = home(args[0]), home(args[1])
    adopt_by_copy(args, target, source)
    target, source = home(args[0]), home(args[1])
    non_blocking = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
    out = func(args[0], args[1])
    if target is not source:
        mode.copied(args[1], source, target, non_blocking, buffer(args[1], source, args[0]))
    else:
        mode.finish(func, args, out, target)
    return out


def adopt_by_copy(args: Any, target: SimCard | None, source: SimCard | None) -> None:
    """Let a C++ composite's own intermediate follow the tensor that it is copied from or to."""
    here = adoptable().place
    for tensor, card in ((args[0], source), (args[1], target)):
        tag = tag_of(tensor)
        if card is not None and tag.__class__ is Adoptable and (tag.place == here or tag.hint):  # type: ignore[union-attr]
            put(tensor, card)
