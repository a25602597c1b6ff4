"""`python -m devicelab run ... torchrun` on simulated cards: who waited for whom, and how it ends where something goes wrong."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import torch.distributed as dist

import devicelab
from devicelab.simgpu import simulate_gpu
from devicelab.trace import Trace

pytestmark = pytest.mark.skipif(
    os.name != "posix" or not (dist.is_available() and dist.is_gloo_available()),
    reason="needs gloo and signals",
)
SCHEMA = json.loads(resources.files("devicelab").joinpath("schemas/run.json").read_text("utf-8"))
AT_ONCE = 20  # seconds; torchrun kills after 30 what does not end by itself
START = """
import os, sys, time
import torch, torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("nccl")
rank, local = dist.get_rank(), int(os.environ["LOCAL_RANK"])
torch.cuda.set_device(local)
x = torch.ones(1, device="cuda")
dist.all_reduce(x)
"""
TRAINING = (
    START
    + """
model = DistributedDataParallel(nn.Linear(4, 1).cuda(), device_ids=[local])
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for _ in range(2):
    loss = model(torch.ones(2, 4, device="cuda")).sum()
    if rank == 0:
        torch.cuda._sleep(int(1.5e9))  # a second of simulated time
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
dist.destroy_process_group()
"""
)
ONE_DIES = (
    START
    + """
if rank == 1:
    print("TIME", time.time(), flush=True)
    raise ValueError("no more data")
dist.all_reduce(x)
"""
)
ONE_STAYS_AWAY = (
    START
    + """
os.write(1, f"READY {os.getpid()}\\n".encode())  # in one piece: two ranks write at once
if rank == 1:
    time.sleep(1000)
dist.all_reduce(x)
"""
)


def command(script, *options, cards="T4:2"):
    ours = [sys.executable, "-m", "devicelab", "run", "--json", "v.json", f"--simulate-gpu={cards}"]
    return [
        *ours,
        "-m",
        "torch.distributed.run",
        *(options or ("--standalone", "--nproc-per-node=2")),
        script,
    ]


def test_a_wait_that_nobody_meant_is_not_told():
    parts = {"steps": 0, "seconds": 1.0, "origin": "simulated", "card": "cuda", "name": "Tesla T4", "rank": 0}
    nothing = dict.fromkeys(("operators", "copies", "synchronizations", "events"), ())
    seen = [Trace(**parts, **nothing, collectives=3, waited_for=((1, wait),)) for wait in (5e-7, 0.5)]
    assert "3 collectives with other processes: waited for nobody" in str(seen[0])
    assert "3 collectives with other processes: waited 500 ms for rank 1, which came later" in str(seen[1])


@pytest.fixture
def started(tmp_path):
    """Return a function that starts code under torchrun, and ends all of it with the test."""
    running = []

    def start(code, *options):
        script = tmp_path / "train.py"
        script.write_text(code)
        folder = str(Path(devicelab.__file__).parents[1])
        environment = {**os.environ, "PYTHONPATH": folder, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            command(str(script), *options), cwd=tmp_path, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def lives(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_who_waited_for_whom_is_told_by_rank(started, tmp_path):
    out, _ = started(TRAINING).communicate(timeout=120)
    data = json.loads((tmp_path / "v.json").read_text("utf-8"))
    jsonschema.validate(data, SCHEMA)
    first, second = data["children"]
    assert [one["process"]["rank"] for one in (first, second)] == [first["rank"], second["rank"]] == [0, 1]
    assert first["phases"]["backward"] == ["cuda:0"] and second["phases"]["backward"] == ["cuda:1"]
    assert second["waited_for"] == [{"rank": 0, "seconds": pytest.approx(2, rel=0.05)}]
    assert re.search(r"at \d+ collectives rank 1 waited 2\.0\d s for rank 0.* \(simulated\)", out)


def test_a_rank_that_dies_ends_those_that_wait_for_it_at_once(started, tmp_path):
    out, _ = started(ONE_DIES).communicate(timeout=120)
    took = time.time() - float(re.search(r"TIME ([\d.]+)", out)[1])
    assert took < AT_ONCE, out
    data = json.loads((tmp_path / "v.json").read_text("utf-8"))
    by_rank = {one["process"]["rank"]: one for one in data["children"]}
    assert by_rank[1]["error"]["message"] == "ValueError: no more data"
    assert by_rank[0]["verdict"] is not None  # its last words were said
    assert re.search(r"rank 0 .*(killed by SIGTERM|exit code 1)", out)
    assert not any(lives(one["process"]["pid"]) for one in data["children"])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_ranks_that_wait_at_once(started, number):
    process, pids = started(ONE_STAYS_AWAY), []
    while len(pids) < 2:
        line = process.stdout.readline()
        assert line, "it ended before both were there"
        pids += re.findall(r"READY (\d+)", line)
    time.sleep(1)
    began = time.time()
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    process.communicate(timeout=120)
    assert time.time() - began < AT_ONCE and process.returncode != 0
    assert not any(map(lives, pids))


@pytest.mark.slow
def test_more_ranks_than_cards_are_cudas_own_error(started):
    out, _ = started(START, "--standalone", "--nproc-per-node=3").communicate(timeout=120)
    assert "CUDA error: invalid device ordinal" in out


@pytest.mark.slow
def test_a_busy_port_is_torchruns_own_error(started):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        options = ("--nproc-per-node=2", "--master-addr=127.0.0.1", f"--master-port={port}")
        process = started(START, *options)
        out, _ = process.communicate(timeout=120)
    assert process.returncode != 0 and re.search(r"EADDRINUSE|address already in use", out)


@pytest.mark.slow
def test_two_nodes_on_loopback_train_together(started):
    code = TRAINING.replace("dist.destroy", 'print("SUM", x.item(), rank, flush=True)\ndist.destroy')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--nnodes=2", "--nproc-per-node=2", "--master-addr=127.0.0.1", f"--master-port={port}")
    nodes = [started(code, *options, f"--node-rank={number}") for number in (0, 1)]
    said = [node.communicate(timeout=240)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    sums = sorted(re.findall(r"SUM (\S+) (\d)", said[0] + said[1]), key=lambda pair: pair[1])
    assert sums == [("4.0", str(rank)) for rank in range(4)]


def test_without_gloo_nccl_is_not_there(monkeypatch):
    monkeypatch.setattr(dist, "is_gloo_available", lambda: False)
    with simulate_gpu("T4"):
        assert not dist.is_nccl_available()
        with pytest.raises(RuntimeError, match="Distributed package doesn't have NCCL"):
            dist.init_process_group("nccl", rank=0, world_size=1, store=dist.HashStore())
