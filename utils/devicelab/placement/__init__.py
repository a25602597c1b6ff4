"""On which device is everything that takes part in a training?"""

import sys
from types import FrameType

from torch.optim import Optimizer

from .result import Place, Placement
from .walk import Walk

__all__ = ["Place", "Placement", "placement"]


def placement(*objects: object, **named: object) -> Placement:
    """Look for every tensor in models, optimizers, batches and other objects, and say on which device each is.

    Found are parameters, buffers, plain attributes, tensors in lists, dicts and dataclasses, optimizer state, and modules that a
    module keeps where `.to()` cannot reach them. Names come from the caller's own variables, or from keywords. Works on
    real, simulated, MPS and meta tensors; no device is touched and no value is shown.
    """
    frame = sys._getframe(1)
    count = len(objects)
    found = [
        (_name(value, frame) or _unnamed(value, number, count), value)
        for number, value in enumerate(objects, 1)
    ]
    found += named.items()
    found.sort(
        key=lambda pair: isinstance(pair[1], Optimizer)
    )  # last, so that its state can be named after the parameters
    walk = Walk()
    for name, value in found:
        walk.visit(name, value)
    return Placement(tuple(walk.places), walk.truncated)


def _unnamed(value: object, number: int, count: int) -> str:
    return type(value).__name__ + (f" ({number})" if count > 1 else "")


def _name(value: object, frame: FrameType) -> str | None:
    """Return the caller's own name of `value`, if it has one."""
    for variables in (frame.f_locals, frame.f_globals):
        for name, other in list(variables.items()):
            if other is value and not name.startswith("_"):
                return name
    return None
