"""The load test: two learners go through a hub of their own, and what fails is told."""

import subprocess
import sys

import pytest

from tools.room import load
from tools.setup.say import ROOT


@pytest.mark.slow
def test_two_learners_run_a_lesson(shared, tmp_path):
    command = [sys.executable, "-m", "tools.room.load", shared, "--learners", "2", "--lessons", "00"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for row in ("end of the first cell", "L00, Run All", "memory that nobody shares"):
        assert row in done.stdout
    assert "| learners with a failure | | 0 of 2 |" in done.stdout


def test_the_table_counts_failures_and_leaves_out_what_never_came():
    went = load.Learner("a", page=2.0, first_cell=3.0, lessons={"L01": 9.0}, share=int(3e8), own=int(2e8))
    lost = load.Learner("b", failures=["Refused: the server did not come"])
    rows = "\n".join(load.table([went, lost], 10**9))
    assert "| L01, Run All | 9 s | 9 s |" in rows and "| 1 of 2 |" in rows


def test_the_processes_of_somebody_unknown_are_none():
    assert load.processes(1, "nobody-known") == []
    assert load.memory(1, "nobody-known") == (0, 0)


def test_the_hub_ends_when_the_test_is_ended():
    code = """
import asyncio, contextlib, os, signal
from tools.room import load

@contextlib.contextmanager
def hub(settings, config):
    try:
        yield 1
    finally:
        print("the hub was ended")

async def ended(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(60)

load.hub, load.load = hub, ended
load.main(["/nowhere", "--learners", "1"])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert "the hub was ended" in done.stdout and done.returncode == 143
