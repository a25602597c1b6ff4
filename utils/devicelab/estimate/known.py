"""Which tensors hold the values that they would hold in a real run, and which operators are therefore computed after all."""

from typing import Any

import torch
from torch import Tensor

from devicelab import devices
from devicelab.simgpu.machine.machine import SimCard
from devicelab.simgpu.marks import marks

from .chance import Chance
from .kinds import SMALL, WHOLE, is_small, is_whole, tensors_in


class Known(devices.Listener):
    """What the run made, and what of it is known."""

    def __init__(self, everything_moved: bool):
        super().__init__()
        self.everything_moved = everything_moved
        self.to_card = False  # the operator being heard was told to make its result on a card
        self.made: list[Tensor] = []
        self.stale: dict[int, torch.UntypedStorage] = {}  # written in vain: their values are no longer right
        self.chance = Chance()

    def remember(self, out: Any, worked_out: bool = False) -> Any:
        """Note tensors as made during the run; nobody may read their values, unless they were worked out."""
        for tensor in (out,) if isinstance(out, Tensor) else out if out.__class__ in (list, tuple) else ():
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                storage._made_by, storage._worked_out = self, worked_out  # type: ignore[attr-defined]
                if marks._FORGETFUL:
                    marks._untrack(storage)
                self.made.append(tensor)
        return out

    def is_known(self, tensor: Tensor) -> bool:
        """Say whether a tensor holds the values that it would hold in a real run."""
        storage = tensor.untyped_storage()
        if marks.real_device(tensor).type == "meta" or storage._cdata in self.stale:
            return False
        return getattr(storage, "_made_by", None) is not self or storage._worked_out  # type: ignore[attr-defined]

    def works_out(self, args: Any, kwargs: dict[str, Any], most: float = SMALL) -> bool:
        """Say whether an operator has only known values, and few of them: what sizes, loops and branches may hang on.

        Integers and masks wherever they are; other numbers on the host, where no card's tensor fed them.
        """
        return all(
            tensor.numel() <= most
            and self.is_known(tensor)
            and (tensor.dtype in WHOLE or self.is_host_s(tensor))
            for tensor in tensors_in((*args, *kwargs.values()))
        )

    def may_know(self, found: Any) -> bool:
        """Say whether results are worked out: few integers or masks, or a few other numbers that no card was told to hold."""
        return is_whole(found) or (is_small(found) and (self.everything_moved or not self.to_card))

    def is_host_s(self, tensor: Tensor) -> bool:
        """Say whether a tensor is the host's; where everything counts as moved, whether the function made it from nothing."""
        if marks.tag_of(tensor).__class__ is not SimCard:
            return True
        held = vars(tensor.untyped_storage())
        return self.everything_moved and self in (held.get("_made_by"), held.get("_typed_by"))


def is_lone_number(tensor: Tensor) -> bool:
    """Say whether a tensor came of numbers without a dimension, made for no device."""
    return getattr(tensor.untyped_storage(), "_lone", False)
