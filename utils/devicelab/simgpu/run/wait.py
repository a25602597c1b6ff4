"""Operators inside which the host waits for the card: those whose value or shape it must know, and copies that it makes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from devicelab.simgpu.machine.machine import SimCard
from devicelab.simgpu.marks.marks import Tensor
from devicelab.simgpu.marks.place import home, is_on_card
from devicelab.simgpu.rules import waits
from devicelab.versions import release

from .call import Calls

MASKS = (torch.bool, torch.uint8)
# From 2.9 on the positions that a mask of the CPU selects are copied to the card from pinned memory (IndexingUtils.h).
MASKS_ARE_PINNED = release(torch.__version__) >= (2, 9)


def synchronize(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run an operator whose result's value or shape the host must know, so it waits for the card."""
    if seen is None:
        return mode.host(func, args, kwargs)
    out = mode.run(func, args, kwargs, seen)
    wait(mode, args, kwargs, seen)
    return out


def wait(mode: Calls, args: Any, kwargs: Any, seen: Any, times: int = 1, told: bool = True) -> None:
    """Let the host wait for the card of these operands; debug mode is told unless CUDA would not tell it."""
    card = seen if is_on_card(seen) else next((card for card in cards_of((*args, *kwargs.values()))), None)
    if card is None:
        return
    for _ in range(times):
        mode.clock.synchronizing(card.index, told=told)


def after(handler: Callable[..., Any] | None) -> Callable[..., Any]:
    """Let the host wait as often as the table of waits says, once the operator was run."""

    def waiting(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
        if seen is None:
            return (
                mode.host(func, args, kwargs) if handler is None else handler(mode, func, args, kwargs, seen)
            )
        # Asked before it runs: an operator in place changes what it is asked of.
        times, told = waits.waits(func, args, kwargs)
        run = mode.run if handler is None else partial(handler, mode)
        out = run(func, args, kwargs, seen)
        if times:
            wait(mode, args, kwargs, seen, times, told)
        return out

    return waiting


def is_in_table(func: Any) -> bool:
    """Say whether the table says how often the host waits in an operator."""
    return waits.name_of(func) in waits.table()


def index(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run advanced indexing: a mask makes the host wait, index tensors do not, and those of the host are copied over first.

    A number that is written through a mask is written everywhere at once, and nobody waits (TensorAdvancedIndexingUtils.h,
    canDispatchToMaskedFill). Written to given positions it is copied to the card first.
    """
    card, masks = home(args[0]), 0
    value = args[2] if len(args) > 2 else kwargs.get("values")
    number = isinstance(value, Tensor) and value.numel() == 1 and home(value) is None
    accumulate = args[3] if len(args) > 3 else kwargs.get("accumulate", False)
    given = [wanted for wanted in args[1] if isinstance(wanted, Tensor)]
    filled = (
        number and not accumulate and len(given) == 1 and given[0].dtype in MASKS and home(given[0]) is card
    )
    for wanted in given:
        is_mask = wanted.dtype in MASKS
        if card is not None and home(wanted) is None:
            pinned = is_mask and MASKS_ARE_PINNED
            mode.copied(wanted, None, card, non_blocking=pinned, pinned=pinned)
        elif is_mask and not filled:
            masks += 1
    if card is not None and number and not filled and value.dim() == 0:
        mode.copied(value, None, card, non_blocking=False)
    out = mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)
    if masks and seen is not None:
        wait(mode, (*args, *given), kwargs, seen, masks)
    return out


def cards_of(values: Any) -> list[SimCard]:
    """Return the cards on which tensors among the arguments lie."""
    return [card for value in values if isinstance(value, Tensor) and (card := home(value)) is not None]
