"""The catalogue of cards: names, short names, and figures that agree with what is written about them elsewhere."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from devicelab import simulate_gpu
from devicelab.costs import CardCosts
from devicelab.errors import InputError
from devicelab.gpus import Card, Catalogue, find, from_sheet, gpus

SOURCES = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
GIB = 2**30


@pytest.mark.parametrize(
    ("short", "name"),
    [
        ("T4", "Tesla T4"),
        ("tesla t4", "Tesla T4"),
        ("l4", "NVIDIA L4"),
        ("A10", "NVIDIA A10"),
        ("RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("5090", "NVIDIA GeForce RTX 5090"),
        ("H100", "NVIDIA H100 80GB HBM3"),
        ("a100 80gb pcie", "NVIDIA A100 80GB PCIe"),
        ("V100 SXM2", "Tesla V100-SXM2-16GB"),
    ],
)
def test_a_short_name_that_fits_one_card_finds_it(short, name):
    assert find(short).name == name


def test_a_short_name_that_fits_several_lists_them():
    with pytest.raises(
        InputError, match=r"fits .*A100-PCIE-40GB.* or NVIDIA A100-SXM4-80GB\. Give the full name"
    ):
        find("A100")


@pytest.mark.parametrize("name", ["", "GTX 0", "T", "Tesla T4 Ti"])
def test_an_unknown_name_lists_what_is_known(name):
    with pytest.raises(InputError, match=r"No card is called .*Known are Tesla T4, .*NVIDIA B200"):
        find(name)


def test_every_family_that_the_course_names_is_there():
    wanted = ["T4", "L4", "A10", "A100", "V100", "RTX 3060", "RTX 4090", "RTX 5090", "H100", "H200", "B200"]
    assert [family for family in wanted if not any(family in name for name in gpus().names)] == []


# What NVIDIA's data sheets print: fp32 and fp16 TFLOP/s, GB/s, watts. Typed in again here, not read from the code.
SHEETS = {
    "Tesla T4": (8.1, 65, 320, 70),
    "Tesla V100-SXM2-16GB": (15.7, 125, 900, 300),
    "NVIDIA A100-PCIE-40GB": (19.5, 312, 1555, 250),
    "NVIDIA A100-SXM4-80GB": (19.5, 312, 2039, 400),
    "NVIDIA L4": (30.3, 121, 300, 72),
    "NVIDIA A10": (31.2, 125, 600, 150),
    "NVIDIA H100 80GB HBM3": (67, 989, 3350, 700),
    "NVIDIA H200": (67, 989, 4800, 700),
}


@pytest.mark.parametrize(("name", "sheet"), SHEETS.items())
def test_figures_are_those_of_the_data_sheet(name, sheet):
    card = find(name)
    assert card.fp16 is not None
    assert (card.fp32 / 1e12, card.fp16 / 1e12, card.bandwidth / 1e9, card.watts) == pytest.approx(
        sheet, rel=0.002
    )


# Cards of one family, the older or smaller first: each is at least as quick as those before it, in every precision.
ORDERS = [
    ["Tesla V100-SXM2-16GB", "NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3", "NVIDIA H200",
     "NVIDIA B200"],
    ["Tesla V100-PCIE-32GB", "NVIDIA A100-PCIE-40GB", "NVIDIA A100 80GB PCIe"],
    ["Tesla T4", "NVIDIA A10"],
    ["Tesla T4", "NVIDIA L4"],
    ["NVIDIA GeForce RTX 3060", "NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 5090"],
]  # fmt: skip
PRECISIONS = {"float32": "fp32", "float64": "fp64", "float16": "fp16", "bfloat16": "bf16", "tf32": "tf32"}
# Where the newer card is the slower one, and why.
SLOWER = {
    (
        "NVIDIA H100 80GB HBM3",
        "NVIDIA B200",
        "float64",
    ): "Blackwell has no more than its plain units for float64 products",
    ("NVIDIA H200", "NVIDIA B200", "float64"): "as above",
}


def pairs():
    return [(old, new) for order in ORDERS for i, new in enumerate(order) for old in order[:i]]


def speed(card, precision):
    """FLOP/s of a large product, as an estimate counts it."""
    costs = CardCosts(card)
    if precision == "tf32":
        return 1 / costs._per_flop_tf32 if costs._per_flop_tf32 else 0.0
    return 1 / costs._per_flop[getattr(torch, precision)]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_newer_or_larger_card_of_a_family_is_not_slower(precision):
    slower = {
        (old, new, precision)
        for old, new in pairs()
        if speed(find(new), precision) < 0.999 * speed(find(old), precision)
    }
    field = PRECISIONS[precision]
    sheets = {
        (old, new, precision)
        for old, new in pairs()
        if (getattr(find(new), field) or 0) < 0.999 * (getattr(find(old), field) or 0)
    }
    assert slower | sheets == {one for one in SLOWER if one[2] == precision}


def test_every_card_of_the_catalogue_stands_in_a_family():
    assert {name for order in ORDERS for name in order} == set(gpus().names)


def test_every_card_that_has_tensor_cores_has_their_figures():
    for card in gpus():
        wanted = ("fp16",) if card.capability < (8, 0) else ("fp16", "bf16", "tf32")
        assert all(getattr(card, field) for field in (*wanted, "fp64")), card.name


@pytest.mark.parametrize(
    ("name", "field", "tflops"),
    [
        ("NVIDIA A10", "fp64", 0.488), ("NVIDIA B200", "fp32", 75), ("NVIDIA B200", "fp64", 37),
        ("NVIDIA A100 80GB PCIe", "fp64_tensor", 19.5), ("NVIDIA H100 80GB HBM3", "fp64_tensor", 66.9),
        ("NVIDIA GeForce RTX 5090", "bf16", 209.6), ("NVIDIA GeForce RTX 3060", "fp16", 25.5),
    ],
)  # fmt: skip
def test_figures_that_were_wrong_or_missing(name, field, tflops):
    assert getattr(find(name), field) == pytest.approx(tflops * 1e12)
    assert find("B200").bandwidth == 7.7e12


def test_a_product_in_double_precision_uses_tensor_cores_where_there_are_any():
    a100 = find("NVIDIA A100-SXM4-80GB")
    assert speed(a100, "float64") == pytest.approx(
        2 * speed(replace(a100, fp64_tensor=None), "float64"), rel=0.02
    )


# What torch printed as total capacity on real cards (the messages are listed in docs/sources.md).
CAPACITIES = {
    "Tesla T4": "14.74",
    "NVIDIA A100-SXM4-40GB": "39.50",
    "NVIDIA A100-SXM4-80GB": "79.25",
    "NVIDIA A10": "22.06",
    "NVIDIA L4": "22.03",
    "NVIDIA GeForce RTX 4090": "23.52",
    "NVIDIA GeForce RTX 5090": "31.37",
}


@pytest.mark.parametrize(("name", "capacity"), CAPACITIES.items())
def test_memory_is_what_torch_reports_not_what_the_box_says(name, capacity):
    assert f"{find(name).total_memory / GIB:.2f}" == capacity


@pytest.mark.parametrize("card", list(gpus()), ids=lambda card: card.name)
def test_figures_are_possible(card):
    for field in fields(Card):
        value = getattr(card, field.name)
        assert value is None or value != 0, f"{field.name} is unknown: write None"
    assert all(0 < (part or 0.5) <= 1 for part in (card.reached_fp32, card.reached_memory, card.reached_half))
    assert (card.link is None) == (card.link_name is None)
    if card.tf32 and card.bf16:
        assert card.bf16 == pytest.approx(2 * card.tf32, rel=0.03)  # tensor cores take bf16 twice as fast


@pytest.mark.parametrize("card", list(gpus()), ids=lambda card: card.name)
def test_every_card_has_its_line_among_the_sources(card):
    section = SOURCES.split("\n## Cards")[1].split("\n## ")[0]
    rows = " ".join(re.findall(r"(?m)^\| ([^|]+) \|", section))  # the first column alone
    words = [
        word for word in re.split("[- ]", card.name) if word not in ("NVIDIA", "Tesla", "GeForce", "RTX")
    ]
    assert re.search(rf"\b{words[0]}\b", rows), f"{card.name} has no source"
    assert card.threads, f"THREADS lacks {card.capability}"


SHEET = {"name": "My card", "memory": 12, "fp32": 20, "bandwidth": 500}


def catalogue() -> Catalogue:
    return Catalogue(list(gpus()))


def test_a_card_of_ones_own_can_be_added_and_replaced():
    mine, cards = replace(find("T4"), name="My card", fp32=1e12), catalogue()
    assert cards.add(mine) is mine
    assert cards.find("my card") is mine
    cards.add(replace(mine, fp32=2e12), replace=True)
    assert cards.find("My card").fp32 == 2e12
    assert len(cards) == len(gpus()) + 1


def test_a_card_of_ones_own_can_be_given_as_its_datasheet_prints_it():
    card = catalogue().add(**SHEET, tf32=40, fp16=80, watts=200, l2=32, link=31.5, link_name="PCIe 4.0 x16")
    assert (card.total_memory, card.fp32, card.tf32, card.fp16) == (12 * GIB, 20e12, 40e12, 80e12)
    assert (card.bandwidth, card.link, card.watts, card.l2_bytes) == (500e9, 31.5e9, 200, 32 * 2**20)
    assert (card.reached_fp32, card.reached_memory, card.bf16, card.fp64, card.evidence) == (None,) * 5


def test_ones_own_measurements_become_fractions_of_the_datasheet():
    card = catalogue().add(**SHEET, fp16=80, measured_fp32=12, measured_copy=400, measured_half=60)
    assert (card.reached_fp32, card.reached_memory, card.reached_half) == (0.6, 0.8, 0.75)
    assert card.evidence == "benchmark"


def test_an_added_card_can_be_simulated():
    name = "Card of one test"
    gpus().add(**(SHEET | {"name": name}))
    try:
        with simulate_gpu(name):
            assert torch.cuda.get_device_name() == name
            assert torch.cuda.get_device_properties(0).total_memory == 12 * GIB
    finally:
        del gpus()._cards[name]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"fp32": 8.1e12},
            r"fp32 is given in TFLOP/s, between 0\.1 and 1,000, but it is 8100000000000\.0\. Write it as",
        ),
        (
            {"bandwidth": 320e9},
            r"bandwidth is given in GB/s, between 10 and 50,000, but it is 320000000000\.0",
        ),
        ({"memory": -1}, r"memory is given in GiB, between 0\.5 and 2,048, but it is -1"),
        ({"memory": 16 * GIB}, r"memory is given in GiB.*but it is 17179869184"),
        ({"fp32": float("nan")}, r"fp32 is given in TFLOP/s.*but it is nan"),
        ({"fp32": "8.1"}, r"fp32 is given in TFLOP/s.*but it is '8\.1'"),
        ({"speed": 3}, r"speed is no figure of a card\. Known are name, .*measured_copy"),
        (
            {"measured_fp32": 21},
            r"measured_fp32 is 21, more than the 20 that the datasheet promises for fp32",
        ),
        ({"measured_half": 10}, r"measured_half needs fp16 too"),
        ({"name": ""}, r'name must be a name such as "My card", but it is \'\'\.'),
        ({"name": "Tesla T4"}, r"Tesla T4 is in the catalogue\. Choose another name, or say replace=True"),
    ],
)
def test_a_figure_that_cannot_be_meant_is_refused(given, words):
    with pytest.raises(InputError, match=words):
        catalogue().add(**(SHEET | given))


def test_what_is_needed_is_named():
    with pytest.raises(
        InputError,
        match=r"needs memory \(GiB\), fp32 \(TFLOP/s\), bandwidth .*; memory or bandwidth is missing",
    ):
        catalogue().add(name="My card", fp32=8)


@pytest.mark.parametrize("given", [{}, SHEET | {"card": find("T4")}])
def test_a_card_and_keywords_do_not_mix(given):
    with pytest.raises(InputError, match="either a Card, or keywords"):
        catalogue().add(**given)


@pytest.mark.parametrize("card", list(gpus()), ids=lambda card: card.name)
def test_what_a_card_reaches_says_how_that_is_known(card):
    reached = (card.reached_fp32, card.reached_memory, card.reached_half)
    assert card.evidence in ("latencies", "benchmark") if any(reached) else card.evidence is None


def test_the_catalogue_reads_as_a_table():
    lines = str(gpus()).splitlines()
    assert len(lines) == len(gpus()) + 2
    assert lines[1].split() == [
        "Tesla",
        "T4",
        "14.7",
        "GiB",
        "8.1",
        "TFLOP/s",
        "65.0",
        "TFLOP/s",
        "320",
        "GB/s",
        "PCIe",
        "3.0",
        "x16",
    ]
    assert max(map(len, lines)) <= 100


def test_figures_that_are_wide_do_not_run_into_each_other():
    lines = str(
        Catalogue(
            [*gpus(), from_sheet(name="Big", memory=2_048, fp32=999.9, fp16=19_999.9, bandwidth=49_999)]
        )
    )
    rows = lines.splitlines()[1:-1]
    assert " ".join(rows[-1].split()) == "Big 2048.0 GiB 999.9 TFLOP/s 19,999.9 TFLOP/s 49,999 GB/s -"
    assert all(row.count("TFLOP/s ") == row.count("TFLOP/s") for row in rows)


def test_in_a_notebook_the_catalogue_is_a_table():
    shown = gpus()._repr_html_()
    assert shown.count("<tr>") == len(gpus()) + 1 and '<th scope="row"' in shown
    assert ">65.0 TFLOP/s<" in shown and "docs/sources.md" in shown and "<pre" not in shown
