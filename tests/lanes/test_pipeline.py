"""The pipeline: its pace is the simulated clock's, each knob does what it says, and the text names who is waited for."""

import pytest
import torch

import devicelab as lab
from devicelab.errors import InputError
from devicelab.pipeline import SHOWN, WORKERS, Batch, Run, Setting, slowest

SLOW = Batch(load=20e-3, pageable=3e-3, pinned=1e-3, write=2e-4, compute=6e-3)


def pace(batch: Batch, *knobs) -> float:
    return Run(batch, Setting(*knobs), 40).pace


def test_workers_divide_the_loading_until_the_card_is_what_all_wait_for():
    paces = [pace(SLOW, "pinned", "non_blocking", workers) for workers in WORKERS]
    assert paces == [pytest.approx(20.2e-3), pytest.approx(10e-3), pytest.approx(7e-3)]


def test_pageable_memory_lets_the_cpu_wait_whatever_is_asked_for():
    for workers in WORKERS:
        assert pace(SLOW, "pageable", "blocks", workers) == pace(SLOW, "pageable", "non_blocking", workers)


def test_a_copy_that_blocks_keeps_the_cpu_from_loading():
    batch = Batch(load=5e-3, pageable=3e-3, pinned=3e-3, write=2e-4, compute=3e-3)
    assert pace(batch, "pinned", "blocks", 0) > pace(batch, "pinned", "non_blocking", 0)


def test_no_lane_does_two_things_at_once():
    for memory in ("pageable", "pinned"):
        for workers in WORKERS:
            run = Run(SLOW, Setting(memory, "non_blocking", workers), 12)
            for lane in (run.host, run.card, *run.loaders):
                ends = [0.0, *(bar.end for bar in lane)]
                assert all(bar.begin >= end - 1e-12 for bar, end in zip(lane, ends, strict=False))


@pytest.mark.parametrize(
    "batch, knobs, who",
    [
        (SLOW, ("pageable", "blocks", 0), "the loader"),
        (SLOW, ("pageable", "blocks", 4), "the copy"),
        (Batch(1e-3, 1e-4, 1e-4, 1e-4, 9e-3), ("pinned", "non_blocking", 2), "the GPU"),
        (Batch(1e-6, 1e-6, 1e-6, 5e-3, 1e-5), ("pinned", "non_blocking", 0), "the CPU's orders"),
    ],
)
def test_who_is_waited_for(batch, knobs, who):
    assert slowest(batch, Setting(*knobs), pace(batch, *knobs)) == who


@pytest.mark.parametrize("memory", ["pageable", "pinned"])
@pytest.mark.parametrize("copy", ["blocks", "non_blocking"])
def test_its_pace_is_that_of_the_same_program_on_the_simulated_card(memory, copy):
    """No loader: one product a batch, on a card that a copy of 16 MiB reaches."""
    with lab.simulate_gpu("Tesla T4"):
        batch = torch.zeros(1 << 22)
        batch = batch.pin_memory() if memory == "pinned" else batch
        w = torch.zeros(1536, 1536, device="cuda")

        def step():
            batch.to("cuda", non_blocking=copy == "non_blocking")
            return w @ w

        step()
        torch.cuda.synchronize()
        start = lab.clock()
        for _ in range(10):
            step()
        torch.cuda.synchronize()
        seen = (lab.clock() - start) / 10
        with lab.trace() as t:
            step()
        (product,) = (event for event in t.events if event.name == "aten::mm")
        (moved,) = (event for event in t.events if event.phase == "copy")
    one = Batch(0.0, moved.seconds, moved.seconds, product.ordering, product.seconds)
    assert pace(one, memory, copy, 0) == pytest.approx(seen, rel=0.05)


def test_it_begins_with_pytorchs_defaults_and_every_frame_says_what_it_shows():
    found = lab.pipeline(load=20e-3, nbytes=16 << 20, compute=6e-3, gpu="Tesla T4")
    scenes = found.data()["scenes"]
    assert len(scenes) == 12 and scenes[0]["say"].startswith(
        "With pageable memory, a copy that blocks, 0 workers"
    )
    assert "estimated, Tesla T4" in str(found) and "all wait for the loader" in str(found)
    for scene in scenes:
        labels = [lane["label"] for lane in scene["tracks"][0]["lanes"]]
        assert (
            labels[-3:] == ["CPU", "copy", "compute"]
            and len(scene["tracks"][0]["lanes"][-1]["bars"]) == SHOWN
        )
    assert "pageable memory makes it" in scenes[3]["say"] and "makes it" not in scenes[11]["say"]


def test_bad_input_is_one_sentence():
    with pytest.raises(InputError, match="load must be"):
        lab.pipeline(load=-1, nbytes=1, compute=1e-3, gpu="Tesla T4")
