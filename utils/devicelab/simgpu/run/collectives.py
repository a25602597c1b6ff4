"""Collectives: the operators by which the processes of a group meet."""

from typing import Any

import torch

from devicelab.simgpu.machine import groups
from devicelab.simgpu.machine.machine import SimCard
from devicelab.simgpu.machine.texts import NCCL_VERSION
from devicelab.simgpu.marks.marks import Adoptable, Tensor, card_of, device_of, put, tag_of
from devicelab.simgpu.marks.place import named_tensors
from devicelab.simgpu.rules import collectives as rules

from .call import Calls

BETWEEN_TWO = ("send", "recv_", "recv_any_source_")  # others may not be there


def collective(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a collective; gloo carries the bytes of one that is NCCL's."""
    tensors = [tensor for _, tensor in named_tensors(func, args, kwargs)]
    group = groups.known.get(_name_of_group((*args, *kwargs.values())))
    name = func._schema.name.removeprefix("c10d::")
    card = next((card for card in map(card_of, tensors) if card is not None), None)
    for tensor in tensors:
        if card is not None and tag_of(tensor).__class__ is Adoptable:
            put(tensor, card)  # C++ made it for the result
    if group is not None and group.only and not groups.inside.get():
        for tensor in tensors:
            if device_of(tensor).type != "cuda":
                rules.no_backend(device_of(tensor).type)
            rules.check_dense(tensor)
    if card is None:
        return mode.host(func, args, kwargs)
    if group is not None and name not in BETWEEN_TWO:
        twice = group.join(card.index)
        if twice is not None:
            rules.duplicate(NCCL_VERSION, *twice, card.index)
    out = func(*args, **kwargs)
    mode.clock.collective(card.index, rules.sent(name, _bytes_on(card, tensors), _size(group)))
    return out


def _bytes_on(card: SimCard, tensors: list[Tensor]) -> int:
    """Return the bytes of the tensors that lie on a card."""
    return sum(tensor.nbytes for tensor in tensors if card_of(tensor) is card)


def _size(group: groups.Group | None) -> int:
    return 1 if group is None else group.size


def _name_of_group(values: Any) -> str:
    for value in values:
        if isinstance(value, torch.ScriptObject):
            try:
                return torch.distributed.ProcessGroup.unbox(value).group_name
            except RuntimeError:  # how to reduce is such an object, too
                continue
    return ""
