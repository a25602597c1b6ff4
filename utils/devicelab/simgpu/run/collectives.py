"""Collectives: the operators by which the processes of a group meet."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from devicelab.simgpu.machine import groups
from devicelab.simgpu.machine.machine import SimCard
from devicelab.simgpu.marks.marks import Adoptable, Tensor, card_of, device_of, put, tag_of
from devicelab.simgpu.rules import collectives as rules

from . import carry
from .call import Calls

# By these two ranks meet; at all others the whole group does, which waits for all at the first use of a card.
OF_TWO_RANKS = ("send", "recv_", "recv_any_source_")
BASES = ("_allgather_base_", "_reduce_scatter_base_")
LISTS = {"gather_": ("output_tensors", "input_tensors"), "scatter_": ("input_tensors", "output_tensors")}


COPIED = {"allgather_": "output_tensors", "reduce_scatter_": "input_tensors"}  # from or to one piece


def collective(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a collective; gloo carries the bytes of one that is NCCL's."""
    names = [argument.name for argument in func._schema.arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    tensors = rules.tensors_of(list(given.values()))
    group = groups.known.get(_name_of_group(given.values()))
    name = func._schema.name.removeprefix("c10d::")
    card = next((card for card in map(card_of, tensors) if card is not None), None)
    for tensor in tensors:
        if card is not None and tag_of(tensor).__class__ is Adoptable:
            put(tensor, card)  # C++ made it for the result
    if group is None or groups.inside.get() or not (group.only or card is not None):
        return of_others(mode, func, name, args, kwargs, card, tensors)
    if name == "barrier":
        card = mode.machine.cards[group.cards_number(given["device_ids"], len(mode.machine.cards))]
    else:
        check(name, given, group)
    if card is None:
        return mode.host(func, args, kwargs)
    if name not in OF_TWO_RANKS:
        try:
            twice = group.join(card.index)
        except torch.distributed.DistStoreError as error:
            rules.never_came(group.rank, error)
        if twice is not None:
            rules.duplicate(*twice, card.index)
        group.collectives += 1
        if group.size > 1:
            group.others().begin(mode.clock.queue(card.index), mode.clock.time)
    groups.latest[:] = group.rank, rules.work_of(name, group.collectives, tensors)
    out = func(*args, **kwargs) if name == "barrier" else carry.run(func, name, given, group)
    if name == "barrier":
        groups.barriers.append(card.index)
    if group.coalesced is not None:
        group.coalesced.append(torch.distributed.Work.unbox(out[-1] if isinstance(out, tuple) else out))
    mode.clock.collective(card.index, rules.sent(name, _bytes_on(card, tensors), group.size))
    return out


@contextmanager
def asked(func: Any, args: Any, kwargs: Any) -> Iterator[None]:
    """Note the way to reduce that a functional collective names, such as "avg"."""
    names = [argument.name for argument in func._schema.arguments]
    way = (dict(zip(names, args, strict=False)) | kwargs).get("reduce_op")
    kind = getattr(torch.distributed.ReduceOp, str(way).upper(), None)
    before = groups.asked.set(groups.asked.get() if kind is None else torch.distributed.ReduceOp(kind))
    try:
        yield
    finally:
        groups.asked.reset(before)


def of_others(
    mode: Calls, func: Any, name: str, args: Any, kwargs: Any, card: SimCard | None, tensors: list[Tensor]
) -> Any:
    """Run a collective of a group that is not NCCL's."""
    if card is None:
        return mode.host(func, args, kwargs)
    out = func(*args, **kwargs)
    mode.clock.collective(card.index, rules.sent(name, _bytes_on(card, tensors), 1))
    return out


def check(name: str, given: dict[str, Any], group: groups.Group) -> None:
    """Raise as NCCL's group does for what it does not take."""
    seen = [
        one for value in given.values() for one in (value if isinstance(value, (list, tuple)) else [value])
    ]
    outer = [device_of(one).type for one in seen if isinstance(one, Tensor)]  # C++ asks no list within a list
    if "cuda" not in outer:
        rules.no_backend(next(iter(outer), "cpu"))
    if name == "recv_any_source_":
        rules.any_source()
    if name in LISTS:
        many, one = (rules.tensors_of(given[word]) for word in LISTS[name])
        rules.check_list(name, many, one[0])
    tensors = rules.tensors_of(list(given.values()))
    copied = {id(one) for one in rules.tensors_of(given.get(COPIED.get(name, "")))}
    for tensor in tensors:
        rules.check(name, tensor, device_of(tensor).type == "cuda", id(tensor) in copied)
    if name in BASES:
        output, one = list(given.values())[:2]
        rules.check_bases(name, output, one, group.size)
    card = card_of(tensors[0])
    if name in rules.REDUCING and card is not None:
        way, capability = carry.how(given)[0], card.spec.capability
        for tensor in tensors:
            rules.check_sum(way, tensor.dtype, capability, SECOND)


# From PyTorch 2.15 on "nccl" means another class, with words of its own.
SECOND = hasattr(torch.distributed, "distributed_c10d") and hasattr(
    torch.distributed.distributed_c10d, "_create_nccl2_process_group"
)


def _bytes_on(card: SimCard, tensors: list[Tensor]) -> int:
    """Return the bytes of the tensors that lie on a card."""
    return sum(tensor.nbytes for tensor in tensors if card_of(tensor) is card)


def _name_of_group(values: Any) -> str:
    for value in values:
        if isinstance(value, torch.ScriptObject):
            try:
                return torch.distributed.ProcessGroup.unbox(value).group_name
            except RuntimeError:  # how to reduce is such an object, too
                continue
    return ""
