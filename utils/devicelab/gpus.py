"""The catalogue of cards: what each can do on paper, and what PyTorch was seen to reach of it.

Every figure has its source in docs/sources.md, section "Cards". A figure nobody could name a source for is
None, never invented.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from devicelab.errors import InputError, listed

TERA, GIGA, GIB = 1e12, 1e9, 2**30


@dataclass(frozen=True)
class Card:
    """One card under the name that torch.cuda.get_device_name() gives it.

    Peaks in FLOP/s (dense, without sparsity), bandwidth and link in bytes/s (one direction), watts as the
    vendor limits the board, total_memory in bytes as torch reports it. `reached_*` is the fraction of a peak
    that PyTorch reached in a public benchmark.
    """

    name: str
    capability: tuple[int, int]
    total_memory: int
    multiprocessors: int
    bandwidth: float
    fp32: float
    fp64: float | None = None
    tf32: float | None = None
    fp16: float | None = None
    bf16: float | None = None
    link: float | None = None
    link_name: str | None = None
    watts: float | None = None
    l2_bytes: int | None = None
    reached_fp32: float | None = None
    reached_memory: float | None = None


class Catalogue:
    """Cards by name; iterating gives the cards, `find` takes short names."""

    def __init__(self, cards: list[Card]):
        self._cards = {card.name: card for card in cards}

    def __iter__(self) -> Iterator[Card]:
        return iter(self._cards.values())

    def __len__(self) -> int:
        return len(self._cards)

    @property
    def names(self) -> list[str]:
        """Return every card's full name."""
        return list(self._cards)

    def add(self, card: Card) -> None:
        """Add a card of your own, or replace the one of the same name."""
        self._cards[card.name] = card

    def find(self, name: str) -> Card:
        """Return the card called `name`; a short name ("T4", "rtx 4090") will do where it fits one card only."""
        if name in self._cards:
            return self._cards[name]
        fits = [card for card in self if _words(name) and _words(name) <= _words(card.name)]
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise InputError(
                f'"{name}" fits {listed(card.name for card in fits)}. Give the full name of one.'
            )
        raise InputError(f'No card is called "{name}". Known are {listed(self.names)}.')


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))


def _card(
    name: str,
    capability: tuple[int, int],
    gib: float,
    multiprocessors: int,
    fp32: float,
    gbytes: float,
    **rest,
) -> Card:
    """Build a Card from the units of data sheets: GiB, TFLOP/s, GB/s."""
    peaks = {key: value * TERA for key, value in rest.items() if key in ("fp64", "tf32", "fp16", "bf16")}
    link = {"link": rest.pop("link_gbytes") * GIGA} if "link_gbytes" in rest else {}
    total = int(gib * GIB) // 65536 * 65536
    return Card(name, capability, total, multiprocessors, gbytes * GIGA, fp32 * TERA, **(rest | peaks | link))


PCIE3 = {"link_name": "PCIe 3.0 x16", "link_gbytes": 15.8}
PCIE4 = {"link_name": "PCIe 4.0 x16", "link_gbytes": 31.5}
PCIE5 = {"link_name": "PCIe 5.0 x16", "link_gbytes": 63.0}
MIB = 2**20

_catalogue = Catalogue(
    [
        _card("Tesla T4", (7, 5), 14.7413, 40, 8.1, 320, fp16=65, watts=70, reached_fp32=0.48, reached_memory=0.74, **PCIE3),
        _card("NVIDIA L4", (8, 9), 22.03, 58, 30.3, 300, tf32=60, fp16=121, bf16=121, watts=72, reached_fp32=0.40, reached_memory=0.78, **PCIE4),
        _card("NVIDIA A100-PCIE-40GB", (8, 0), 39.39, 108, 19.5, 1555, tf32=156, fp16=312, bf16=312, watts=250, reached_fp32=0.97, reached_memory=0.77, **PCIE4),
        _card("NVIDIA A100 80GB PCIe", (8, 0), 79.15, 108, 19.5, 1935, tf32=156, fp16=312, bf16=312, watts=300, reached_fp32=0.97, reached_memory=0.77, **PCIE4),
        _card("NVIDIA H100 80GB HBM3", (9, 0), 79.11, 132, 67, 3350, tf32=494.5, fp16=989, bf16=989, watts=700, reached_fp32=0.75, reached_memory=0.82, **PCIE5),
    ]
)  # fmt: skip


def gpus() -> Catalogue:
    """Return the catalogue; `gpus().add(Card(...))` adds your own card for this session."""
    return _catalogue


def find(name: str) -> Card:
    """Return the card called `name` from the catalogue; InputError lists the names where there is none."""
    return _catalogue.find(name)
