"""What runs while a card is lost to an assertion: nothing on that card; once the host has met the error, everything raises it."""

from collections.abc import Callable
from typing import Any

from devicelab.simgpu.machine.machine import SimCard
from devicelab.simgpu.marks.marks import tag_of
from devicelab.simgpu.marks.place import NOTHING, home, is_on_card, merge

from .asserts import UNKNOWN, spoil, tensors, unrun
from .call import Calls
from .create import request


def treat(mode: Calls, run: Callable[..., Any], func: Any, args: Any, kwargs: Any, launches: bool) -> Any:
    """Run one operator, by `run()` where it needs no lost card, or makes the host wait, which finds out.

    `launches` says that it does nothing but launch kernels.
    """
    card = lost(mode, args, kwargs)
    if card is None or getattr(func, "is_view", False):
        return run()
    mode.clock.check(card.index)
    name = getattr(getattr(func, "_schema", None), "name", "")
    if name == "aten::_to_copy" and kwargs.get("non_blocking"):
        out = run()
        return out if home(out) is not None else spoil(out)
    if name == "aten::copy_" and home(args[0]) is None:
        return untouched(args[0], run)
    is_whole = is_on_card(merge(merge(NOTHING, args), kwargs.values()))
    return launch(mode, run, func, args, kwargs, card) if launches and is_whole else run()


def launch(mode: Calls, run: Callable[..., Any], func: Any, args: Any, kwargs: Any, card: SimCard) -> Any:
    """Launch kernels that a lost card never runs."""
    try:
        out = unrun(func, args, kwargs)
    except UNKNOWN:
        return run()  # it says what is wrong with the call
    mode.finish(func, args, out, card)
    return out


def lost(mode: Calls, args: Any, kwargs: Any) -> SimCard | None:
    """Return the lost card that a call needs: for an operand, or for what it makes."""
    wanted = kwargs.get("device")
    cards: list[Any] = [tag_of(tensor) for tensor in tensors(args, kwargs)]
    if wanted is not None and wanted.type == "cuda":
        cards.append(mode.machine.card(wanted))
    cards.append(request.target)
    return next((card for card in cards if is_on_card(card) and card.index in mode.clock.faults), None)


def untouched(target: Any, run: Callable[[], Any]) -> Any:
    """Run a copy to the host that never comes: the host's buffer keeps what it held."""
    before = target.clone()
    try:
        return run()
    finally:
        target.copy_(before)
