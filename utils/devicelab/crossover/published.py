"""What others measured of one linear layer on a real T4, beside what lab.estimate says: can the card's line be believed?

Source: the latencies that the NeuSight project published (MIT licence, github.com/sitar-lab/NeuSight, 2025; PyTorch 2.1), all
those of 4,096 rows and four times as many outputs as inputs, in float32, forward.
"""

from typing import NamedTuple

import torch
from torch import nn

from devicelab.estimate import Estimate, estimate

CARD, ROWS, TIMES = "Tesla T4", 4096, 4
SOURCE = "published by the NeuSight project (MIT), 2025"
SECONDS = {768: 4.626144e-3, 960: 10.619658e-3, 1024: 7.770368e-3, 4096: 170.13297e-3, 16384: 2192.628581e-3}
FITTED = (
    "The estimate's constants were fitted to thousands of published times, these five among them. How far it misses on "
    "cards that it never saw stands in docs/estimates.md."
)  # fmt: skip


class Layer(NamedTuple):
    """One layer: inputs, the published seconds, and the estimate."""

    width: int
    seconds: float
    estimate: Estimate

    @property
    def within(self) -> bool:
        """Whether the published time lies between low and high of the estimate."""
        return self.estimate.low <= self.seconds <= self.estimate.high


def published() -> list[Layer]:
    """Return every published layer with its estimate, which is made for a nominal host and runs nothing."""
    found = []
    for width, seconds in SECONDS.items():
        layer = nn.Linear(width, TIMES * width, device="meta")
        data = torch.empty(ROWS, width, device="meta")
        with torch.no_grad():
            found.append(Layer(width, seconds, estimate(layer, data, gpu=CARD)))
    return found
