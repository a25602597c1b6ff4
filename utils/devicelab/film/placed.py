"""Where the tensors of some objects are, as text and drawn as a film's last picture."""

import sys
from dataclasses import dataclass, field, fields
from typing import Any

from devicelab import html
from devicelab.picture import Moving, Picture
from devicelab.placement import Placement, find, names_of

from .lines import Block
from .look import Look
from .memory import Memories
from .scenes import Scenes, here, nothing
from .still import still
from .watch import Step


@dataclass(frozen=True, repr=False)
class Placed(Moving, Placement):
    """A placement that is drawn in a notebook: its text stands beside the picture."""

    scenes: dict[str, Any] = field(default_factory=dict, compare=False)
    module = "film"

    def data(self) -> dict[str, Any]:
        """Return what the picture is drawn from, as plain data for JSON."""
        return self.scenes

    def still(self) -> Picture:
        """Return the picture. Needs matplotlib."""
        return still(self.scenes, 0, f"{self.scenes['question']} ({self.scenes['card']}) {self.sentence}")

    def _repr_html_(self) -> str:
        _, *lines = str(self).splitlines()
        items = "".join(f"<li>{html.escape(line.strip())}</li>" for line in lines)
        return f"{super()._repr_html_()}<ul>{items}</ul>"


class _Moment:
    """What scenes are made of, where nothing happens: one look at some objects."""

    block: Block | None = None

    def __init__(self, named: list[tuple[str, object]], places: dict[str, str]) -> None:
        self.places, self.memories = places, Memories()
        look = Look(self.memories, named, gradients=False)
        alive = frozenset(range(len(self.memories.all)))
        self.steps = [Step(0, held=look.held, owners=look.owners, alive=alive)]

    def notes(self) -> list[str]:
        """Return nothing: what a look leaves out, the text says."""
        return []


def placement(*objects: object, **named: object) -> Placed:
    """Look for every tensor in models, optimizers, batches and other objects, say on which device each is, and draw it.

    Found are parameters, buffers, plain attributes, tensors in lists, dicts and dataclasses, optimizer state, and modules that a
    module keeps where `.to()` cannot reach them. Names come from the caller's own variables, or from keywords. Works on
    real, simulated, MPS and meta tensors; no device is touched and no value is shown.
    """
    pairs = names_of(sys._getframe(1), objects) + list(named.items())
    found = find(pairs)
    return Placed(
        **{one.name: getattr(found, one.name) for one in fields(found)}, scenes=_scenes(pairs, found)
    )


def _scenes(pairs: list[tuple[str, object]], found: Placement) -> dict[str, Any]:
    places, card = here()
    try:
        data = Scenes(_Moment(pairs, places), card).data()
    except Exception as own:  # what cannot be drawn is told all the same
        data = nothing(card, f"This could not be drawn ({type(own).__name__}: {own}).")
    sentence, *lines = str(found).splitlines()
    data["steps"][0]["say"] = sentence
    return data | {"notes": [*(line.strip() for line in lines), *data["notes"]]}
