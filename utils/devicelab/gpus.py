"""The catalogue of cards: what each can do on paper, and what PyTorch was seen to reach of it.

Every figure has its source in docs/sources.md, section "Cards". A figure nobody could name a source for is
None, never invented.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from devicelab.errors import InputError, listed
from devicelab.html import table
from devicelab.picture import Shown


@dataclass(frozen=True)
class Card:
    """One card under the name that torch.cuda.get_device_name() gives it.

    Peaks in FLOP/s (dense, without sparsity), bandwidth and link in bytes/s (one direction), watts as the
    vendor limits the board, total_memory in bytes as torch reports it. `fp64_tensor` is what matrix products in
    float64 reach at most, on cards whose tensor cores take part in them. `reached_*` is the fraction of a peak
    that PyTorch reached: of fp32, of the bandwidth, of fp16 or bf16. `evidence` says where that was seen: in the
    "latencies" of many operators on this card, or in a "benchmark" of large products and copies.
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
    reached_half: float | None = None
    evidence: str | None = None
    fp64_tensor: float | None = None

    @property
    def threads(self) -> int | None:
        """How many threads a multiprocessor holds at once, where that is known."""
        return THREADS.get(self.capability)


# By compute capability: NVIDIA's CUDA programming guide, table of compute capabilities.
THREADS = {
    (7, 0): 2048,
    (7, 5): 1024,
    (8, 0): 2048,
    (8, 6): 1536,
    (8, 9): 1536,
    (9, 0): 2048,
    (10, 0): 2048,
    (12, 0): 1536,
}
PEAKS = ("fp64", "fp64_tensor", "tf32", "fp16", "bf16")  # beside that of fp32
TERA, GIGA, MIB = 1e12, 1e9, 2**20
COLUMNS = ("card", "memory", "fp32", "fp16", "bandwidth", "link to the host")
SOURCE = "Peaks of the data sheets; sources: docs/sources.md, section Cards."


def _line(row: tuple[str, ...]) -> str:
    name, memory, fp32, fp16, bandwidth, link = row
    return f"{name:27}{memory:>10}{fp32:>15}{fp16:>17}{bandwidth:>12}  {link}"


class Catalogue(Shown):
    """Cards by name; iterating gives the cards, `find` takes short names."""

    def __init__(self, cards: list[Card]):
        self._cards = {card.name: card for card in cards}

    def __iter__(self) -> Iterator[Card]:
        return iter(self._cards.values())

    def __len__(self) -> int:
        return len(self._cards)

    def __str__(self) -> str:
        lines = [_line(row) for row in (COLUMNS, *self._rows())]
        return "\n".join([*lines, SOURCE])

    def _repr_html_(self) -> str:
        return table(COLUMNS, self._rows()) + f"<p>{SOURCE}</p>"

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                card.name,
                f"{card.total_memory / 2**30:.1f} GiB",
                f"{card.fp32 / TERA:.1f} TFLOP/s",
                f"{card.fp16 / TERA:,.1f} TFLOP/s" if card.fp16 else "-",
                f"{card.bandwidth / GIGA:,.0f} GB/s",
                card.link_name or "-",
            )
            for card in self
        ]

    @property
    def names(self) -> list[str]:
        """Return every card's full name."""
        return list(self._cards)

    def add(self, card: Card | None = None, *, replace: bool = False, **sheet: Any) -> Card:
        """Add a card of your own and return it: a Card, or keywords in the units of datasheets, as `from_sheet` takes them.

        From then on its name works in `lab.simulate_gpu` and `lab.estimate`. A name that is taken needs replace=True.
        """
        if (card is None) == (not sheet):
            raise InputError(
                "Give either a Card, or keywords such as name=..., memory=..., fp32=..., bandwidth=...."
            )
        if card is not None and not isinstance(card, Card):
            raise InputError(
                f"A card to add is a Card, or keywords as its datasheet has them, but this is {card!r}."
            )
        card = card or from_sheet(**sheet)
        if card.name in self._cards and not replace:
            raise InputError(
                f"{card.name} is in the catalogue. Choose another name, or say replace=True to take its place."
            )
        self._cards[card.name] = card
        return card

    def find(self, name: str) -> Card:
        """Return the card called `name`; a short name ("T4", "rtx 4090") will do where it fits one card only."""
        if not isinstance(name, str):
            raise InputError(f'A card is given by its name, such as "Tesla T4", but this is {name!r}.')
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
    mib: int,
    processors: int,
    fp32: float,
    bandwidth: float,
    **rest: Any,
) -> Card:
    """Build a Card from the units of data sheets: MiB, TFLOP/s, GB/s, watts, MiB of level-2 cache."""
    peaks = {key: rest.pop(key) * TERA for key in PEAKS if key in rest}
    if "l2" in rest:
        rest["l2_bytes"] = rest.pop("l2") * MIB
    return Card(name, capability, mib * MIB, processors, bandwidth * GIGA, fp32 * TERA, **peaks, **rest)


# What from_sheet takes: the unit, the least and the most that a card could have, and what to do where the range is left.
_SHEET = {
    "memory": ("GiB", 0.5, 2_048),
    "fp32": ("TFLOP/s", 0.1, 1_000),
    "bandwidth": ("GB/s", 10, 50_000),
    "fp64": ("TFLOP/s", 0.005, 1_000),
    "fp64_tensor": ("TFLOP/s", 0.005, 1_000),
    "tf32": ("TFLOP/s", 0.1, 20_000),
    "fp16": ("TFLOP/s", 0.1, 20_000),
    "bf16": ("TFLOP/s", 0.1, 20_000),
    "link": ("GB/s", 0.5, 2_000),
    "watts": ("W", 5, 5_000),
    "l2": ("MiB", 0.1, 1_024),
    "multiprocessors": ("processors", 1, 1_000),
    "measured_fp32": ("TFLOP/s", 0.01, 1_000),
    "measured_half": ("TFLOP/s", 0.01, 20_000),
    "measured_copy": ("GB/s", 1, 50_000),
}
_NEEDED = ("memory", "fp32", "bandwidth")


def from_sheet(
    *,
    name: str,
    capability: tuple[int, int] = (8, 0),
    link_name: str | None = None,
    **figures: float,
) -> Card:
    """Return a Card from what its datasheet prints: memory in GiB, peaks in TFLOP/s, bandwidth and link in GB/s, l2 in MiB.

    `memory`, `fp32` and `bandwidth` are needed, the rest may be left out: without `multiprocessors` and `capability`
    usual ones are assumed. `measured_fp32` and `measured_half`
    (TFLOP/s of a large matrix product) and `measured_copy` (GB/s, reading and writing counted) narrow the range of estimates.
    """
    if not isinstance(name, str) or not _words(name):
        raise InputError(f'name must be a name such as "My card", but it is {name!r}.')
    _check_sheet(name, figures)
    get = figures.get
    peaks = {key: get(key) for key in PEAKS}
    processors = get("multiprocessors") or _usual_processors(figures["fp32"])
    measured = {
        "reached_fp32": _fraction(figures, "measured_fp32", "fp32"),
        "reached_memory": _fraction(figures, "measured_copy", "bandwidth"),
        "reached_half": _fraction(figures, "measured_half", "bf16" if get("bf16") else "fp16"),
    }
    rest = {"watts": get("watts"), "l2": get("l2"), "link_name": link_name}
    rest["link"] = figures["link"] * GIGA if "link" in figures else None
    given = {key: value for key, value in (peaks | measured | rest).items() if value is not None}
    evidence = "benchmark" if any(measured.values()) else None
    return _card(
        name, capability, round(figures["memory"] * 1024), round(processors), figures["fp32"], figures["bandwidth"],
        evidence=evidence, **given,
    )  # fmt: skip


def _check_sheet(name: str, figures: dict[str, float]) -> None:
    missing = [key for key in _NEEDED if key not in figures]
    if missing:
        needed = ", ".join(f"{key} ({_SHEET[key][0]})" for key in _NEEDED)
        raise InputError(f"{name} needs {needed}; {listed(missing)} is missing.")
    for key, value in figures.items():
        if key not in _SHEET:
            raise InputError(
                f"{key} is no figure of a card. Known are name, capability, link_name, {listed(_SHEET)}."
            )
        unit, least, most = _SHEET[key]
        if not isinstance(value, (int, float)) or not least <= value <= most:
            raise InputError(
                f"{key} is given in {unit}, between {least:,} and {most:,}, but it is {value!r}. "
                f"Write it as the datasheet prints it: a Tesla T4 has memory=16, fp32=8.1, bandwidth=320."
            )


def _fraction(figures: dict[str, float], measured: str, peak: str) -> float | None:
    if measured not in figures:
        return None
    if peak not in figures:
        raise InputError(f"{measured} needs {peak} too: it is read as a fraction of the datasheet's {peak}.")
    if figures[measured] > figures[peak]:
        raise InputError(
            f"{measured} is {figures[measured]:,}, more than the {figures[peak]:,} that the datasheet promises for {peak}. "
            "Check both; a clock that was not synchronized measures too much."
        )
    return figures[measured] / figures[peak]


def _usual_processors(tflops: float) -> int:
    """Return the multiprocessors of a card that does not say: each does 0.25 TFLOP/s, between an A100's 0.18 and an L4's 0.52."""
    return max(1, round(tflops / 0.25))


def _half(tflops: float) -> dict[str, Any]:
    """Float16 and bfloat16 run equally fast on tensor cores from Ampere on."""
    return {"fp16": tflops, "bf16": tflops}


PCIE3: dict[str, Any] = {"link": 15.8e9, "link_name": "PCIe 3.0 x16"}
PCIE4: dict[str, Any] = {"link": 31.5e9, "link_name": "PCIe 4.0 x16"}
PCIE5: dict[str, Any] = {"link": 63.0e9, "link_name": "PCIe 5.0 x16"}
A100 = {
    "fp64": 9.7,
    "fp64_tensor": 19.5,
    "tf32": 156,
    **_half(312),
    "l2": 40,
    "reached_fp32": 0.97,
    "reached_memory": 0.89,
    "reached_half": 0.76,
    "evidence": "benchmark",
    **PCIE4,
}
HOPPER = {
    "fp64": 33.5,
    "fp64_tensor": 66.9,
    "tf32": 494.7,
    **_half(989.4),
    "watts": 700,
    "reached_fp32": 0.75,
    "reached_half": 0.59,
    "evidence": "benchmark",
    **PCIE5,
}

_catalogue = Catalogue(
    [
        _card("Tesla T4", (7, 5), 15095, 40, 8.1, 320, fp64=0.254, fp16=65, watts=70, l2=4,
              reached_fp32=0.49, reached_memory=0.74, reached_half=0.38, evidence="latencies", **PCIE3),
        _card("Tesla V100-SXM2-16GB", (7, 0), 16160, 80, 15.7, 900, fp64=7.85, fp16=125, watts=300, l2=6,
              reached_fp32=0.83, reached_memory=0.85, reached_half=0.67, evidence="benchmark", **PCIE3),
        _card("Tesla V100-PCIE-32GB", (7, 0), 32510, 80, 14.0, 900, fp64=7.0, fp16=112, watts=250, l2=6,
              reached_fp32=0.96, reached_memory=0.91, reached_half=0.75, evidence="latencies", **PCIE3),
        _card("NVIDIA A100-PCIE-40GB", (8, 0), 40326, 108, 19.5, 1555, watts=250,
              **(A100 | {"reached_fp32": 0.81, "evidence": "latencies"})),
        _card("NVIDIA A100-SXM4-40GB", (8, 0), 40448, 108, 19.5, 1555, watts=400, **A100),
        _card("NVIDIA A100 80GB PCIe", (8, 0), 81152, 108, 19.5, 1935, watts=300, **(A100 | {"reached_fp32": 0.87})),
        _card("NVIDIA A100-SXM4-80GB", (8, 0), 81152, 108, 19.5, 2039, watts=400, **A100),
        _card("NVIDIA A10", (8, 6), 22589, 72, 31.2, 600, fp64=0.488, tf32=62.5, **_half(125), watts=150, l2=6,
              reached_fp32=0.45, reached_memory=0.78, reached_half=0.45, evidence="benchmark", **PCIE4),
        _card("NVIDIA GeForce RTX 3060", (8, 6), 11931, 28, 12.7, 360, fp64=0.199, tf32=12.7, **_half(25.5), watts=170, l2=3,
              reached_fp32=0.58, reached_memory=0.92, reached_half=0.97, evidence="benchmark", **PCIE4),
        _card("NVIDIA GeForce RTX 3090", (8, 6), 24268, 82, 35.6, 936, fp64=0.556, tf32=35.6, **_half(71.2), watts=350, l2=6,
              reached_memory=0.92, reached_half=0.97, evidence="benchmark",
              **PCIE4),
        _card("NVIDIA L4", (8, 9), 22559, 58, 30.3, 300, fp64=0.473, tf32=60, **_half(121), watts=72, l2=48,
              reached_fp32=0.39, reached_memory=0.78, reached_half=0.54, evidence="benchmark", **PCIE4),
        _card("NVIDIA GeForce RTX 4090", (8, 9), 24084, 128, 82.6, 1008, fp64=1.29, tf32=82.6, **_half(165.2),
              watts=450, l2=72, reached_fp32=0.70, reached_memory=0.90, reached_half=0.97, evidence="benchmark", **PCIE4),
        _card("NVIDIA GeForce RTX 5090", (12, 0), 32123, 170, 104.8, 1792, fp64=1.637, tf32=104.8, **_half(209.6),
              watts=575, l2=96, reached_fp32=0.70, reached_memory=0.90, reached_half=0.86, evidence="benchmark", **PCIE5),
        _card("NVIDIA H100 80GB HBM3", (9, 0), 81089, 132, 66.9, 3350, l2=50, reached_memory=0.82, **HOPPER),
        _card("NVIDIA H200", (9, 0), 143156, 132, 66.9, 4800, l2=60, reached_memory=0.90, **HOPPER),
        _card("NVIDIA B200", (10, 0), 182642, 148, 75, 7700, fp64=37, fp64_tensor=37, tf32=1100, **_half(2250),
              watts=1000, l2=126),
    ]
)  # fmt: skip


def gpus() -> Catalogue:
    """Return the catalogue; `gpus().add(name=..., memory=..., fp32=..., bandwidth=...)` adds your own card for this session."""
    return _catalogue


def find(name: str) -> Card:
    """Return the card called `name` from the catalogue; InputError lists the names where there is none."""
    return _catalogue.find(name)
