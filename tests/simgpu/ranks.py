"""Two ranks with a simulated card each, and what they found."""

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor

from tools.notebooks import warm

PREAMBLE = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import torch, torch.distributed as dist
from torch.distributed import init_process_group  # bound before anything is simulated
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from devicelab import devices
from devicelab.simgpu import simulate_gpu

simulation = simulate_gpu("T4", count=2)
rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
found = {}

def caught(call):
    try:
        call()
    except Exception as error:
        return [type(error).__name__, str(error)]

def end():
    print("FOUND" + json.dumps([rank, found]), flush=True)
    dist.barrier()
    dist.destroy_process_group()
"""


def of_two_ranks(tmp_path_factory, program):
    """Run a program in two processes that know of each other as torchrun tells them; return what each found, by its rank."""
    folder = tmp_path_factory.mktemp("ranks")
    script = folder / "train.py"
    script.write_text(PREAMBLE + program)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": "2"}

    def run(rank):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}
        return warm.run(
            str(script), str(folder / "model.pt"), env={**os.environ, **meeting, **own}, timeout=300
        )

    with ThreadPoolExecutor(2) as both:
        ended = list(both.map(run, range(2)))
    assert not any(done.returncode for done in ended), "".join(done.stderr for done in ended)
    found = [done.stdout.partition("FOUND")[2].partition("\n")[0] for done in ended]
    return dict(json.loads(text) for text in found)
