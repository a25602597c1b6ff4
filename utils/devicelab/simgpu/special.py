"""Operators that need more than looking where their operands are, by name or by kind."""

from typing import TYPE_CHECKING, Any

import torch

from . import rng
from .copies import copy_, to_copy
from .creation import create, create_random, zeros
from .operands import NOTHING, home, is_on_card, on_host, place, position
from .tags import SimCard, Tensor, mark

if TYPE_CHECKING:
    from .dispatch import SimulatedDispatch


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
    """Run advanced indexing: a mask makes the host wait, index tensors do not, and those of the host are copied over first."""
    card, masked = home(args[0]), False
    for wanted in args[1]:
        if isinstance(wanted, Tensor):
            if card is not None and home(wanted) is None:
                mode.copied(wanted, None, card, False)
            elif wanted.dtype in (torch.bool, torch.uint8):
                masked = True
    if masked:
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


def decompose(mode: "SimulatedDispatch", func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Take a composite operator apart, so that each of its operators is looked at."""
    if seen is None:
        return on_host(mode, func, args, kwargs)
    with mode:
        return func.decompose(*args, **kwargs)


BELOW_PYTHON = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
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

__all__ = [
    "BY_NAME",
    "create",
    "create_random",
    "custom",
    "decompose",
    "draw",
    "draw_without_generator",
    "home",
    "on_host",
    "synchronize",
]
