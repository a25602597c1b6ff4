"""Operators that draw random numbers: from the card's own generator."""

from typing import Any

import torch

from devicelab.simgpu.machine import generators
from devicelab.simgpu.machine.machine import SimCard
from devicelab.simgpu.marks.place import is_on_card, position

from .call import Calls

LEAST = {torch.float16: 2.0**-24, torch.bfloat16: 2.0**-24}  # half of float32's epsilon


def draw(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a random operator that takes a generator: the card's own by default."""
    if seen is None:
        generators.ready(kwargs.get("generator"), None)
        return mode.host(func, args, kwargs)
    card = seen if is_on_card(seen) else mode.settle(func, args, kwargs, seen)
    at = position(func, "generator")
    given = args[at] if at < len(args) else kwargs.get("generator")
    generators.ready(given, card if card.__class__ is SimCard else None)
    if given is not None or card.__class__ is not SimCard:
        return mode.run(func, args, kwargs, seen)
    with generators.default_generator_of(card):  # type: ignore[arg-type]
        return mode.run(func, args, kwargs, seen)


def draw_without_generator(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a random operator that always uses the default generator."""
    if seen is None:
        return mode.host(func, args, kwargs)
    card = seen if is_on_card(seen) else mode.settle(func, args, kwargs, seen)
    if card.__class__ is not SimCard:
        return mode.run(func, args, kwargs, seen)
    with generators.default_generator_of(card):  # type: ignore[arg-type]
        return mode.run(func, args, kwargs, seen)


def exponential(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Draw from the exponential distribution, where CUDA never draws zero (ATen/core/TransformationHelper.h, exponential).

    The CPU does, in half precision: what it drew lies below the smallest float16.
    """
    out = draw(mode, func, args, kwargs, seen)
    if is_on_card(seen) and args[0].dtype in LEAST:
        rate = args[1] if len(args) > 1 else kwargs.get("lambd", 1)
        args[0].masked_fill_(args[0] == 0, LEAST[args[0].dtype] / rate)
    return out
