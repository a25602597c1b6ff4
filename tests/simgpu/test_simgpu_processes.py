"""Children of a process that simulates have its cards, however they are started, before a line of theirs asks for one."""

import multiprocessing.spawn
import os
import pickle
import subprocess
import sys

import pytest
import torch

from devicelab import children
from devicelab.simgpu import session, simulate_gpu
from tools.notebooks import warm

SPAWNED = """
import pickle, sys
pickle.loads(bytes.fromhex(sys.argv[1]))
# From here on the child imports its main module.
import torch
from torch.distributed import HashStore, get_backend, init_process_group
assert torch.cuda.device_count() == 2 and torch.cuda.get_device_name() == "NVIDIA L4"
torch.cuda.set_device(1)
init_process_group("nccl", rank=0, world_size=1, store=HashStore())
print(get_backend())
try:
    torch.compile(torch.sin)(torch.ones(1, device="cuda"))
except RuntimeError as error:
    print(error)
"""


def preparation():
    """Return what a spawned child is told before its main module is imported; the rest is Python's own."""
    return multiprocessing.spawn.get_preparation_data("worker").get("devicelab")


def test_a_spawned_child_has_the_cards_before_its_main_module_binds_names():
    with simulate_gpu("NVIDIA L4", count=2, compiled="refuse"):
        data = pickle.dumps(preparation())
    done = warm.run("-c", SPAWNED, data.hex())
    lines = [line for line in done.stdout.splitlines() if "[Gloo]" not in line]  # which it says in 2.8
    assert lines[:1] == ["nccl"], done.stderr
    assert lines[1].startswith("torch.compile is not simulated")


def test_where_the_path_is_not_set_yet_the_process_object_brings_the_cards():
    with simulate_gpu():
        data = pickle.dumps(preparation())
    without = "import sys; sys.modules['devicelab.simgpu.session'] = None\n"
    done = warm.run(
        "-c",
        f"{without}import pickle; print(pickle.loads(bytes.fromhex(sys.argv[1])))",
        data.hex(),
    )
    assert done.stdout == "None\n", done.stderr


def test_without_a_simulation_a_child_is_told_nothing():
    with simulate_gpu():
        pass
    assert preparation() is None


def card(code, **options):
    """Return what a child by subprocess says of its cards."""
    done = subprocess.run(
        [sys.executable, "-c", f"import torch; {code}"],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


ASKED = (
    "print(torch.cuda.device_count(), torch.ones(1, device='cuda:1').device, torch.ones(1).to('cuda').device)"
)


def test_a_child_by_subprocess_has_the_cards():
    with simulate_gpu(count=2):
        assert card(ASKED) == ["2", "cuda:1", "cuda:0"]
    assert card("print(torch.cuda.is_available())") == [str(torch.cuda.is_available())]


def test_a_child_with_an_environment_of_its_own_has_the_cards(tmp_path):
    own = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    }
    with simulate_gpu(count=2):
        assert card(ASKED, env=own) == ["2", "cuda:1", "cuda:0"]


@pytest.mark.parametrize(
    ("numbers", "count"),
    [("0", 1), ("1", 1), ("1,0", 2), ("0, 1", 2), ("", 0), ("-1", 0), ("0,2,1", 1), ("GPU-8932f937", 0)],
)
def test_a_child_sees_the_cards_that_its_variable_names(monkeypatch, numbers, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", numbers)
    before = session.current()
    session.start_in_child("Tesla T4", 2, "run", None)
    try:
        assert (len(session.current().cards) if session.current() else 0) == count
    finally:
        if session.current() is not before:
            session.current().stop()


def test_what_hid_real_cards_before_hides_none_of_these(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with simulate_gpu(count=2):
        started = children.told()["devicelab.simgpu.session:start_in_child"]
    session.start_in_child(*started)
    assert len(session.current().cards) == 2
    session.current().stop()


@pytest.mark.parametrize("mode", ["off", "real"])
def test_a_child_that_wants_no_simulated_card_has_none(monkeypatch, mode):
    monkeypatch.setenv("DEVICELAB_GPU", mode)
    session.start_in_child("Tesla T4", 1, "run", os.environ.get("CUDA_VISIBLE_DEVICES"))
    assert session.current() is None


def test_children_are_told_of_the_running_simulation_only():
    def told():
        return [given[0] for given in children.told().values()]

    before = dict(os.environ)
    with simulate_gpu("T4"):
        with simulate_gpu("NVIDIA L4"):
            assert told() == ["NVIDIA L4"]
        assert told() == ["Tesla T4"]
        with simulate_gpu("NVIDIA L4", children=False):
            assert told() == []
    assert dict(os.environ) == before


WORKER = """
import os, torch, torch.distributed as dist
from torch.distributed import init_process_group
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
init_process_group("gloo")
x = torch.ones(1, device="cuda")
dist.all_reduce(x)
os.write(1, f"rank {dist.get_rank()} {x.device} {x.item()}\\n".encode())
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_workers_of_torchrun_have_the_cards(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script]
    with simulate_gpu(count=2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert sorted(done.stdout.splitlines()) == ["rank 0 cuda:0 2.0", "rank 1 cuda:1 2.0"], done.stderr
