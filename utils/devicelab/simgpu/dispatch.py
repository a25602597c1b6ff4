"""The dispatch mode: looks where the operands of every operator are, refuses what CUDA refuses, and says where the result is."""

import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from . import check
from .plans import PLANS, plan_of
from .tags import CPU, Adoptable, SimCard, Tensor, mark, parts, put, tag_of

if TYPE_CHECKING:
    from .session import Simulation

NOTHING = object()  # no tensor seen yet
MIXED = object()  # tensors with different marks


class SimulatedDispatch(TorchDispatchMode):
    """Sees every operator of one thread while the simulation runs."""

    _mode_key = torch._C._TorchDispatchModeKey.FAKE

    def __init__(self, simulation: "Simulation"):
        super().__init__()
        self.simulation = simulation
        self.clock = simulation.clock

    @classmethod
    def is_infra_mode(cls) -> bool:
        return True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # saves a wrapper around every operator, and two frames in every traceback

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator where its operands are. The loop is written out because it runs for every operator."""
        if not self.simulation.active:
            return func(*args, **(kwargs or {}))
        seen: Any = NOTHING
        for value in args:
            if isinstance(value, Tensor):
                try:
                    tag = value.untyped_storage()._simulated_card  # type: ignore[attr-defined]
                except (RuntimeError, NotImplementedError, AttributeError):
                    tag = tag_of(value)
                if tag is not seen:
                    seen = tag if seen is NOTHING else MIXED
            elif value.__class__ is list or value.__class__ is tuple:
                seen = merge(seen, value)
        if kwargs:
            seen = merge(seen, kwargs.values())
        plan = PLANS.get(func) or plan_of(func)
        if plan.special is not None:
            return plan.special(self, func, args, kwargs or {}, seen)
        if seen is None:
            out = func(*args, **kwargs) if kwargs else func(*args)
            self.clock.host(func, args, out)
            return out
        return self.run(func, args, kwargs or {}, seen, plan.is_view)

    def run(self, func: Any, args: Any, kwargs: Any, seen: Any, is_view: bool = False) -> Any:
        """Run an operator whose operands are not all plain CPU tensors."""
        card = seen if seen.__class__ is SimCard and seen.running else self.settle(func, args, kwargs, seen)
        out = func(*args, **kwargs) if kwargs else func(*args)
        self.finish(func, args, out, card, is_view)
        return out

    def finish(self, func: Any, args: Any, out: Any, card: Any, is_view: bool = False) -> None:
        """Say where the results are, and let the clock go on."""
        if card.__class__ is SimCard:
            if not is_view:
                place(out, card)
            self.clock.kernel(card.index, func, args, out)
        else:
            if card is not None:
                place(out, card)
            self.clock.host(func, args, out)

    def copied(
        self, tensor: Tensor, source: SimCard | None, target: SimCard | None, non_blocking: bool
    ) -> None:
        """Tell the clock of a copy between two devices."""
        storage = tensor.untyped_storage() if tensor.layout is torch.strided else None
        pinned = getattr(storage, "_simulated_pinned", False)
        self.clock.copy(
            source.device if source else CPU,
            target.device if target else CPU,
            sum(part.nbytes for part in parts(tensor)),
            pinned,
            bool(non_blocking),
        )

    def settle(self, func: Any, args: Any, kwargs: Any, seen: Any) -> SimCard | Adoptable | None:
        """Return where the result of a call with unlike operands will be, or raise CUDA's error."""
        operands = list(named_tensors(func, args, kwargs))
        here = current_place()
        tags = [tag_of(tensor) for _, tensor in operands]
        cards = {tag for tag in tags if tag.__class__ is SimCard and self.usable(tag)}
        fresh = [tag.__class__ is Adoptable and tag.place == here for tag in tags]  # type: ignore[union-attr]
        if not cards:
            return Adoptable(here) if any(fresh) and all(fresh) else None
        if len(cards) == 1:
            card = next(iter(cards))
            for (_, tensor), is_fresh in zip(operands, fresh, strict=True):
                if is_fresh:
                    put(tensor, card)
            if all(tag is card or is_fresh for tag, is_fresh in zip(tags, fresh, strict=True)):
                return card
        located = [(name, tensor, self.simulation.device_of(tensor)) for name, tensor in operands]
        device = check.resolve(func, located, args, kwargs)
        return self.simulation.card(device) if device.type == "cuda" else None

    def usable(self, card: Any) -> bool:
        """Say whether a card belongs to the running simulation; CUDA's error in a forked child."""
        if card.forked:
            raise RuntimeError(
                "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the "
                "'spawn' start method"
            )
        return card.running


def merge(seen: Any, values: Any) -> Any:
    """Fold the marks of the tensors among `values` (one level deep) into `seen`."""
    for value in values:
        if isinstance(value, Tensor):
            tag = tag_of(value)
            if tag is not seen:
                seen = tag if seen is NOTHING else MIXED
        elif value.__class__ is list or value.__class__ is tuple:
            seen = merge(seen, value)
    return seen


def place(out: Any, card: Any) -> None:
    """Mark the results of an operator, save for those that lie on a card already."""
    if isinstance(out, Tensor):
        try:
            storage = out.untyped_storage()
            tag = storage._simulated_card  # type: ignore[attr-defined]
        except (RuntimeError, NotImplementedError, AttributeError):
            if card.__class__ is SimCard:
                put(out, card)
            return
        if tag is None or (tag is not card and (tag.__class__ is Adoptable or not tag.running)):
            if card.__class__ is SimCard:
                mark(storage, card)
            else:
                storage._simulated_card = card  # type: ignore[attr-defined]
    elif out.__class__ is tuple or out.__class__ is list:
        for item in out:
            place(item, card)


def named_tensors(func: Any, args: Any, kwargs: Any) -> Any:
    """Yield (argument name, tensor) for all tensors of a call, in the order of the operator's schema."""
    arguments = func._schema.arguments
    for number, argument in enumerate(arguments):
        value = args[number] if number < len(args) else kwargs.get(argument.name)
        if isinstance(value, Tensor):
            yield argument.name, value
        elif isinstance(value, (list, tuple)):
            for item in value:
                if isinstance(item, Tensor):
                    yield argument.name, item


def current_place() -> tuple[int, int]:
    """Return the Python instruction that is calling torch: its frame and position.

    Below another dispatch mode it is the instruction that made the outermost call.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("devicelab.simgpu"):
        frame = frame.f_back
    found = frame
    while frame is not None:
        if frame.f_code.co_name == "__torch_dispatch__" and frame.f_back is not None:
            found = frame.f_back
        frame = frame.f_back
    return (id(found), found.f_lasti) if found is not None else (0, 0)


__all__ = ["CPU", "MIXED", "NOTHING", "SimulatedDispatch", "current_place", "named_tensors", "place"]
