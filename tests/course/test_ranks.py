"""Scripts under torchrun, as lesson 11 starts them: each rank is told apart, and none is left behind."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch.distributed as dist

from devicelab.course import ranks
from devicelab.course.ranks import Launched, Rank, error_of, torchrun

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this PyTorch has no torch.distributed")

TELLS = """
import os, sys
told = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR")
print(*(os.environ[name] for name in told), os.environ.get("CUDA_VISIBLE_DEVICES"), *sys.argv[1:])
"""
SLEEPS = """
import os, time
from pathlib import Path
Path(os.environ["RANK"]).write_text(str(os.getpid()))
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def test_each_rank_is_told_its_number_and_prints_apart(here):
    (here / "tells.py").write_text(TELLS)
    done = torchrun("tells.py", "--much")
    assert done.code == 0
    assert str(done).splitlines() == [
        "$ torchrun --nproc-per-node=2 tells.py --much",
        "0 0 2 0 127.0.0.1 None --much",
        "1 1 2 0 127.0.0.1 None --much",
    ]


def test_two_nodes_count_on_and_see_a_card_each(here):
    (here / "tells.py").write_text(TELLS)
    done = torchrun("tells.py", nodes=2, ranks=1)
    assert [rank.printed for rank in done.ranks] == ["0 0 2 0 127.0.0.1 0\n", "1 0 2 1 127.0.0.1 1\n"]
    assert done.command.endswith("--master-port=PORT tells.py")


def test_without_cards_no_rank_sees_one_nor_where_they_were_hidden_before(here, monkeypatch):
    (here / "tells.py").write_text(TELLS)
    assert torchrun("tells.py", ranks=1, cards=False).ranks[0].printed == "0 0 1 0 127.0.0.1 \n"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert torchrun("tells.py", ranks=1, nodes=2).ranks[1].printed == "1 0 2 1 127.0.0.1 \n"


def test_an_error_is_told_with_its_rank(here):
    (here / "fails.py").write_text("import os\nif os.environ['RANK'] == '1': raise ValueError('no\\nmore')\n")
    done = torchrun("fails.py")
    assert done.code == 1
    assert [rank.error for rank in done.ranks] == ["", "ValueError: no\nmore"]
    assert str(done).endswith("rank 1 ended: ValueError: no\nmore")


def sleepers(folder: Path) -> list[int]:
    """Wait until both ranks sleep, and return their numbers."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        files = [folder / "0", folder / "1"]
        if all(file.exists() and file.read_text() for file in files):
            return [int(file.read_text()) for file in files]
        time.sleep(0.05)
    raise AssertionError("the ranks did not begin")


def runs(pid: int) -> bool:
    """Say whether a process runs: one that was killed may stay in the list until its parent asks for it."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            return False
        time.sleep(0.05)
    return True


def test_when_the_time_is_up_nobody_is_left(here, monkeypatch):
    (here / "sleeps.py").write_text(SLEEPS)
    wait = ranks._wait

    def until_they_sleep(running, limit):
        sleepers(here)
        return wait(running, limit)

    monkeypatch.setattr(ranks, "_wait", until_they_sleep)
    done = torchrun("sleeps.py", limit=0.1)
    assert done.code is None and "the time was up" in str(done)
    assert not any(map(runs, sleepers(here)))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send there")
def test_at_an_interrupt_nobody_is_left(here):
    (here / "sleeps.py").write_text(SLEEPS)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it

    def interrupt():
        sleepers(here)
        os.kill(os.getpid(), signal.SIGINT)

    other = threading.Thread(target=interrupt)
    other.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            torchrun("sleeps.py")
    finally:
        signal.signal(signal.SIGINT, before)
    other.join()
    assert not any(map(runs, sleepers(here)))


def test_the_error_of_a_process_is_its_last():
    text = """[rank1]: Traceback (most recent call last):
[rank1]:   File "x.py", line 1, in <module>
[rank1]: ValueError: first

[rank1]: During handling of the above exception, another exception occurred:

[rank1]: Traceback (most recent call last):
[rank1]:   File "x.py", line 3, in <module>
[rank1]: torch.distributed.DistBackendError: NCCL error
[rank1]: Last error:
[rank1]: Duplicate GPU detected
"""
    expected = "torch.distributed.DistBackendError: NCCL error\nLast error:\nDuplicate GPU detected"
    assert error_of(text) == expected
    assert error_of("a warning, and no more") == ""


def test_a_watchdog_that_ends_the_process_is_its_error():
    said = (
        "[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=6) ran for 5000 milliseconds"
    )
    text = f"[rank1]:[E1130 20:40:00 ProcessGroupNCCL.cpp:685] {said}\n[rank1]:[E1130] To avoid data inconsistency"
    assert error_of(text) == said


def test_a_launch_reads_as_the_terminal_shows_it():
    done = Launched("torchrun x.py", (Rank(0, "a\n", ""), Rank(1, "", "E: b")), 1)
    assert str(done) == "$ torchrun x.py\na\nrank 1 ended: E: b"
