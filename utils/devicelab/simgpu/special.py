"""Operators that need more than looking where their operands are: copies, factories, random numbers, synchronizing points."""

import math
import threading
from typing import TYPE_CHECKING, Any

import torch

from . import rng
from .operands import NOTHING, adoptable, place
from .tags import CPU, Adoptable, Device, SimCard, Tensor, device_of, mark, put, tag_of

if TYPE_CHECKING:
    from .dispatch import SimulatedDispatch


class Request(threading.local):
    """What the Python function being executed asks of the operators below it: the device of new tensors."""

    target: Any = None  # a SimCard, the CPU's device, or None: as the operands say


request = Request()


def is_on_card(seen: Any) -> bool:
    """Say whether all operands seen lie on one card of the running simulation."""
    return seen.__class__ is SimCard and seen.running


def home(tensor: Tensor) -> SimCard | None:
    """Return the running card that a tensor lies on."""
    tag = tag_of(tensor)
    return tag if is_on_card(tag) else None  # type: ignore[return-value]


def to_copy(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run `_to_copy`: between devices where `device=` says so."""
    device = kwargs.pop("device", None) if (kwargs := dict(kwargs)) else None
    source = home(args[0])
    if device is not None and device.type not in ("cpu", "cuda"):
        return func(*args, device=device, **kwargs)
    target = source
    if device is not None and device.type == "cuda":
        target = mode.simulation.card(device)
    elif device is not None and device.index == 0:
        target = (
            None  # moves.HOST: asked for, not merely a composite operator's idea of where its tensors are
        )
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
    mode.copied(args[0], source, target, non_blocking)
    return out


def inherit(tensor: Tensor) -> Adoptable | None:
    """Return the mark that a copy of a tensor that is on no card gets."""
    tag = tag_of(tensor)
    return tag if tag.__class__ is Adoptable else None  # type: ignore[return-value]


def copy_(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run `copy_`, which may copy between devices."""
    if seen is None or is_on_card(seen):
        return mode.run(func, args, kwargs, seen) if seen is not None else on_host(mode, func, args, kwargs)
    target, source = home(args[0]), home(args[1])
    adopt_by_copy(args, target, source)
    target, source = home(args[0]), home(args[1])
    non_blocking = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
    out = func(args[0], args[1])
    if target is not source:
        mode.copied(args[1], source, target, non_blocking)
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


def on_host(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operator of the CPU."""
    out = func(*args, **kwargs)
    mode.clock.host(func, args, out)
    return out


def wanted(mode: "SimulatedDispatch", kwargs: Any, seen: Any) -> Any:
    """Return where a new tensor belongs: a card, CPU (asked for), or `seen` (as the operands say)."""
    if request.target is not None:
        return request.target
    device = kwargs.get("device")
    if device is not None and device.type == "cuda":
        return mode.simulation.card(device)
    return seen


def create(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a factory: zeros, empty_like, new_full and so on."""
    target = wanted(mode, kwargs, seen)
    if kwargs.get("pin_memory"):
        return create_pinned(mode, func, args, kwargs, target)
    kwargs = cpu_device(kwargs)
    if target is None or target.__class__ is Device:
        return on_host(mode, func, args, kwargs)
    if is_on_card(target):
        reserve_for(func, args, kwargs, target)
        out = func(*args, **kwargs)
        mode.finish(func, args, out, target)
        return out
    return create_unasked(mode, func, args, kwargs, seen)


def zeros(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Make real zeros where autograd wants a tensor without memory: below any dispatch mode, 2 * such a tensor crashes torch."""
    return create(mode, torch.ops.aten.zeros.default, args, kwargs, seen)


def create_pinned(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, target: Any) -> Any:
    """Run a factory for page-locked memory, which here is a mark for the clock."""
    if is_on_card(target):
        raise RuntimeError("Only dense CPU tensors can be pinned")
    out = on_host(mode, func, args, {**kwargs, "pin_memory": False})
    out.untyped_storage()._simulated_pinned = True
    return out


def cpu_device(kwargs: Any) -> Any:
    """Return the arguments with the CPU in place of a simulated card."""
    device = kwargs.get("device")
    return {**kwargs, "device": CPU} if device is not None and device.type == "cuda" else kwargs


def create_unasked(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a factory for which nobody named a device: it follows its operands, or is adoptable where it has none."""
    card = mode.settle(func, args, kwargs, seen) if seen is not NOTHING else None
    out = func(*args, **kwargs)
    if seen is NOTHING and isinstance(out, Tensor) and out.device.type == "cpu":
        card = adoptable()
    mode.finish(func, args, out, card)
    return out


def decompose(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Take a composite operator apart, so that each of its operators is looked at."""
    if seen is None:
        return on_host(mode, func, args, kwargs)
    with mode:
        return func.decompose(*args, **kwargs)


def reserve(card: SimCard, nbytes: int) -> None:
    """Raise CUDA's out-of-memory error before the host's memory is used for what the card could not hold."""
    if nbytes > 2**24:
        card.ledger.check(nbytes)


def position(func: Any, name: str) -> int:
    """Return the place of an argument in the operator's schema, or -1."""
    key = (id(func), name)
    if key not in _positions:
        names = [argument.name for argument in func._schema.arguments]
        _positions[key] = names.index(name) if name in names else -1
    return _positions[key]


_positions: dict[tuple[int, str], int] = {}


def reserve_for(func: Any, args: Any, kwargs: Any, card: SimCard) -> None:
    """Reserve what a factory with a `size` argument will need."""
    at = position(func, "size")
    size = args[at] if 0 <= at < len(args) else None
    if isinstance(size, (list, tuple)):
        reserve(card, math.prod(size) * (kwargs.get("dtype") or torch.get_default_dtype()).itemsize)


def create_random(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a random factory with the generator of the device that it belongs to."""
    target = wanted(mode, kwargs, seen)
    card = target if is_on_card(target) else None
    rng.check(kwargs.get("generator"), card)
    if card is None:
        return create(mode, func, args, kwargs, seen)
    if kwargs.get("generator") is not None:
        return create(mode, func, args, kwargs, seen)
    with rng.default_generator_of(card):
        return create(mode, func, args, kwargs, seen)


def draw(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a random operator that takes a generator: the card's own by default."""
    if seen is None:
        rng.check(kwargs.get("generator"), None)
        return on_host(mode, func, args, kwargs)
    card = seen if is_on_card(seen) else mode.settle(func, args, kwargs, seen)
    at = position(func, "generator")
    given = args[at] if at < len(args) else kwargs.get("generator")
    rng.check(given, card if card.__class__ is SimCard else None)
    if given is not None or card.__class__ is not SimCard:
        return mode.run(func, args, kwargs, seen)
    with rng.default_generator_of(card):  # type: ignore[arg-type]
        return mode.run(func, args, kwargs, seen)


def draw_without_generator(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a random operator that always uses the default generator."""
    if seen is None:
        return on_host(mode, func, args, kwargs)
    card = seen if is_on_card(seen) else mode.settle(func, args, kwargs, seen)
    if card.__class__ is not SimCard:
        return mode.run(func, args, kwargs, seen)
    with rng.default_generator_of(card):  # type: ignore[arg-type]
        return mode.run(func, args, kwargs, seen)


def synchronize(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run an operator whose result's value or shape the host must know, so it waits for the card."""
    if seen is None:
        return on_host(mode, func, args, kwargs)
    out = mode.run(func, args, kwargs, seen)
    card = seen if is_on_card(seen) else next((c for _, c in located(args) if c), None)
    if card is not None:
        mode.clock.synchronizing(card.index)
    return out


def index(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run advanced indexing: a mask makes the host wait, index tensors do not."""
    has_mask = any(isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    if has_mask:
        return synchronize(mode, func, args, kwargs, seen)
    return on_host(mode, func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)


def located(args: Any) -> list[tuple[Tensor, SimCard | None]]:
    """Return the tensors among the arguments, each with its card."""
    return [(value, home(value)) for value in args if isinstance(value, Tensor)]


def resize(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run an operator that may change the storage's size, and count its memory again."""
    out = mode.run(func, args, kwargs, seen) if seen is not None else on_host(mode, func, args, kwargs)
    card = home(args[0])
    if card is not None:
        mark(args[0].untyped_storage(), card)
    return out


def record_stream(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Tell the allocator that another stream uses the memory, which here changes nothing."""
    return None if is_on_card(seen) else on_host(mode, func, args, kwargs)


BY_NAME = {
    "aten::_to_copy": to_copy,
    "aten::copy_": copy_,
    "aten::index": index,
    "aten::index_put_": index,
    "aten::index_put": index,
    "aten::_index_put_impl_": index,
    "aten::_efficientzerotensor": zeros,
    "aten::record_stream": record_stream,
    "aten::resize_": resize,
    "aten::resize_as_": resize,
}


def custom(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run an operator that somebody wrote in Python: what it does inside must be seen as well."""
    card = seen if is_on_card(seen) else None
    if card is None and seen is not None and seen is not NOTHING:
        card = mode.settle(func, args, kwargs, seen)
    torch._C._set_dispatch_mode(mode)
    try:
        out = func.redispatch(BELOW_PYTHON, *args, **kwargs)
    finally:
        torch._C._unset_dispatch_mode(mode._mode_key)
    if card is not None:
        place(out, card)
    return out


BELOW_PYTHON = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)

__all__ = [
    "BY_NAME",
    "create",
    "create_random",
    "device_of",
    "draw",
    "draw_without_generator",
    "request",
    "synchronize",
]
