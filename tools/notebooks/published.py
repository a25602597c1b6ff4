"""The tables of published times: beside our estimates in docs/estimates.md and lesson 05, single moments in 02, 04, 05 and 11.

`python -m benchmarks.bench_whole_models --keep` makes the file that they are read from; this module writes the pages anew:

    python -m tools.notebooks.published
"""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any
from urllib.parse import urlparse

from tools.notebooks.marks import filled
from tools.setup.say import ROOT, say

FOLDER = ROOT / "recordings" / "published"
PAGE, LESSON, CELL = ROOT / "docs" / "estimates.md", ROOT / "notebooks" / "05_is_it_faster.ipynb", "published"
MOMENTS = {
    "02": "published-speed",
    "04": "published-waking",
    "05": "published-compile",
    "11": "published-text",
}  # the cell in each lesson
MODELS = {
    "bert_large": "BERT large",
    "gpt2_large": "GPT-2 large",
    "gpt3_xl": "GPT-3 XL",
    "opt_13": "OPT 1.3B",
}
IN_LESSON = [
    ("Tesla T4", "bert_large", 16, "forward"),
    ("Tesla T4", "gpt2_large", 4, "forward"),
    ("Tesla V100-PCIE-32GB", "bert_large", 8, "forward and backward"),
    ("Tesla V100-PCIE-32GB", "gpt3_xl", 2, "forward"),
    ("NVIDIA GeForce RTX 4090", "resnet50", 1024, "forward"),
    ("NVIDIA GeForce RTX 5090", "vit_large_patch16_224", 1024, "forward"),
    ("NVIDIA A100-SXM4-40GB", "resnet18", 12, "forward and backward"),  # where launching decides
]
Line = dict[str, Any]


def read() -> list[Line]:
    """Return the published times, each with its estimate."""
    return json.loads((FOLDER / "estimates.json").read_text(encoding="utf-8"))


def addresses() -> dict[str, str]:
    """Return where each source lies."""
    sources = json.loads((FOLDER / "sources.json").read_text(encoding="utf-8"))["sources"]
    return {name: source["address"] for name, source in sources.items()}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def off(one: Line, what: str = "estimated") -> float:
    """Return how far a figure is from the published one."""
    return one[what] / one["published"] - 1


def milliseconds(seconds: float) -> str:
    """Return a time in milliseconds, with three digits or more."""
    return f"{seconds * 1e3:,.1f}" if seconds < 1 else f"{seconds * 1e3:,.0f}"


def span(one: Line) -> str:
    """Return an estimate with its range."""
    return f"{milliseconds(one['estimated'])} ({milliseconds(one['low'])} to {milliseconds(one['high'])})"


def name_of(one: Line) -> str:
    """Return what was run, in words."""
    name = MODELS.get(one["model"], one["model"].removesuffix("_patch16_224"))
    order = ", channels last" if one["layout"] == "nhwc" else ""
    return f"{name}, {one['mode'].replace('forward and backward', 'training')}{order}"


RUN = ("card", "model", "precision", "batch", "published, ms", "estimated, ms")


def run_of(one: Line) -> tuple[str, ...]:
    """Return what was run on which card, its time and our estimate."""
    card = one["card"].removeprefix("NVIDIA ").removeprefix("GeForce ")
    times = milliseconds(one["published"]), span(one)
    return (card, name_of(one), one["precision"], str(one["batch"]), *times)


def whole(lines: list[Line]) -> str:
    """Return the table of NeuSight's runs, and the mean of each card."""
    mine = [one for one in lines if one["source"] == "neusight"]
    rows: list[tuple[str, ...]] = [
        (one["card"], name_of(one), str(one["batch"]), milliseconds(one["published"]), span(one), f"{off(one):+.0%}",
         f"{off(one, 'trained_network'):+.0%}", f"{off(one, 'roofline'):+.0%}")
        for one in mine
    ]  # fmt: skip
    for card in [*dict.fromkeys(one["card"] for one in mine), ""]:
        chosen = [one for one in mine if card in one["card"]]
        means = (
            f"{mean(abs(off(one, what)) for one in chosen):.1%}"
            for what in ("estimated", "trained_network", "roofline")
        )
        rows.append((card or "all", "mean error", str(len(chosen)), "", "", *means))
    head = ("card", "model", "batch", "published, ms", "estimated, ms", "off", "trained network", "roofline")
    return table(head, rows)


def others(lines: list[Line]) -> str:
    """Return the table of all other graded rows."""
    links, rows = addresses(), []
    for one in lines:
        if one["use"] == "graded" and one["source"] != "neusight":
            source = f"[{one['source']}]({links[one['source']]}), {one['date'][:7]}"
            rows.append((*run_of(one), f"{off(one):+.0%}", source))
    return table((*RUN, "off", "source"), rows)


def summary(lines: list[Line]) -> str:
    """Return the mean errors by card and precision."""
    groups: dict[tuple[str, str, str], list[Line]] = {}
    for one in lines:
        if one["use"] == "graded":
            kind = "products" if one["mode"] == "product" else "models"
            groups.setdefault((one["card"], one["precision"], kind), []).append(one)
    rows = [
        (card, precision, kind, str(len(found)), f"{mean(abs(off(one)) for one in found):.1%}", f"{mean(map(off, found)):+.1%}",
         f"{sum(one['low'] <= one['published'] <= one['high'] for one in found)} of {len(found)}")
        for (card, precision, kind), found in groups.items()
    ]  # fmt: skip
    return table(("card", "precision", "what", "n", "mean error", "bias", "in the range"), rows)


def bound(lines: list[Line]) -> str:
    """Return the rows that are shown and not graded."""
    rows = [(*run_of(one), one["use"]) for one in lines if one["use"] != "graded"]
    return table((*RUN, "why not graded"), rows)


def lesson(lines: list[Line]) -> str:
    """Return the short table of the lesson."""
    links, rows = addresses(), []
    for card, model, batch, mode in IN_LESSON:
        wanted = {"card": card, "model": model, "batch": batch, "mode": mode}
        one = [one for one in lines if wanted.items() <= one.items()][-1]
        network = milliseconds(one["trained_network"]) if one["trained_network"] else "-"
        times = milliseconds(one["published"]), milliseconds(one["estimated"]), network
        source = f"[{one['source']}]({links[one['source']]}), {one['date'][:4]}"
        rows.append((card, f"{name_of(one)}, batch {batch}", *times, source))
    return table(("card", "model", "published, ms", "estimated, ms", "a trained network, ms", "source"), rows)


def page(text: str, lines: list[Line]) -> str:
    """Return docs/estimates.md with its tables."""
    for mark, block in (("whole", whole), ("graded", summary), ("others", others), ("shown", bound)):
        text = filled(text, mark, block(lines))
    return text


def moments(number: str) -> str:
    """Return the table of what a lesson shows of single moments: a wake-up, a launch, a training, compiled or not."""
    with (FOLDER / "moments.csv").open(encoding="utf-8", newline="") as file:
        mine = [row for row in csv.DictReader(file) if row["lesson"] == number]
    return table(("card", "what", "published", "", "source"), map(moment, mine))


def moment(row: dict[str, str]) -> tuple[str, ...]:
    """Return one row of it."""
    address = urlparse(row["address"])
    name = "/".join(address.path.split("/")[1:3]) if address.netloc == "github.com" else address.netloc
    source = f"[{name}]({row['address']}), {row['software']}, {row['date'][:7]}"
    card = row["card"].removeprefix("NVIDIA ").removeprefix("GeForce ")
    return (card, row["what"], f"{float(row['value']):,.4g} {row['unit']}", row["beside"], source)


def notebook(text: str, cell_id: str, block: str) -> str:
    """Return a lesson with the table of one cell."""
    book = json.loads(text)
    cell = next(cell for cell in book["cells"] if cell["id"] == cell_id)
    cell["source"] = filled("".join(cell["source"]), "published", block).splitlines(keepends=True)
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def pages() -> dict[Path, str]:
    """Return the text that each page and lesson must have, by its path."""
    lines = read()
    texts = {PAGE: page(PAGE.read_text(encoding="utf-8"), lines)}
    cells = [(LESSON, CELL, lesson(lines))]
    for number, cell in MOMENTS.items():
        (path,) = LESSON.parent.glob(f"{number}_*.ipynb")
        cells.append((path, cell, moments(number)))
    for path, cell, block in cells:
        texts[path] = notebook(texts.get(path) or path.read_text(encoding="utf-8"), cell, block)
    return texts


def main() -> None:
    """Write the pages."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8", newline="\n")
        say(f"{path.relative_to(ROOT).as_posix()}: written")


if __name__ == "__main__":
    main()
