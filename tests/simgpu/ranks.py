"""Two ranks with a simulated card each, started by torchrun, and what they found."""

import json
import os
import subprocess
import sys

PREAMBLE = """
import json, os, sys
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
    """Run a program by torchrun in two processes; return what each found, by its rank."""
    folder = tmp_path_factory.mktemp("ranks")
    script = folder / "train.py"
    script.write_text(PREAMBLE + program)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, str(script), str(folder / "model.pt")],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr
    lines = [line.partition("FOUND")[2] for line in done.stdout.splitlines() if "FOUND" in line]
    texts = [text for line in lines for text in line.split("FOUND")]
    return dict(json.loads(text) for text in texts)
