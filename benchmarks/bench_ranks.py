"""What a step of DistributedDataParallel on simulated cards costs beside the same over plain gloo: two ranks, one thread each.

    python -m benchmarks ranks

CPU time of a rank, gloo's threads among them, the best of several rounds, by turns; only the ratios mean something. Very small
steps, and one whose products take most of the time.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.shared import in_turns

BOUND = 2.0
ROUNDS, STEPS = 3, 20
SIZES = {
    "4 layers 256 wide, 512 rows": (256, 4, 512),
    "4 layers 512 wide, 128 rows": (512, 4, 128),
}  # width, layers, batch
STEP = f"""
import json, sys, time
import torch, torch.distributed as dist
from torch import nn

rank, store, kind = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.set_num_threads(1)
if kind == "simulated":
    from devicelab import simulate_gpu
    simulate_gpu("T4", count=2)
    torch.cuda.set_device(rank)
where = f"cuda:{{rank}}" if kind == "simulated" else "cpu"
backend = "nccl" if kind == "simulated" else "gloo"
dist.init_process_group(backend, init_method=f"file://{{store}}", rank=rank, world_size=2)
best = {{}}
for name, (width, count, batch) in {SIZES!r}.items():
    model = nn.Sequential(*[one for _ in range(count) for one in (nn.Linear(width, width), nn.ReLU())]).to(where)
    model = nn.parallel.DistributedDataParallel(model)
    optimizer, data = torch.optim.SGD(model.parameters(), 0.01), torch.randn(batch, width, device=where)
    taken = []
    for _ in range(5):
        begin = time.process_time()
        for _ in range({STEPS}):
            optimizer.zero_grad()
            model(data).square().mean().backward()
            optimizer.step()
        taken.append(time.process_time() - begin)
    best[name] = min(taken[1:]) / {STEPS}
dist.barrier()
print(json.dumps(best), flush=True)
"""


def seconds(kind: str) -> dict[str, float]:
    """Return the CPU seconds of a step of each size on rank 0."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "-c", STEP]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        words = [str(Path(folder) / "store"), kind]
        ranks = [
            subprocess.Popen(
                [*command, str(rank), *words], stdout=subprocess.PIPE, text=True, env=environment
            )
            for rank in (0, 1)
        ]
        said = [rank.communicate()[0] for rank in ranks]
    return json.loads(said[0].splitlines()[-1])


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield name, value and bound."""
    found: dict[str, dict[str, list[float]]] = {}

    def once(kind: str) -> float:
        for name, value in seconds(kind).items():
            found.setdefault(name, {}).setdefault(kind, []).append(value)
        return 0.0

    in_turns({kind: lambda kind=kind: once(kind) for kind in ("gloo", "simulated")}, ROUNDS)  # type: ignore[misc]
    for name, kinds in found.items():
        yield (
            f"a step of DDP on simulated cards to one over gloo, {name}",
            min(kinds["simulated"]) / min(kinds["gloo"]),
            BOUND,
        )
