"""Will it fit? The bytes of a card over the lines of a training, under the card's limit, with knobs for what can be changed.

watch     runs a training without computing, and notes each piece of memory that comes and goes
kinds     weights, gradients, optimizer state, activations, or passing through
scenes    what one run looks like: its lines with their bytes, and every sentence of the picture
still     one run as a picture
result    the bytes as they are shown
"""

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

from devicelab.devices import present
from devicelab.errors import InputError, check_range
from devicelab.gpus import Card, find

from .result import Memory
from .scenes import scene, whole
from .watch import watched

__all__ = ["Memory", "memory"]
CARD = "Tesla T4"  # where none is named and none is present
MOST = 64  # settings


def memory(
    train: Callable[..., object], *, gpu: str | Card | None = None, budget: float = 60.0, **knobs: Any
) -> Memory:
    """Show which lines of a training fill a card, and say whether it fits: nothing is computed, and no card is needed.

    `train` makes the model and the optimizer and trains two steps or more, on "cuda", on the CPU or on meta. Each further
    keyword is a knob: a list of values that `train` is given, such as batch=[8, 16, 32] or checkpointing=[False, True]; it is
    run once for every setting, 64 at most, within `budget` seconds. The card is the present one, or a Tesla T4.
    """
    check_range("budget", budget, 0.1, 3600)
    if not callable(train):
        raise InputError(f"memory needs a function that trains two steps, but it got {type(train).__name__}.")
    card = gpu if isinstance(gpu, Card) else find(gpu or _here())
    names, values = list(knobs), [_values(name, given) for name, given in knobs.items()]
    settings = [dict(zip(names, chosen, strict=True)) for chosen in product(*values)]
    if len(settings) > MOST:
        raise InputError(
            f"These knobs have {len(settings):,} settings; {MOST} are shown at most. Give fewer values."
        )
    runs = [scene(watched(train, setting, card, budget / len(settings)), card) for setting in settings]
    pairs = zip(names, values, strict=True)
    shown = [{"name": name, "values": [str(one) for one in given]} for name, given in pairs]
    return Memory(whole(card, shown, runs))


def _here() -> str:
    here = present()
    return here.name if here.type == "cuda" else CARD


def _values(name: str, given: Any) -> list[Any]:
    """Return the values of a knob; one that is no list stands alone."""
    values = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if not values:
        raise InputError(f"The knob {name} has no values. Give some: {name}=[8, 16, 32].")
    return values
