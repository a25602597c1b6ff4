"""On which device is everything that takes part in a training?"""

import sys
from types import FrameType

from torch.optim import Optimizer

from devicelab import devices
from devicelab.reach import forget_copies, is_a

from .result import Place, Placement
from .walk import Walk

__all__ = ["Place", "Placement", "find", "names_of", "placement"]


def placement(*objects: object, **named: object) -> Placement:
    """Look for every tensor in models, optimizers, batches and other objects, and say on which device each is.

    Found are parameters, buffers, plain attributes, tensors in lists, dicts and dataclasses, optimizer state, and modules that a
    module keeps where `.to()` cannot reach them. Names come from the caller's own variables, or from keywords. Works on
    real, simulated, MPS and meta tensors; no device is touched and no value is shown.
    """
    return find(names_of(sys._getframe(1), objects) + list(named.items()))


def find(found: list[tuple[str, object]]) -> Placement:
    """Say where the tensors of these objects are, each with its name."""
    walk = Walk()
    walk.look(
        sorted(found, key=lambda pair: is_a(pair[1], Optimizer))
    )  # last: their state is named after the parameters
    return Placement(walk.places, walk.truncated, devices.rank())


def names_of(frame: FrameType, objects: tuple[object, ...]) -> list[tuple[str, object]]:
    """Return each object with the name that the caller's frame has for it, else with its class's."""
    names, count = _names(frame), len(objects)
    return [
        (names.get(id(value)) or _unnamed(value, number, count), value)
        for number, value in enumerate(objects, 1)
    ]


def _unnamed(value: object, number: int, count: int) -> str:
    return type(value).__name__ + (f" ({number})" if count > 1 else "")


def _names(frame: FrameType) -> dict[int, str]:
    """Return the caller's own names of its objects by their ids, a local name before a global one."""
    pairs = [*frame.f_locals.items(), *list(frame.f_globals.items())]
    forget_copies(frame)
    return {id(value): name for name, value in reversed(pairs) if not name.startswith("_")}
