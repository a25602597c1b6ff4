"""Operators whose result the host must know, so that it waits for the card."""

from typing import Any

import torch

from devicelab.simgpu.machine.machine import SimCard
from devicelab.simgpu.marks.marks import Tensor
from devicelab.simgpu.marks.place import home, is_on_card

from .call import Calls


def synchronize(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run an operator whose result's value or shape the host must know, so it waits for the card."""
    if seen is None:
        return mode.host(func, args, kwargs)
    out = mode.run(func, args, kwargs, seen)
    card = seen if is_on_card(seen) else next((c for _, c in located(args) if c), None)
    if card is not None:
        mode.clock.synchronizing(card.index)
    return out


def index(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
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
    return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)


def located(args: Any) -> list[tuple[Tensor, SimCard | None]]:
    """Return the tensors among the arguments, each with its card."""
    return [(value, home(value)) for value in args if isinstance(value, Tensor)]
