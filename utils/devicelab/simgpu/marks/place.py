"""The tensors of one operator call: their marks, and marking the results."""

from collections.abc import Iterator
from typing import Any

import torch

from devicelab.simgpu.machine.machine import SimCard

from .marks import UNUSUAL, Adoptable, Tensor, innermost, mark, parts, put, tag_of

DENSE = (torch.strided, torch.jagged)
NOTHING = object()  # no tensor seen yet
MIXED = object()  # tensors with different marks


def merge(seen: Any, values: Any) -> Any:
    """Fold the marks of the tensors among `values` (and in lists among them) into `seen`."""
    for value in values:
        if isinstance(value, Tensor):
            tag = tag_of(value)
            if tag is not seen:
                seen = tag if seen is NOTHING else MIXED
        elif value.__class__ is list or value.__class__ is tuple:
            seen = merge(seen, value)
    return seen


def place(out: Any, card: SimCard | Adoptable | list[SimCard | None]) -> None:
    """Mark the results of an operator, save for those that lie on a card already; a list says it for each result."""
    if isinstance(card, list):
        for item, one in zip(out or (), card, strict=False):
            if one is not None:
                place(item, one)
        return
    if isinstance(out, Tensor):
        try:
            storage = out.untyped_storage()
            tag = storage._simulated_card  # type: ignore[attr-defined]
        except UNUSUAL:
            if card.__class__ is SimCard:
                put(out, card)  # type: ignore[arg-type]
            elif out.layout not in DENSE:
                for part in parts(innermost(out)):
                    place(part, card)
            return
        if tag is None or (tag is not card and (tag.__class__ is Adoptable or not tag.running)):
            if card.__class__ is SimCard:
                mark(storage, card)  # type: ignore[arg-type]
            else:
                storage._simulated_card = card  # type: ignore[attr-defined]
    elif out.__class__ is tuple or out.__class__ is list:
        for item in out:
            place(item, card)


def named_tensors(func: Any, args: Any, kwargs: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield (argument name, tensor) for all tensors of a call, in the order of the operator's schema."""
    for number, argument in enumerate(func._schema.arguments):
        value = args[number] if number < len(args) else kwargs.get(argument.name)
        if isinstance(value, Tensor):
            yield argument.name, value
        elif isinstance(value, (list, tuple)):
            for item in value:
                if isinstance(item, Tensor):
                    yield argument.name, item


def is_on_card(seen: Any) -> bool:
    """Say whether all operands seen lie on one card of the running simulation."""
    return seen.__class__ is SimCard and seen.running


def home(tensor: Tensor) -> SimCard | None:
    """Return the running card that a tensor lies on."""
    tag = tag_of(tensor)
    return tag if is_on_card(tag) else None  # type: ignore[return-value]


def position(func: Any, name: str) -> int:
    """Return the place of an argument in the operator's schema, or -1."""
    key = (id(func), name)
    if key not in _positions:
        names = [argument.name for argument in func._schema.arguments]
        _positions[key] = names.index(name) if name in names else -1
    return _positions[key]


_positions: dict[tuple[int, str], int] = {}
