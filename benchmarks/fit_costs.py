"""Fit the constants of devicelab.costs to measured latencies, and try them on sizes and cards that were held out.

    python benchmarks/fit_costs.py gpu_op_latencies.csv
    python benchmarks/fit_costs.py gpu_op_latencies.csv --unseen NeuSight/scripts/asplos/data/dataset/test
    python benchmarks/fit_costs.py gpu_op_latencies.csv --convolutions NeuSight/.../dataset/train/collect/conv/p2.1.0

The first file has the columns op, gpu, latency_ms, dim0 to dim3 (docs/estimates.md says where it comes from). The folder is
the one that the NeuSight project published; what stands in the first file as well is left out of it, so that
it holds only sizes and cards that no constant has seen. The last holds convolutions of 3 x 3 in float32. Prints the held-out
tables, then the constants as the package holds them. About ten minutes.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import exp, log
from operator import attrgetter
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import torch

from devicelab.costs import CardCosts
from devicelab.costs.kernels import FITTED, Constants, Products, Rows
from devicelab.costs.reached import BENCHMARK, DATASHEET, LATENCIES, LEAST, LOW_WATTS, MOST, spread_of
from devicelab.gpus import Card, find, gpus
from devicelab.operators import BATCHED, CONVOLUTION, GENERIC, MATMUL, ROWS

# What two events around one operator add; the pointwise operators of all five cards agree on it.
STOPWATCH = 18e-6
SHORTEST = 0.1e-3  # seconds; shorter latencies say more about the stopwatch than about the card
TERA, GIB = 1e12, 2**30
LOOKUP = 52e-6  # what cuDNN adds by looking for a way to convolve; the quickest convolution of each card takes 60 to 110 us
SHORTEST_CONVOLUTION = 1e-3
aten = torch.ops.aten
FAMILIES = {MATMUL: "linear", BATCHED: "bmm", GENERIC: "pointwise", ROWS: "layer norm, softmax"}
NAMES = {MATMUL: "MATMUL", BATCHED: "BATCHED", GENERIC: "GENERIC", ROWS: "ROWS"}

# Cards of the latencies that the catalogue does not hold, from their datasheets.
PASCAL = [
    Card("Tesla P100-PCIE-16GB", (6, 0), 16 * GIB, 56, 732e9, 9.3 * TERA, watts=250, l2_bytes=4 * 2**20),
    Card("Tesla P4", (6, 1), 8 * GIB, 20, 192e9, 5.5 * TERA, watts=75, l2_bytes=2 * 2**20),
]
# What an independent benchmark reached on the same chip (github.com/chsasank/device-benchmarks): fractions of the peak.
INDEPENDENT = {
    "Tesla T4": (4 / 8.1, 240 / 320),
    "Tesla V100-PCIE-32GB": (13 / 14, 766 / 900),
    "NVIDIA A100-PCIE-40GB": (19 / 19.5, 1490 / 1935),  # an A100 80GB
}
UNSEEN = {
    "NVIDIA A100 80GB PCIe": (19 / 19.5, 1490 / 1935),
    "NVIDIA L4": (12 / 30.3, 235 / 300),
    "NVIDIA H100 80GB HBM3": (38 / 51.2, 1630 / 2039),  # an H100 PCIe
}
NEVER = "NVIDIA A100 80GB PCIe"  # its convolutions are tried, and fitted nowhere
# Where each search starts: nothing fitted is in it, so that nothing held out leaks in.
START = Constants(
    Products(1, 0.5, 16, 1), Products(1, 0.5, 16, 1), Rows(1, 2, 1e9, 1e9), 10_000, FITTED.convolutions
)


class Row(NamedTuple):
    """One latency: the operator as torch would call it, and the seconds that somebody measured."""

    card: str
    name: str
    family: int
    seconds: float
    call: tuple[Any, tuple, Any]
    size: tuple[int, ...]


def meta(*shape: int) -> torch.Tensor:
    """Return a tensor without data."""
    return torch.empty(shape, device="meta")


def call_of(name: str, size: tuple[int, ...]) -> tuple[int, tuple[Any, tuple, Any]]:
    """Return an operator's family, and (function, arguments, result) at a size."""
    if name in ("linear", "bmm"):
        batch, rows, inner, columns = size
        if name == "bmm":
            factors = meta(batch, rows, inner), meta(batch, inner, columns)
            return BATCHED, (aten.bmm.default, factors, meta(batch, rows, columns))
        with_bias = meta(columns), meta(batch * rows, inner), meta(inner, columns)
        return MATMUL, (aten.addmm.default, with_bias, meta(batch * rows, columns))
    rows, columns = size
    data, one = meta(rows, columns), meta(rows, 1)
    if name == "ln":
        args = (data, [columns], meta(columns), meta(columns), 1e-5)
        return ROWS, (aten.native_layer_norm.default, args, (data, one, one))
    if name == "softmax":
        return ROWS, (aten._softmax.default, (data, -1, False), data)
    two = name in ("add", "mul", "div", "pow")
    return GENERIC, (aten.add.Tensor, (data, data), data) if two else (aten.relu.default, (data,), data)


def row_of(card: str, name: str, milliseconds: str, size: Iterable[str]) -> Row:
    """Return one latency; the sizes are batch, rows, inner, columns for products, and rows, columns for others."""
    sizes = tuple(int(float(part)) for part in size if part)
    family, call = call_of(name, sizes)
    return Row(card, name, family, float(milliseconds) / 1e3, call, sizes)


def read(path: Path) -> list[Row]:
    """Return the latencies of the first file, those above SHORTEST."""
    with path.open() as file:
        rows = [
            row_of(line["gpu"], line["op"], line["latency_ms"], [line[f"dim{i}"] for i in range(4)])
            for line in csv.DictReader(file)
        ]
    return [row for row in rows if row.seconds > SHORTEST]


def read_unseen(folder: Path, seen: list[Row]) -> list[Row]:
    """Return the latencies of NeuSight's own folder that are not among those of the first file."""
    known, rows = {(row.card, row.name, row.size) for row in seen}, []
    for name in ("linear", "bmm", "ln", "softmax", "elem"):
        with (folder / f"{name}.csv").open() as file:
            for line in csv.DictReader(file):
                size = [line[part] for part in ("BMNK" if name in ("linear", "bmm") else "BH")]
                rows.append(row_of(line["Device"], line["OPName"], line["Latency"], size))
    return [row for row in rows if row.seconds > SHORTEST and (row.card, row.name, row.size) not in known]


def errors(rows: list[Row], card: Card, constants: Constants) -> list[float]:
    """Return the logarithms of estimate / measured."""
    costs = CardCosts(card, constants)
    return [
        log((STOPWATCH + costs.operator(function, args, {}, out).work) / seconds)
        for _, _, _, seconds, (function, args, out), _ in rows
    ]


def read_convolutions(folder: Path, card: str) -> list[Row]:
    """Return the convolutions that were timed on a card, every fourth of them, above SHORTEST_CONVOLUTION."""
    rows = []
    with (folder / f"{card}.csv").open() as file:
        for line in list(csv.DictReader(file))[::4]:
            names = ("B", "Input_Channel", "Output_Channel", "Kernel_Szie", "Input_Size", "Stride", "Padding")
            batch, into, out, kernel, size, stride, padding = (int(float(line[name])) for name in names)
            length = (size + 2 * padding - kernel) // stride + 1
            image, weight = meta(batch, into, size, size), meta(out, into, kernel, kernel)
            args = (image, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1)
            call = (aten.convolution.default, args, meta(batch, out, length, length))
            seconds = float(line["Latency"]) / 1e3 - LOOKUP
            if seconds > SHORTEST_CONVOLUTION:
                rows.append(Row(card, "conv", CONVOLUTION, seconds, call, (batch, into, out, size)))
    return rows


Loss = Callable[[list[float]], float]


def compass(loss: Loss, start: list[float], step: float, least: float) -> list[float]:
    """Return the point near `start` where `loss` is least: each coordinate in turn, a step up or down, ever smaller steps."""
    point, best, steps = list(start), loss(start), [step] * len(start)
    while max(steps) > least:
        for i, width in enumerate(steps):
            for sign in (1, -1):
                tried = [*point[:i], point[i] * exp(sign * width), *point[i + 1 :]]
                found = loss(tried)
                if found < best:
                    point, best = tried, found
                    break
            else:
                steps[i] /= 2
    return point


def with_fraction(card: Card, field: str, fraction: float) -> Card:
    """Return the card with another `reached_fp32` or `reached_memory`."""
    change: Any = {field: fraction}
    return replace(card, **change)


class Fit:
    """Constants and the cards' own fractions, from some latencies of some cards."""

    def __init__(self, rows: list[Row], cards: list[Card], constants: Constants = START):
        self.rows: dict[tuple[str, int], list[Row]] = defaultdict(list)
        for row in rows:
            self.rows[row.card, row.family].append(row)
        self.cards = {card.name: card for card in cards}
        self.constants = constants
        for name in self.cards:
            self._reach(name, GENERIC)
        self._search(MATMUL, ["linear.whole", "linear.ramp", "stride"], reach=True)
        self._search(BATCHED, ["batched.gain", "batched.whole", "batched.ramp", "batched.small"])
        self._search(ROWS, ["rows.share", "rows.edge", "rows.norm", "rows.soft"])

    def _reach(self, name: str, family: int) -> float:
        """Set the fraction of a card's peak at which the median error is none; return the mean error then."""
        field = "reached_memory" if family == GENERIC else "reached_fp32"
        card, rows = self.cards[name], self.rows[name, family]
        for _ in range(3):
            now = getattr(card, field) or 0.8
            card = with_fraction(card, field, now)
            card = with_fraction(card, field, min(1.0, now * exp(median(errors(rows, card, self.constants)))))
        self.cards[name] = replace(card, evidence=LATENCIES)
        return mean(map(abs, errors(rows, card, self.constants)))

    def _search(self, family: int, names: list[str], reach: bool = False) -> None:
        def loss(values: list[float]) -> float:
            self.constants = changed(before, names, values)
            return mean(
                self._reach(card, family)
                if reach
                else mean(map(abs, errors(self.rows[card, family], self.cards[card], self.constants)))
                for card in self.cards
                if self.rows[card, family]
            )

        if not any(self.rows[card, family] for card in self.cards):
            return
        before = self.constants
        best = compass(loss, [attrgetter(name)(before) for name in names], 0.3, 0.02)
        loss(best)


def convolve(rows: dict[str, list[Row]], cards: dict[str, Card], constants: Constants) -> Constants:
    """Return constants with the part of the peak that convolutions reach at most, fitted to those of some cards."""
    names = ["convolutions.direct", "convolutions.winograd"]

    def loss(values: list[float]) -> float:
        now = changed(constants, names, values)
        return mean(mean(map(abs, errors(rows[card], cards[card], now))) for card in rows)

    return changed(constants, names, compass(loss, [1.0, 1.0], 0.3, 0.02))


def convolutions(folder: Path, cards: dict[str, Card]) -> None:
    """Print how far off convolutions in float32 are, each card left out in turn, and one that is never fitted."""
    torch.backends.cudnn.allow_tf32 = False
    rows = {card: read_convolutions(folder, card) for card in cards if (folder / f"{card}.csv").exists()}
    print("\n| convolutions in float32 | n | mean error | bias |\n|---|---|---|---|")
    for card in [*rows, NEVER]:
        found = convolve({name: rows[name] for name in rows if name != card}, cards, FITTED)
        tried = read_convolutions(folder, card)
        ratios = [exp(value) - 1 for value in errors(tried, cards.get(card) or find(card), found)]
        print(f"| {card} | {len(ratios)} | {mean(map(abs, ratios)):.1%} | {median(ratios):+.1%} |")
    print("convolutions:", convolve(rows, cards, FITTED).convolutions)


def changed(constants: Constants, names: list[str], values: list[float]) -> Constants:
    """Return constants of which some have other values; shares stay at most 1."""
    for name, value in zip(names, values, strict=True):
        first, _, second = name.partition(".")
        value = min(value, 1.0) if second in ("whole", "small") else value
        change: Any = {first: getattr(constants, first)._replace(**{second: value}) if second else value}
        constants = constants._replace(**change)
    return constants


def law(without: str) -> tuple[float, float]:
    """Return (fraction at 10 W for each TFLOP/s, slope) of reached_fp32 over the benchmarked cards, one chip left out."""
    published = INDEPENDENT | UNSEEN
    benchmarked = [card for card in gpus() if card.evidence == BENCHMARK or card.name in INDEPENDENT]
    points = [
        (log(card.watts / (card.fp32 / TERA) / 10), log(published.get(card.name, (card.reached_fp32,))[0]))
        for card in benchmarked
        if card.watts and card.reached_fp32 and chip(card.name) != without
    ]
    x, y = mean(p[0] for p in points), mean(p[1] for p in points)
    slope = sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
    return exp(y - slope * x), slope


def chip(name: str) -> str:
    """Return the chip's short name: A100 for all its boards."""
    return name.replace("-", " ").split()[1]


def unmeasured(card: Card, independent: bool) -> Card:
    """Return a card as its datasheet has it, with the independent benchmark's fractions where that exists."""
    fp32, memory = (INDEPENDENT | UNSEEN).get(card.name, (None, None)) if independent else (None, None)
    if fp32 is not None:
        return replace(card, reached_fp32=fp32, reached_memory=memory, evidence=BENCHMARK)
    at_ten, slope = law(chip(card.name))
    fraction = at_ten * ((card.watts or 0) / (card.fp32 / TERA) / 10) ** slope
    fraction = min(MOST, max(LEAST, fraction))
    return replace(card, reached_fp32=fraction, reached_memory=None, evidence=DATASHEET)


class Line(NamedTuple):
    """One line of a table: a card, what is known of it, a family of operators, the logarithms of estimate / measured.

    `ranges` says of each latency whether the range holds it, and high / low; `bare` is the datasheet's roofline.
    """

    card: str
    known: str
    family: int
    logs: list[float]
    ranges: list[tuple[bool, float]]
    bare: list[float]


def line_of(rows: list[Row], card: Card, constants: Constants, family: int) -> Line:
    """Try one card on one family."""
    rows = [row for row in rows if row.card == card.name and row.family == family]
    costs, ranges, bare = CardCosts(card, constants), [], []
    for row in rows:
        function, args, out = row.call
        _, flops, moved, work, *_ = costs.operator(function, args, {}, out)
        bare.append(log(max(flops / card.fp32, moved / card.bandwidth) / row.seconds))
        spread = spread_of(card, family)
        low, high = STOPWATCH + work / spread, STOPWATCH + work * spread
        ranges.append((low <= row.seconds <= high, high / low))
    return Line(card.name, card.evidence or DATASHEET, family, errors(rows, card, constants), ranges, bare)


def table(title: str, lines: list[Line]) -> None:
    """Print the errors of each card and family, and of all together."""
    print(f"\n{title}")
    print(
        "| card | known by | operators | n | mean error | bias | in the range | high / low | bare roofline |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    lines = [line for line in lines if line.logs]
    for line in lines:
        print(f"| {line.card} | {line.known} " + summary([line]))
    for family in FAMILIES:
        if any(line.family == family for line in lines):
            print("| all | " + summary([line for line in lines if line.family == family]))
    print("| all | " + summary(lines, "all"))


def summary(lines: list[Line], name: str = "") -> str:
    """Return the cells of a table's line."""
    all_of = merged(lines)
    ratios = [exp(value) - 1 for value in all_of.logs]
    return (
        f"| {name or FAMILIES[all_of.family]} | {len(ratios)} | {mean(map(abs, ratios)):.1%} | {mean(ratios):+.1%} "
        f"| {mean(held for held, _ in all_of.ranges):.0%} | {median(width for _, width in all_of.ranges):.2f} "
        f"| {mean(abs(exp(value) - 1) for value in all_of.bare):.0%} |"
    )


def other_sizes(rows: list[Row], cards: list[Card]) -> list[Line]:
    """Fit on the smaller half of each operator's sizes and try the larger half, then the other way round."""
    halves: tuple[list[Row], list[Row]] = [], []
    for card in cards:
        for name in {row.name for row in rows}:
            chosen = [row for row in rows if (row.card, row.name) == (card.name, name)]
            chosen.sort(key=lambda row: row.seconds)
            halves[0].extend(chosen[: len(chosen) // 2])
            halves[1].extend(chosen[len(chosen) // 2 :])
    fits = [(Fit(fitted, cards), tried) for fitted, tried in (halves, halves[::-1])]
    return [merged([line_of(tried, fit.cards[card.name], fit.constants, family) for fit, tried in fits])
            for card in cards for family in FAMILIES]  # fmt: skip


def merged(lines: list[Line]) -> Line:
    """Return several lines as one, named as the first of them."""
    logs = [value for line in lines for value in line.logs]
    ranges = [value for line in lines for value in line.ranges]
    return lines[0]._replace(logs=logs, ranges=ranges, bare=[value for line in lines for value in line.bare])


def other_cards(rows: list[Row], cards: list[Card]) -> tuple[list[Line], list[Line]]:
    """Leave each card out in turn: shared constants from the others, its fractions from a benchmark, or from the datasheet."""
    lines: tuple[list[Line], list[Line]] = [], []
    for card in cards:
        others = [other for other in cards if other is not card]
        fit = Fit([row for row in rows if row.card != card.name], others)
        for independent, found in ((True, lines[0]), (False, lines[1])):
            bare = unmeasured(card, independent)
            if independent == (bare.evidence == BENCHMARK):
                found += [line_of(rows, bare, fit.constants, family) for family in FAMILIES]
    return lines


def widths(title: str, lines: list[Line], left_out: set[str]) -> None:
    """Print the factors that hold the truth nine times in ten, products on some cards left out."""
    found = []
    for family in FAMILIES:
        product = family in (MATMUL, BATCHED)
        tried = [line for line in lines if line.family == family and not (product and line.card in left_out)]
        sizes = sorted(abs(value) for line in tried for value in line.logs)
        if sizes:
            found.append(f"{NAMES[family]}: {exp(sizes[int(0.9 * len(sizes))]):.2f}")
    print(f"{title}: {', '.join(found)}")


def tried(rows: list[Row], names: list[str]) -> list[Line]:
    """Try the package's constants; a card in UNSEEN has the benchmark's fractions, another those of the catalogue."""
    cards = [unmeasured(find(name), True) if name in UNSEEN else find(name) for name in names]
    return [line_of(rows, card, FITTED, family) for card in cards for family in FAMILIES]


def main() -> None:
    """Print the held-out tables, the spreads and the constants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("latencies", type=Path, help="CSV with op, gpu, latency_ms, dim0 to dim3")
    parser.add_argument("--unseen", type=Path, help="NeuSight's scripts/asplos/data/dataset/test")
    parser.add_argument(
        "--convolutions", type=Path, help="NeuSight's folder of convolutions, and nothing else then"
    )
    given = parser.parse_args()
    rows = read(given.latencies)
    cards = [*PASCAL, *(find(name) for name in INDEPENDENT)]
    if given.convolutions:
        convolutions(given.convolutions, Fit(rows, cards).cards)
        return
    sizes = other_sizes(rows, cards)
    table("Sizes held out: fitted on the smaller half, tried on the larger, and the other way round", sizes)
    bench, sheets = other_cards(rows, cards)
    table("Cards held out in turn, their fractions from an independent benchmark", bench)
    table("Cards held out in turn, with the datasheet alone", sheets)
    if given.unseen:
        unseen = read_unseen(given.unseen, rows)
        for title, names in (
            ("Sizes that no fit has seen, with the constants as the package holds them", INDEPENDENT),
            ("Cards that no fit has seen, their fractions from an independent benchmark", UNSEEN),
        ):
            table(title, tried(unseen, [*names]))
    print("\nFactors that hold the truth nine times in ten, for devicelab.costs.reached")
    low, old = {card.name for card in cards if (card.watts or 0) < LOW_WATTS}, {card.name for card in PASCAL}
    for name, lines in ((LATENCIES, sizes), (BENCHMARK, bench), (DATASHEET, sheets)):
        widths(name, lines, low | old)
    widths("LOW_POWER", sizes + bench, {card.name for card in cards} - low | old)
    widths("BEFORE_VOLTA", sizes, {card.name for card in cards} - old)
    print("AT_TEN, SLOPE = {:.2f}, {:.2f}".format(*law("")))
    fit = Fit(rows, cards)
    print("FITTED =", fit.constants)
    for card in fit.cards.values():
        print(f"{card.name}: reached_fp32={card.reached_fp32:.3f}, reached_memory={card.reached_memory:.3f}")


if __name__ == "__main__":
    main()
