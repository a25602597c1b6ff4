"""What running one operator takes: its operands' place settled, its result marked, the clock told."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from devicelab.devices import Listener
from devicelab.simgpu.machine.machine import Machine, SimCard
from devicelab.simgpu.machine.texts import INITIALIZATION
from devicelab.simgpu.marks.adopt import adoptable
from devicelab.simgpu.marks.marks import CPU, Adoptable, Tensor, card_of, device_of, parts, put, tag_of
from devicelab.simgpu.marks.place import MIXED, named_tensors, place
from devicelab.simgpu.rules import decide

from .move import move

register_hook = (
    torch.Tensor.register_hook
)  # while simulating it has a stand-in, which refuses what changes place
META = torch._C.DispatchKeySet(torch._C.DispatchKey.Meta)


class Calls(TorchDispatchMode):
    """Runs single operators on the cards of a machine."""

    _mode_key = torch._C._TorchDispatchModeKey.FAKE  # below all others, as a device is
    treat: Callable[..., Any]  # runs one operator
    treat_lost: Callable[..., Any]  # takes its place once an assertion has failed on a card

    def __init__(self, machine: Machine):
        super().__init__()
        self.machine = machine
        self.clock = machine.clock
        self.listeners: dict[int, list[Listener]] = {}

    def host(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run an operator of the CPU."""
        out = func(*args, **kwargs)
        self.clock.host(func, args, out)
        return out

    def run(self, func: Any, args: Any, kwargs: Any, seen: Any, is_view: bool = False) -> Any:
        """Run an operator whose operands are not all plain CPU tensors."""
        if seen is MIXED and beside_meta(func, args, kwargs):
            return self.without_values(func, args, kwargs)
        card = seen if seen.__class__ is SimCard and seen.running else self.settle(func, args, kwargs, seen)
        out = func(*args, **kwargs) if kwargs else func(*args)
        self.finish(func, args, out, card, is_view)
        return out

    def without_values(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run the kernel for meta tensors, to which PyTorch sends a call with one of them, wherever the others are."""
        torch._C._set_dispatch_mode(self)
        try:
            return func.redispatch(META, *args, **kwargs)
        finally:
            torch._C._unset_dispatch_mode(self._mode_key)

    def finish(self, func: Any, args: Any, out: Any, card: Any, is_view: bool = False) -> None:
        """Say where the results are, and let the clock go on."""
        if card.__class__ is SimCard:
            if not (is_view and args[0].layout is not torch.sparse_coo):
                place(out, card)
            self.clock.kernel(card.index, func, args, out)
        else:
            if card is not None:
                place(out, card)
            self.clock.host(func, args, out)

    def copied(
        self,
        tensor: Tensor,
        source: SimCard | None,
        target: SimCard | None,
        non_blocking: bool,
        host: Tensor | None = None,
        pinned: bool = False,
    ) -> None:
        """Tell the clock of a copy between two devices. Without bytes there is no copy.

        `host` is the tensor of the host; of a copy that the program cannot see, `pinned` says whether it is one of pinned memory.
        """
        nbytes = sum(part.nbytes for part in parts(tensor))
        if nbytes:
            self.clock.copy(
                source.device if source else CPU,
                target.device if target else CPU,
                nbytes,
                pinned or (host is not None and is_pinned(host)),
                bool(non_blocking),
                host,
            )
        else:
            self.clock.spend(self.clock.dispatch)

    def settle(self, func: Any, args: Any, kwargs: Any, seen: Any, judged: bool = True) -> Any:
        """Return where the result of a call with unlike operands will be, or raise CUDA's error; None where others judge."""
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
        if not judged:
            return None
        located = [(name, tensor, device_of(tensor)) for name, tensor in operands]
        device = decide.resolve(func, located, args, kwargs)
        for _, tensor, place_of_it in located:
            if place_of_it.type == "cpu" and tensor.requires_grad:
                return_gradient(tensor)
        if isinstance(device, list):  # one for each result
            return [self.machine.card(one) if one.type == "cuda" else None for one in device]
        return self.machine.card(device) if device.type == "cuda" else None

    def usable(self, card: Any) -> bool:
        """Say whether a card belongs to the running simulation; CUDA's error in a forked child."""
        if card.forked:
            raise torch.AcceleratorError(INITIALIZATION)
        return card.running


def beside_meta(func: Any, args: Any, kwargs: Any) -> bool:
    """Say whether a card's tensor meets one on the meta device."""
    kinds = {device_of(tensor).type for _, tensor in named_tensors(func, args, kwargs)}
    return kinds == {"cuda", "meta"}


def return_gradient(tensor: Tensor) -> None:
    """Have the gradient of a CPU tensor that took part on a card copied back, as autograd's engine does for 0-dim tensors."""
    if not hasattr(tensor, "_simulated_hook"):
        tensor._simulated_hook = register_hook(tensor, to_host)  # type: ignore[attr-defined]


def to_host(gradient: Tensor) -> Tensor:
    """Return a gradient on the CPU."""
    return gradient if card_of(gradient) is None else move(gradient, CPU)


def is_pinned(tensor: Tensor) -> bool:
    """Say whether the card can copy from or into this memory of the host by itself: it is pinned, and has no gaps.

    Of what has gaps, CUDA's copy makes a dense tensor first, in ordinary memory (cuda/Copy.cu, copy_requires_temporaries).
    """
    if tensor.layout is not torch.strided or not getattr(
        tensor.untyped_storage(), "_simulated_pinned", False
    ):
        return False
    return is_dense(tensor)


def is_dense(tensor: Tensor) -> bool:
    """Say whether the values lie side by side, in whatever order."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True
