"""The catalogue of cards: names, short names, and figures that agree with what is written about them elsewhere."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from devicelab.errors import InputError
from devicelab.gpus import Card, Catalogue, find, gpus

SOURCES = (Path(__file__).parent.parent / "docs" / "sources.md").read_text(encoding="utf-8")
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


@pytest.mark.parametrize("name", ["", "GTX 1080", "T", "Tesla T4 Ti"])
def test_an_unknown_name_lists_what_is_known(name):
    with pytest.raises(InputError, match=r"No card is called .*Known are Tesla T4, .* or NVIDIA B200"):
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
    words = [
        word
        for word in card.name.replace("-", " ").split()
        if word not in ("NVIDIA", "Tesla", "GeForce", "RTX")
    ]
    assert words[0] in section, f"{card.name} has no source"


def test_a_card_of_ones_own_can_be_added_and_replaced():
    mine = replace(find("T4"), name="My card", fp32=1e12)
    catalogue = Catalogue(list(gpus()))
    catalogue.add(mine)
    assert catalogue.find("my card") is mine
    catalogue.add(replace(mine, fp32=2e12))
    assert catalogue.find("My card").fp32 == 2e12
    assert len(catalogue) == len(gpus()) + 1


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
