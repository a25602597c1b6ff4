"""Operators that draw random numbers: from the card's own generator."""

from typing import Any

from devicelab.simgpu.machine import generators
from devicelab.simgpu.machine.machine import SimCard
from devicelab.simgpu.marks.place import is_on_card, position

from .call import Calls


def draw(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a random operator that takes a generator: the card's own by default."""
    if seen is None:
        generators.check(kwargs.get("generator"), None)
        return mode.host(func, args, kwargs)
    card = seen if is_on_card(seen) else mode.settle(func, args, kwargs, seen)
    at = position(func, "generator")
    given = args[at] if at < len(args) else kwargs.get("generator")
    generators.check(given, card if card.__class__ is SimCard else None)
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
