"""From which size on does a GPU pay? One knob draws the CPU's line and the card's, until they cross.

measure    the CPU's times, and the estimates for each card
published  what others measured of one layer on a real card
scenes     all of it as plain data, with every sentence that the picture says
still      both lines as a picture
result     the crossover as it is shown
"""

from collections.abc import Sequence

from devicelab.devices import present
from devicelab.errors import InputError, check_range, listed
from devicelab.gpus import find
from devicelab.sweep.run import MakeStep, article_step, sizes_of

from .measure import estimated, measured
from .published import published
from .result import Crossing
from .scenes import Scenes

__all__ = ["Crossing", "crossover"]
CARDS = ("Tesla T4", "NVIDIA L4", "NVIDIA A100-SXM4-40GB", "NVIDIA H100 80GB HBM3")
ARTICLES = (
    10,
    32,
    100,
    320,
    1000,
    3200,
    10_000,
    32_000,
)  # its layer has two outputs, and grows with the width alone
WIDTHS = (10, 16, 32, 64, 128, 256, 512, 1024, 2048)
MOST_CARDS = 8


def crossover(
    rows: int = 100,
    widths: int | Sequence[int] | None = None,
    *,
    step: MakeStep | None = None,
    cards: Sequence[str] | None = None,
    budget: float = 20.0,
) -> Crossing:
    """Show from which width on a card is faster than this computer's CPU: measured here, and estimated for the card.

    Without `step` it is the article's training step; for your own give a function of (device, rows, width) that returns a
    step to call, as for lab.sweep. The CPU's times are measured from narrow to wide within `budget` seconds; what does not
    fit them, or the free memory, is left out. The cards, the present one first, are estimated as if they sat in this
    computer: its host is measured, and launches for them.
    """
    check_range("rows", rows, 1, 10_000_000)
    check_range("budget", budget, 0.1, 3600)
    if step is not None and not callable(step):
        raise InputError(
            f"step must be a function of (device, rows, width), but it is {type(step).__name__}."
        )
    chosen = sizes_of("widths", widths if widths is not None else WIDTHS if step else ARTICLES)
    known = [find(name) for name in _names(cards)]
    points, left_out = measured(rows, chosen, step or article_step, step is not None, budget)
    if not points:
        raise InputError(f"No width could be timed: {left_out[0][1]}. Give fewer rows or smaller widths.")
    scenes = Scenes(rows, step is None, points, left_out)
    for card in known:
        scenes.add(card, [estimated(point, card) for point in points])
    return Crossing(scenes.data(published()))


def _names(cards: Sequence[str] | None) -> list[str]:
    """Return the cards to estimate for: the present one first, where it is one that the catalogue knows."""
    if cards is not None:
        named = [cards] if isinstance(cards, str) else list(cards)
        if not 1 <= len(named) <= MOST_CARDS or not all(isinstance(name, str) for name in named):
            raise InputError(f"cards are 1 to {MOST_CARDS} names of lab.gpus(), such as {listed(CARDS)}.")
        return named
    here = present()
    try:
        first = [find(here.name).name] if here.type == "cuda" else []
    except InputError:  # a card that the catalogue does not know
        first = []
    return list(dict.fromkeys([*first, *CARDS]))
