"""The fitting script: it finds the constants that made up latencies, and what it holds out teaches it nothing."""

import csv
import math
import runpy
from pathlib import Path

import pytest

from devicelab.costs import CardCosts
from devicelab.costs.kernels import FITTED
from devicelab.gpus import find

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fit_costs.py"
FIT = runpy.run_path(str(SCRIPT))
LINEAR = [
    (1, rows, inner, columns)
    for rows in (512, 2048, 8192)
    for inner in (1024, 4096)
    for columns in (1024, 3072)
]
POINTWISE = [(16384, width) for width in (1024, 2048, 4096, 8192)]


def made_up(card, constants=FITTED, slower=1.0):
    """Return rows whose latencies are those of the model itself."""
    rows = []
    for name, sizes in (("linear", LINEAR), ("add", POINTWISE)):
        for size in sizes:
            _, (function, args, out) = FIT["call_of"](name, size)
            work = CardCosts(card, constants).operator(function, args, {}, out).work
            rows.append(
                FIT["row_of"](card.name, name, str(1e3 * (FIT["STOPWATCH"] + work * slower)), map(str, size))
            )
    return rows


def test_the_dimensions_are_batch_rows_inner_columns():
    _, (_, (bias, rows, weight), out) = FIT["call_of"]("linear", (2, 3, 5, 7))
    assert (bias.shape, rows.shape, weight.shape, out.shape) == ((7,), (6, 5), (5, 7), (6, 7))
    _, (_, (first, second), out) = FIT["call_of"]("bmm", (2, 3, 5, 7))
    assert (first.shape, second.shape, out.shape) == ((2, 3, 5), (2, 5, 7), (2, 3, 7))


def test_errors_are_the_logarithms_of_estimate_over_measured():
    card = find("V100-PCIE-32GB")
    assert FIT["errors"](made_up(card), card, FITTED) == pytest.approx([0.0] * 16)
    assert min(FIT["errors"](made_up(card, slower=0.5), card, FITTED)) > math.log(1.5)


def test_the_search_finds_what_made_the_latencies():
    card = find("V100-PCIE-32GB")
    fit = FIT["Fit"](made_up(card), [FIT["with_fraction"](card, "reached_fp32", 0.5)])
    found = fit.cards[card.name]
    assert found.reached_fp32 == pytest.approx(card.reached_fp32, rel=0.05)
    assert found.reached_memory == pytest.approx(card.reached_memory, rel=0.01)
    assert fit.constants.linear.whole == pytest.approx(FITTED.linear.whole, abs=0.15)


def test_a_card_that_is_held_out_loses_its_fitted_fractions():
    for name in ("T4", "V100-PCIE-32GB"):
        card = find(name)
        independent, bare = (FIT["unmeasured"](card, known) for known in (True, False))
        assert independent.reached_fp32 == FIT["INDEPENDENT"][card.name][0] != card.reached_fp32
        assert (bare.reached_memory, bare.evidence) == (None, "datasheet")
        assert bare.reached_fp32 not in (card.reached_fp32, independent.reached_fp32)


def test_the_law_for_unmeasured_cards_leaves_out_the_chip_that_is_tried():
    assert FIT["law"]("T4") != FIT["law"]("A100") != FIT["law"]("")


def test_what_was_fitted_is_not_among_the_unseen(tmp_path):
    seen = [FIT["row_of"]("Tesla T4", "linear", "5", ("1", "512", "512", "512"))]
    header = ["OPName", "Latency", "Device", "B", "M", "N", "K", "H"]
    for name in ("linear", "bmm", "ln", "softmax", "elem"):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(header)
            if name == "linear":
                lines.writerow(["linear", 5, "Tesla T4", 1, 512, 512, 512, ""])
                lines.writerow(["linear", 6, "Tesla T4", 1, 512, 512, 1024, ""])
                lines.writerow(["linear", 0.01, "Tesla T4", 1, 8, 8, 8, ""])
    unseen = FIT["read_unseen"](tmp_path, seen)
    assert [row.size for row in unseen] == [(1, 512, 512, 1024)]
