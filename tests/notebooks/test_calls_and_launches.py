"""Figures of lessons 02 and 05 that have to add up: the calls and launches of a training step, and a stopwatch's claim."""

import re

import pytest
import torch

import devicelab as lab
from devicelab.simgpu.machine.clock import Clock
from tools.notebooks.nbfiles import LESSONS, read


def sources(lesson: str) -> dict[str, str]:
    """Return the cells of a lesson by their ids."""
    (path,) = LESSONS.glob(f"{lesson}_*.ipynb")
    return {cell.id: cell.source for cell in read(path).cells}


@pytest.mark.parametrize(
    ("lesson", "cell", "said"),
    [
        ("02", "small-why", r"(?P<calls>\d+) \*calls\* .* (?P<launches>\d+) times it \*launches\*"),
        ("05", "h100-text", r"(?P<launches>\d+) launches.* orders stand (?P<calls>\d+) calls"),
    ],
)
def test_the_lesson_names_as_many_as_there_are(lesson, cell, said, monkeypatch):
    cells = sources(lesson)
    counts = {"calls": 0, "launches": 0}
    launch, spend = Clock.kernel, Clock.spend

    def kernel(clock, index, func, args, out):
        counts["calls"] += 1
        counts["launches"] += clock.costs[index].work(func, args, out)[0]
        launch(clock, index, func, args, out)

    def mark(clock, span):
        counts["calls"] += 1
        spend(clock, span)

    monkeypatch.setattr(Clock, "kernel", kernel)
    monkeypatch.setattr(Clock, "spend", mark)  # what costs a dispatch and no more: a profiler's marks
    make = cells["make-step"].partition("\n\n\nstep = ")[0]
    names = {"seed": 0, "torch": torch, "nn": torch.nn, "optim": torch.optim}
    with lab.simulate_gpu("Tesla T4"):
        exec(make, names)
        step = names["make_step"]("cuda")
        step()  # the first one has no gradients to set to None
        counts.update(calls=0, launches=0)
        step()
    found = re.search(said, cells[cell])
    named = {name: int(number) for name, number in found.groupdict().items()}
    assert named == {name: counts[name] for name in named}


def test_the_claim_of_the_stopwatch_follows_from_what_it_read():
    (path,) = LESSONS.glob("05_*.ipynb")
    cells = {cell.id: cell for cell in read(path).cells}
    said = {
        name: "".join(output.get("text", "") for output in cells[name].outputs)
        for name in ("confusion-7", "doubt", "confusion-7-gone")
    }
    read_off = float(re.search(r"GPU ([\d.]+) s", said["confusion-7"])[1])
    operations, micro, claimed = re.search(
        r"([\d,]+) operations in ([\d.]+) µs: ([\d,.]+) TFLOP", said["doubt"]
    ).groups()
    assert float(micro) * 1e-6 == pytest.approx(read_off, abs=1e-6)
    assert int(operations.replace(",", "")) / (float(micro) * 1e-6) == pytest.approx(
        float(claimed.replace(",", "")) * 1e12, rel=0.01
    )
    handed_over = float(re.search(r"handed over after (\d+) µs", said["confusion-7-gone"])[1])
    assert handed_over == pytest.approx(float(micro), abs=1)
