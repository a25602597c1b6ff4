"""Whole models on real cards: published times beside what `lab.estimate` says of them.

    python -m benchmarks.bench_whole_models          # every row of recordings/published, about five minutes
    python -m benchmarks whole_models                # the mean errors beside their bounds

Nothing is computed: the models lie on meta. NeuSight's runs and the Llamas need the `transformers` library (the extra
`interop`); without it their rows are left out: the first command says so, the second prints no mean for them. What the first
printed last is kept by `--keep` in `estimates.json` beside the published times: the tables of docs/estimates.md and of lesson 05
are made from it (`python -m tools.notebooks.published`).
"""

import argparse
import json
from collections.abc import Iterator
from importlib.util import find_spec
from statistics import mean
from typing import Any

from benchmarks import published
from benchmarks.published import Published

KEPT = published.FOLDER / "estimates.json"
# What the mean error of a group should not exceed; five parts of a hundred are the goal for whole language models.
BOUNDS = {"neusight": 0.07, "timm": 0.12, "nvidia-dle": 0.15}


def graded(name: str) -> list[Published]:
    """Return the rows of one source by which estimates are graded."""
    return [row for row in published.times() if row.source == name and row.use == "graded"]


def line(row: Published) -> dict[str, Any]:
    """Return a row and its estimate as plain data, times in seconds."""
    found = published.estimate(row)
    times = {
        "estimated": found.seconds, "low": found.low, "high": found.high,
        "trained_network": row.trained_network_s, "roofline": row.roofline_s or bare(found, row.precision),
    }  # fmt: skip
    names = ("card", "model", "mode", "precision", "layout", "batch", "length", "source", "date", "use")
    run = {name: getattr(row, name) for name in names} | {"published": row.seconds}
    return run | {name: seconds and float(f"{seconds:.5g}") for name, seconds in times.items()}


def bare(found: Any, precision: str) -> float:
    """Return the roofline of the data sheet: all operations at the peak of the precision, or all bytes at the full bandwidth."""
    peak = {
        "amp": found.card.fp16,
        "float16": found.card.fp16,
        "bfloat16": found.card.bf16,
        "tf32": found.card.tf32,
    }
    return max(found.flops / (peak.get(precision) or found.card.fp32), found.bytes / found.card.bandwidth)


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield the mean error of each source, and its bound."""
    for name, bound in BOUNDS.items():
        rows = graded(name)
        if rows and not (rows[0].library and find_spec("transformers") is None):
            found = [line(row) for row in rows]
            yield (
                f"whole models, estimated beside {name}'s times: mean error",
                mean(abs(error(one)) for one in found),
                bound,
            )


def error(one: dict[str, Any]) -> float:
    """Return how far the estimate is off, as a part of the published time."""
    return one["estimated"] / one["published"] - 1


def text(one: dict[str, Any]) -> str:
    """Return one line of the table."""
    held = one["low"] <= one["published"] <= one["high"]
    network = f"{one['trained_network'] * 1e3:10.1f}" if one["trained_network"] else f"{'-':>10}"
    what = f"{one['model']}, {one['mode']}, {one['precision']}, {one['layout'] if one['length'] == 224 else one['length']}"
    times = f"{one['published'] * 1e3:10.1f}{one['estimated'] * 1e3:10.1f}{error(one):+8.0%} {'in ' if held else 'out'}"
    return f"{one['card'][-20:]:21}{what:62}{one['batch']:5}{times}{network}{one['roofline'] * 1e3:10.1f}  {one['source']}"


def main() -> None:
    """Print all rows, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--keep", action="store_true", help="write estimates.json, from which the pages' tables are made"
    )
    given = parser.parse_args()
    print(
        f"{'card':21}{'what':62}{'batch':>5}{'publ. ms':>10}{'est. ms':>10}{'off':>8}     {'network':>10}{'roofline':>9}"
    )
    there = find_spec("transformers") is not None
    lines = []
    for use in ("graded", "shown", "host-bound"):
        print(f"-- {use}")
        for row in published.times():
            if row.use == use and (there or not row.library):
                lines.append(line(row))
                print(text(lines[-1]), flush=True)
    if not there:
        print(
            "Left out: the models of the transformers library, which is not installed (python -m pip install transformers)."
        )
    for name in dict.fromkeys(row.source for row in published.times()):
        mine = [abs(error(one)) for one in lines if one["source"] == name and one["use"] == "graded"]
        if mine:
            print(f"{name}: {len(mine)} graded, mean error {mean(mine):.1%}")
    if given.keep and there:
        KEPT.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
