"""The dispatch mode: looks where the operands of every operator are, refuses what CUDA refuses, and says where the result is."""

from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from devicelab.simgpu import texts

from . import check
from .moves import move
from .operands import MIXED, NOTHING, adoptable, merge, named_tensors, place
from .plans import PLANS, plan_of
from .tags import CPU, UNUSUAL, Adoptable, SimCard, Tensor, card_of, device_of, parts, put, tag_of

if TYPE_CHECKING:
    from .session import Simulation


PLAIN = torch.Tensor.__torch_dispatch__


class SimulatedDispatch(TorchDispatchMode):
    """Sees every operator of one thread while the simulation runs."""

    _mode_key = torch._C._TorchDispatchModeKey.FAKE
    shape_env = None  # torch.fx asks for it, believing that the mode under this key is a FakeTensorMode

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
        if types and any(kind.__torch_dispatch__ is not PLAIN for kind in types):
            return NotImplemented  # a subclass of Tensor takes the operator apart first, and its parts come back here
        seen: Any = NOTHING
        for value in args:
            if isinstance(value, Tensor):
                try:
                    tag = value.untyped_storage()._simulated_card  # type: ignore[attr-defined]
                except UNUSUAL:
                    tag = tag_of(value)
                if tag is not seen:
                    seen = tag if seen is NOTHING else MIXED
            elif value.__class__ is list or value.__class__ is tuple:
                seen = merge(seen, value)
        if kwargs:
            seen = merge(seen, kwargs.values())
        plan = PLANS.get(id(func)) or plan_of(func)
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

    def settle(self, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
        """Return where the result of a call with unlike operands will be, or raise CUDA's error."""
        operands = list(named_tensors(func, args, kwargs))
        tags = [tag_of(tensor) for _, tensor in operands]
        cards = {tag for tag in tags if tag.__class__ is SimCard and self.usable(tag)}
        here = adoptable()
        loose = [
            tag.__class__ is Adoptable and (tag.place == here.place or tag.hint is not None) for tag in tags
        ]  # type: ignore[union-attr]
        if not cards:
            here.hint = here.hint or next(
                (tag.hint for tag in tags if tag.__class__ is Adoptable and tag.hint), None
            )  # type: ignore[union-attr]
            return here if operands and all(loose) else None
        if len(cards) == 1:
            card: SimCard = next(iter(cards))  # type: ignore[assignment]
            for (_, tensor), is_loose in zip(operands, loose, strict=True):
                if is_loose:
                    put(tensor, card)
            if all(tag is card or is_loose for tag, is_loose in zip(tags, loose, strict=True)):
                return card
        located = [(name, tensor, device_of(tensor)) for name, tensor in operands]
        device = check.resolve(func, located, args, kwargs)
        for _, tensor, place_of_it in located:
            if place_of_it.type == "cpu" and tensor.requires_grad:
                return_gradient(tensor)
        if isinstance(device, list):  # one for each result
            return [self.simulation.card(one) if one.type == "cuda" else None for one in device]
        return self.simulation.card(device) if device.type == "cuda" else None

    def usable(self, card: Any) -> bool:
        """Say whether a card belongs to the running simulation; CUDA's error in a forked child."""
        if card.forked:
            raise torch.AcceleratorError(texts.INITIALIZATION)
        return card.running


def return_gradient(tensor: Tensor) -> None:
    """Have the gradient of a CPU tensor that took part on a card copied back, as autograd's engine does for 0-dim tensors."""
    if not hasattr(tensor, "_simulated_hook"):
        tensor._simulated_hook = tensor.register_hook(to_host)  # type: ignore[attr-defined]


def to_host(gradient: Tensor) -> Tensor:
    """Return a gradient on the CPU."""
    return gradient if card_of(gradient) is None else move(gradient, CPU)
