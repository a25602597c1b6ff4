"""The published times: each row keeps to the schema, has a source, and says why where it is not graded."""

import json
from collections import Counter

import jsonschema
import pytest

from benchmarks import bench_whole_models as bench
from benchmarks import published
from devicelab.gpus import gpus

SCHEMA = json.loads((published.FOLDER / "schema.json").read_text(encoding="utf-8"))
README = (published.FOLDER / "README.md").read_text(encoding="utf-8")
ROWS = published.times()


def test_every_row_keeps_to_the_schema():
    check = jsonschema.Draft202012Validator(SCHEMA)
    rows = published.cells()
    assert len(rows) > 100 and [error.message for row in rows for error in check.iter_errors(row)] == []
    assert not check.is_valid(rows[0] | {"use": "liked"}) and not check.is_valid(rows[0] | {"seconds": 1})


def test_every_row_has_a_source_and_every_source_says_how_it_measured():
    sources = published.sources()["sources"]
    assert {row.source for row in ROWS} == set(sources)
    for name, source in sources.items():
        assert all(source.get(key) for key in ("address", "licence", "method", "caveats", "trust")), name


def test_cards_are_those_of_the_catalogue_and_a_time_is_possible():
    peaks = {card.name: max(card.fp16 or 0, card.bf16 or 0, card.fp32) for card in gpus()}
    assert {row.card for row in ROWS} <= set(peaks)
    assert all(0 < row.seconds < 60 for row in ROWS)
    for row in ROWS:
        if row.mode == "product":
            rows, columns, inner = row.sizes
            assert 2 * rows * columns * inner / row.seconds < peaks[row.card]


def test_what_is_not_graded_says_why_and_what_is_graded_needs_no_excuse():
    assert all(bool(row.why) == (row.use != "graded") for row in ROWS)
    assert not any(row.batch == 1 and row.source == "nvidia-dle" and row.use == "graded" for row in ROWS)
    assert {row.origin for row in ROWS} == {"published"}


def test_a_time_that_the_host_bounds_is_as_long_as_a_batch_of_one():
    dle = [row for row in ROWS if row.source == "nvidia-dle"]
    ones = {(row.card, row.precision): row.seconds for row in dle if row.batch == 1}
    for row in dle:
        assert (row.seconds < 1.3 * ones[row.card, row.precision]) == (row.use == "host-bound"), row


def test_no_row_stands_twice():
    assert [row for row, count in Counter(ROWS).items() if count > 1] == []


def test_what_is_left_out_is_listed_with_a_reason():
    left_out = published.sources()["not_used"]
    assert left_out and all(one["rows"] and one["why"] for one in left_out)
    assert all(f"| {one['source']} | {one['rows']} | {one['why']} |" in README for one in left_out)


def test_the_printed_estimates_are_those_of_these_rows():
    kept = json.loads(bench.KEPT.read_text(encoding="utf-8"))
    assert Counter((one["card"], one["model"], one["published"]) for one in kept) == Counter(
        (row.card, row.model, row.seconds) for row in ROWS
    )


@pytest.mark.parametrize("model", ["resnet18", "vit_tiny_patch16_224"])
def test_a_kept_estimate_is_what_is_estimated_today(model):
    row = next(row for row in ROWS if row.model == model and row.use == "graded")
    kept = next(
        one for one in json.loads(bench.KEPT.read_text(encoding="utf-8")) if one["published"] == row.seconds
    )
    assert published.estimate(row).seconds == pytest.approx(kept["estimated"], rel=0.02)


def test_a_step_is_built_as_it_was_published():
    row = next(
        row
        for row in ROWS
        if row.model == "resnet50" and row.mode == "training step" and row.source == "timm"
    )
    found = published.estimate(row)
    assert found.steps == 1 and found.flops == pytest.approx(3 * 2 * 4.1e9 * row.batch, rel=0.03)


@pytest.mark.parametrize("card", ["Tesla T4", "Tesla V100-SXM2-16GB"])
def test_a_resnet_in_float32_and_in_mixed_precision_is_within_a_fifth(card):
    rows = [row for row in ROWS if row.card == card and row.model == "resnet50v1.5" and row.batch == 128]
    assert {row.precision for row in rows} == {"float32", "amp"}
    for row in rows:
        found = published.estimate(row)
        assert found.seconds == pytest.approx(row.seconds, rel=0.2) and found.low <= row.seconds <= found.high
