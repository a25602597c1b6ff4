"""Children of a process that simulates: spawned ones have its cards from their first line; others are told that they do not."""

import multiprocessing.spawn
import pickle
import subprocess
import sys

import pytest
import torch

from devicelab.errors import SimulationError
from devicelab.simgpu import simulate_gpu
from tools.notebooks import warm

SPAWNED = """
import pickle, sys
pickle.loads(bytes.fromhex(sys.argv[1]))
# From here on the child imports its main module.
import torch
from torch.distributed import HashStore, init_process_group
assert torch.cuda.device_count() == 2 and torch.cuda.get_device_name() == "NVIDIA L4"
torch.cuda.set_device(1)
try:
    init_process_group("nccl", rank=0, world_size=1, store=HashStore())
except RuntimeError as error:
    print(error)
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
    first, second = done.stdout.splitlines() or ("", "")
    assert first.startswith("NCCL is not simulated"), done.stderr
    assert second.startswith("torch.compile is not simulated")


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


def test_torchrun_under_a_simulation_is_refused_in_words():
    """Its workers are started as here: by subprocess.Popen, in a module of torch.distributed.elastic."""
    names = {
        "__name__": "torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler",
        "subprocess": subprocess,
    }
    with (
        simulate_gpu(),
        pytest.raises(
            SimulationError, match=r"devicelab\.simulate_gpu\(\.\.\.\) first in the training script"
        ),
    ):
        exec("subprocess.Popen(['true'])", names)


def test_torchrun_starts_its_workers_by_that_name():
    from torch.distributed.elastic.multiprocessing.subprocess_handler import SubprocessHandler

    handler = object.__new__(SubprocessHandler)
    handler._stdout = handler._stderr = None
    with simulate_gpu(), pytest.raises(SimulationError, match="torchrun starts each worker"):
        handler._popen((sys.executable, "-c", "0"), {})


def test_a_child_by_subprocess_is_a_python_of_its_own():
    with simulate_gpu():
        done = warm.run("-c", "import torch; print(torch.cuda.is_available())")
        own = subprocess.run(
            [sys.executable, "-S", "-c", "print(1)"], capture_output=True, text=True, check=True
        )
    assert done.stdout == f"{torch.cuda.is_available()}\n"
    assert own.stdout == "1\n"
