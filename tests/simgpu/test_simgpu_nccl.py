"""What NCCL's groups do and refuse beyond the plain collectives: ways to add, types, lists, coalescing, what builds on them."""

import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from ranks import of_two_ranks
from torch import nn

from devicelab.errors import SimulationError
from devicelab.simgpu import simulate_gpu
from devicelab.simgpu.rules import collectives

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()), reason="this PyTorch has no gloo"
)

KINDS = """
torch.cuda.set_device(local)
card = torch.device("cuda", local)
init_process_group("nccl", device_id=card)

def kept(name, call):
    try:
        found[name] = call()
    except Exception as error:
        found[name] = [type(error).__name__, str(error)]

def reduced(value, op, dtype=None):
    x = torch.full((2,), value, device=card, dtype=dtype)
    dist.all_reduce(x, op=op)
    return x.view(torch.uint8).tolist() if dtype is torch.bool else x.tolist()

op = dist.ReduceOp
kept("mean of halves", lambda: reduced(40000.0, op.AVG, torch.float16))  # whose sum would be infinite
kept("mean of whole numbers", lambda: reduced(rank + 2, op.AVG))
kept("sum of bools", lambda: reduced(True, op.SUM, torch.bool))
kept("premultiplied", lambda: reduced(rank + 1.0, dist._make_nccl_premul_sum(2.0)))
kept("greatest", lambda: reduced(rank + 2, op.MAX))
for name in ("BAND", "BOR", "BXOR"):
    kept(name, lambda: reduced(rank + 2, getattr(op, name)))
kept("mean of bools", lambda: reduced(True, op.AVG, torch.bool))
kept("shorts", lambda: reduced(1, op.SUM, torch.int16))
kept("float8", lambda: reduced(1.0, op.SUM, torch.float8_e4m3fn))
kept("float8 elsewhere", lambda: reduced(1.0, op.SUM, torch.float8_e4m3fnuz))

def mean_to_root():
    x = torch.full((2,), rank + 1.0, device=card)
    dist.reduce(x, 0, op=op.AVG)
    return x.tolist()

def mean_of_parts():
    x = torch.empty(1, device=card)
    dist.reduce_scatter_tensor(x, torch.arange(2.0, device=card) + rank, op=op.AVG)
    return x.tolist()

def broadcast(dtype):
    x = torch.full((2,), float(rank), device=card).to(dtype)
    dist.broadcast(x, 1)
    return x.float().tolist()

def swapped(x, y):
    work = dist.batch_isend_irecv([dist.P2POp(dist.isend, x, 1 - rank), dist.P2POp(dist.irecv, y, 1 - rank)])
    for one in work:
        one.wait()
    return [len(work), y.tolist()]

kept("mean to root", mean_to_root)
kept("mean of parts", mean_of_parts)
kept("float8 broadcast", lambda: broadcast(torch.float8_e4m3fn))
kept("swapped", lambda: swapped(torch.full((2,), float(rank), device=card), torch.empty(2, device=card)))
kept("shorts sent", lambda: dist.send(torch.ones(2, device=card, dtype=torch.int16), 1 - rank))

def gathered(parts, own):
    dist.all_gather(parts, own)
    return [part.tolist() for part in parts]

def scattered(part, whole):
    dist.reduce_scatter(part, whole)
    return part.tolist()

def exchanged(out, given):
    dist.all_to_all(out, given)
    return [part.tolist() for part in out]

def full(size, value):
    return torch.full((size,), float(value), device=card)

kept("gathered", lambda: gathered([torch.empty(1 + r, device=card) for r in (0, 1)], full(1 + rank, 1 + rank)))
def into_columns():
    whole = torch.zeros(2, 2, device=card)
    gathered([whole[:, 0], whole[:, 1]], full(2, 1 + rank))
    return whole.tolist()

def of_columns():
    return scattered(torch.empty(2, device=card), list(torch.arange(4.0, device=card).reshape(2, 2).t()))

from torch.distributed import _functional_collectives as functional
kept("into columns", into_columns)
kept("of columns", of_columns)
kept("mean as a function", lambda: functional.all_reduce(full(1, 40000).half(), "avg", dist.group.WORLD).tolist())
kept("bits as a function", lambda: functional.all_reduce(full(1, 1).int(), "band", dist.group.WORLD).tolist())
kept("gathered to the CPU", lambda: gathered([torch.empty(1), torch.empty(1)], torch.ones(1, device=card)))
kept("scattered", lambda: scattered(torch.empty(1 + rank, device=card), [full(1 + r, 1 + r) for r in (0, 1)]))
kept("exchanged", lambda: exchanged(
    [torch.empty(1 + rank + r, device=card) for r in (0, 1)],
    [full(1 + rank + r, 10 * rank + r) for r in (0, 1)]))

def all_into(out):
    dist.all_gather_into_tensor(out, torch.full((2,), float(rank), device=card))
    return out.tolist()

kept("in one row", lambda: all_into(torch.empty(1, 4, device=card)))
kept("into a short one", lambda: all_into(torch.empty(3, device=card)))
kept("into the CPU", lambda: all_into(torch.empty(4)))

def coalesced(do, *pairs, wait=False):
    with dist._coalescing_manager(device=card, async_ops=wait) as manager:
        for pair in pairs:
            do(*pair)
    if wait:
        manager.wait()
    return [pair[0].tolist() for pair in pairs]

def ones(*size):
    return torch.ones(*size, device=card)

kept("added together", lambda: coalesced(dist.all_reduce, (ones(1),), (ones(2) + rank,)))
kept("added later", lambda: coalesced(dist.all_reduce, (ones(1),), (ones(2) + rank,), wait=True))
kept("gathered together", lambda: coalesced(dist.all_gather_into_tensor, (ones(2), ones(1) + rank), (ones(4), ones(2))))
kept("scattered together", lambda: coalesced(dist.reduce_scatter_tensor, (ones(1), ones(2) + rank), (ones(2), ones(4))))

options = dist.ProcessGroupNCCL.Options()
options.is_high_priority_stream = True
kept("options", lambda: reduced(1.0, op.SUM) and dist.get_world_size(dist.new_group([0, 1], pg_options=options)))
pieces = dist.split_group(split_ranks=[[0], [1]])
kept("split", lambda: [dist.get_world_size(pieces), dist.get_process_group_ranks(pieces)])
whole = dist.split_group(split_ranks=[[0, 1]])
x = ones(1)
dist.all_reduce(x, group=whole)
found["whole"] = x.item()
kept("monitored", dist.monitored_barrier)
end()
"""
SOURCE = """
init_process_group("nccl")
torch.cuda.set_device(local)
x = torch.ones(1, device="cuda")
dist.all_reduce(x)
if rank == 1:
    found["any"] = caught(lambda: dist.recv(x))
roots = [torch.empty(1) for _ in range(2)] if rank == 0 else None
if rank == 0:
    found["gathered"] = caught(lambda: dist.gather(x, roots))
    found["scattered"] = caught(lambda: dist.scatter(x, roots))
end()
"""
FIRST = """
init_process_group("nccl")
dist.barrier()  # before anybody says which card is whose
found["met"] = True
torch.cuda.set_device(local)
end()
"""
BUILT = """
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP, MixedPrecision

init_process_group("nccl")
torch.cuda.set_device(local)

def toy(*between):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), *between, nn.ReLU(), nn.Linear(8, 2)).to(local)

def trained(model):
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        data = torch.randn(2, 6, 4, generator=generator)[rank].to(local)
        optimizer.zero_grad()
        model(data).square().mean().backward()
        optimizer.step()
    return [p.detach().float().sum().item() for p in model.parameters()]

found["plain"] = trained(DDP(toy(), device_ids=[local]))
found["static"] = trained(DDP(toy(), device_ids=[local], static_graph=True))
found["views"] = trained(DDP(toy(), device_ids=[local], gradient_as_bucket_view=True))
for name in ("fp16", "bf16"):
    model = DDP(toy(), device_ids=[local])
    model.register_comm_hook(None, getattr(default_hooks, f"{name}_compress_hook"))
    found[name] = trained(model)
found["version"] = torch.version.cuda
model = FSDP(toy(), device_id=local)
trained(model)
with FSDP.summon_full_params(model):
    found["sharded"] = [p.sum().item() for p in model.parameters()]
    found["places"] = [str(p.device) for p in model.parameters()]
half = FSDP(toy(), device_id=local, mixed_precision=MixedPrecision(param_dtype=torch.float16), use_orig_params=True)
trained(half)
found["half"] = [str(half[0].weight.device), str(half[0].weight.dtype)]
model = nn.SyncBatchNorm.convert_sync_batchnorm(toy(nn.BatchNorm1d(8)))
found["synced"] = trained(DDP(model, device_ids=[local]))
found["running"] = [model[1].running_mean.sum().item(), model[1].running_var.sum().item()]
halves = nn.SyncBatchNorm(4).to(local)(torch.ones(2, 4, device="cuda", dtype=torch.float16) * rank)
found["halves"] = [str(halves.dtype), halves.sum().item()]
end()
"""


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return of_two_ranks(tmp_path_factory, KINDS)


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "mean of halves": ([40000.0] * 2, [40000.0] * 2),
        "mean of whole numbers": ([2, 2], [2, 2]),
        "sum of bools": ([1, 1], [1, 1]),  # as bytes
        "premultiplied": ([6, 6], [6, 6]),
        "greatest": ([3, 3], [3, 3]),
        "mean to root": ([1.5, 1.5], [2, 2]),
        "mean of parts": ([0.5], [1.5]),
        "float8 broadcast": ([1, 1], [1, 1]),
        "swapped": ([1, [1, 1]], [1, [0, 0]]),
        "gathered": ([[1], [2, 2]], [[1], [2, 2]]),
        "scattered": ([2], [4, 4]),
        "exchanged": ([[0], [10, 10]], [[1, 1], [11, 11, 11]]),
        "in one row": ([[0, 0, 1, 1]], [[0, 0, 1, 1]]),
        "added together": ([[2], [3, 3]], [[2], [3, 3]]),
        "added later": ([[2], [3, 3]], [[2], [3, 3]]),
        "gathered together": ([[1, 2], [1] * 4], [[1, 2], [1] * 4]),
        "scattered together": ([[3], [2, 2]], [[3], [2, 2]]),
        "into columns": ([[1, 2], [1, 2]], [[1, 2], [1, 2]]),
        "of columns": ([0, 4], [2, 6]),
        "mean as a function": ([40000], [40000]),
        "options": (2, 2),
        "split": ([1, [0]], [1, [1]]),
        "whole": (2, 2),
    }.items(),
)
def test_it_has_the_right_values(kinds, name, values):
    assert (kinds[0][name], kinds[1][name]) == values


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("BAND", ("ValueError", "RuntimeError"), "Cannot use ReduceOp.BAND with NCCL"),
        ("BOR", ("ValueError", "RuntimeError"), "Cannot use ReduceOp.BOR with NCCL"),
        ("BXOR", ("ValueError", "RuntimeError"), "Cannot use ReduceOp.BXOR with NCCL"),
        ("bits as a function", ("ValueError", "RuntimeError"), "Cannot use ReduceOp.BAND with NCCL"),
        ("mean of bools", ("TypeError",), "Cannot use ReduceOp.AVG with boolean inputs"),
        ("shorts", ("TypeError",), "Input tensor data type is not supported for NCCL process group: Short"),
        ("float8", ("DistBackendError",), "FP8 reduction support begins with sm90 capable devices."),
        ("float8 elsewhere", ("RuntimeError",), "Unsupported Float8 type for NCCL reduction"),
        ("shorts sent", ("RuntimeError",), "Unconvertible NCCL type Short"),
        ("gathered to the CPU", ("ValueError",), "Tensors must be CUDA and dense"),
        ("into the CPU", ("ValueError",), "Tensors must be CUDA and dense"),
        (
            "into a short one",
            ("ValueError",),
            "output tensor size must be equal to world_size times input tensor size",
        ),
    ],
)
def test_it_is_refused_in_nccls_words(kinds, name, kind, words):
    for found in kinds.values():
        assert found[name][0] in kind and found[name][1].endswith(words)


def test_a_monitored_barrier_is_gloos(kinds):
    for found in kinds.values():
        kind, words = found["monitored"]
        assert kind == "ValueError" and words.startswith("monitored_barrier ") and "GLOO" in words


def test_a_receiver_says_from_whom_and_lists_lie_on_the_card(tmp_path_factory):
    met = of_two_ranks(tmp_path_factory, SOURCE)
    assert met[1]["any"] == ["NotImplementedError", "ProcessGroupNCCL does not support recvAnysource"]
    unlike = "invalid tensor type at index 0 (expected CUDAFloatType, got CPUFloatType)"
    assert met[0]["gathered"] == ["ValueError", f"ProcessGroupNCCL::gather: {unlike}"]
    assert met[0]["scattered"] == ["ValueError", f"ProcessGroupNCCL::scatter: {unlike}"]


def test_a_barrier_before_set_device_takes_the_card_of_the_rank(tmp_path_factory):
    met = of_two_ranks(tmp_path_factory, FIRST)
    assert met[0]["met"] and met[1]["met"]


def by_one(*between, halves=None):
    """Return what one process on the CPU comes to, with the batches of both ranks, as `BUILT` trains."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), *between, nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        data = torch.randn(2, 6, 4, generator=generator).reshape(12, 4)
        optimizer.zero_grad()
        model(data).square().mean().backward()
        optimizer.step()
    return model, [parameter.detach().sum().item() for parameter in model.parameters()]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return of_two_ranks(tmp_path_factory, BUILT)


@pytest.mark.parametrize("name", ["plain", "static", "views", "fp16", "bf16", "sharded"])
def test_what_builds_on_it_trains_as_one_process_does(built, name):
    _, expected = by_one()
    for found in built.values():
        assert found[name] == pytest.approx(expected, abs=1e-5 if "16" not in name else 2e-2)
    assert built[0][name] == built[1][name]


def test_sharded_models_lie_on_the_card_of_their_rank(built):
    for rank, found in built.items():
        assert found["places"] == [f"cuda:{rank}"] * 4
        assert found["half"] == [f"cuda:{rank}", "torch.float32"]


def test_the_wheel_stays_what_it_is(built):
    assert {found["version"] for found in built.values()} == {torch.version.cuda}


def test_synchronized_batch_normalization_is_that_of_the_whole_batch(built):
    model, expected = by_one(nn.BatchNorm1d(8))
    for found in built.values():
        assert found["synced"] == pytest.approx(expected, abs=1e-5)
        assert found["running"] == pytest.approx(
            [model[1].running_mean.sum().item(), model[1].running_var.sum().item()], rel=1e-5
        )
    assert [built[rank]["halves"] for rank in (0, 1)] == [["torch.float16", -8.0], ["torch.float16", 8.0]]


def test_float8_sums_where_nccl_has_them_are_refused():
    with pytest.raises(SimulationError, match="Add them in bfloat16"):
        collectives.check_sum("SUM", torch.float8_e5m2, (9, 0), False)


def test_a_send_of_a_tensor_in_pieces_warns_as_nccl_does():
    with simulate_gpu("T4"):
        apart = torch.ones(4, 4, device="cuda")[:, 0]
        with pytest.warns(UserWarning, match="Detected non-contiguous tensor in P2P operations"):
            collectives.check("send", apart, True)
        with pytest.raises(ValueError, match="Tensors must be contiguous"):
            collectives.check("broadcast_", apart, True)


LATE = """
import time
from datetime import timedelta

init_process_group("nccl", timeout=timedelta(seconds=6))
torch.cuda.set_device(local)
x = torch.ones(3, device="cuda")
dist.all_reduce(x)
others = dist.new_group(timeout=timedelta(seconds=6))
model = DDP(nn.BatchNorm1d(3).cuda(), device_ids=[local], process_group=others)
if rank == 0:
    found["late"] = caught(lambda: dist.all_reduce(x))
else:  # the buffers are rank 0's
    found["buffers"] = caught(lambda: model(torch.ones(2, 3, device="cuda")))
store = dist.distributed_c10d._get_default_store()
store.set(f"{rank} is done", "")
store.wait(["0 is done", "1 is done"])  # who left before would be lost, not late
time.sleep(1 - rank)  # the store is rank 0's
print("FOUND" + json.dumps([rank, found]), flush=True)
os._exit(0)
"""
WAITS = """
from devicelab import devices, explain, placement, trace

init_process_group("nccl")
torch.cuda.set_device(local)
SECOND = int(1.5e9)  # in cycles of torch.cuda._sleep
x = torch.ones(10, device="cuda")
model = DDP(nn.Linear(10, 10).cuda(), device_ids=[local])

def seconds(call):
    torch.cuda.synchronize()
    dist.barrier()
    before = devices.clock()
    call()
    torch.cuda.synchronize()
    return devices.clock() - before

def one_is_late():
    if rank == 0:
        torch.cuda._sleep(SECOND)
    dist.all_reduce(x)

def by_turns():
    if rank == 1:
        torch.cuda._sleep(SECOND)
    works = [dist.all_reduce(x, async_op=True) for _ in range(3)]
    if rank == 0:
        torch.cuda._sleep(SECOND)  # its queue waits for rank 1 before
    for work in works:
        work.wait()

def made_up_for():
    works = []
    if rank == 1:
        torch.cuda._sleep(SECOND)
    works.append(dist.all_reduce(x, async_op=True))
    if rank == 0:
        torch.cuda._sleep(2 * SECOND)
    works.append(dist.all_reduce(x, async_op=True))
    for work in works:
        work.wait()

def backward():
    loss = model(torch.ones(1, 10, device="cuda")).sum()
    if rank == 1:
        torch.cuda._sleep(SECOND)
    loss.backward()

def at_a_barrier():
    if rank == 1:
        torch.cuda._sleep(SECOND)
    dist.barrier()

for call in (one_is_late, by_turns, made_up_for, backward, at_a_barrier):
    found[call.__name__] = seconds(call)
with trace() as seen:
    one_is_late()
found["trace"] = [seen.rank, seen.collectives, [list(pair) for pair in seen.waited_for], str(seen)]
found["placement"] = placement(model).sentence
try:
    x + torch.ones(10)
except RuntimeError as error:
    found["explain"] = str(explain(error))
end()
"""


def test_a_rank_that_comes_too_late_is_told_in_nccls_words(tmp_path_factory):
    met = of_two_ranks(tmp_path_factory, LATE)
    kind, words = met[0]["late"]
    assert kind == "DistBackendError"
    assert words == (
        "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=2, OpType=ALLREDUCE, NumelIn=3, NumelOut=3, "
        "Timeout(ms)=6000) ran for 6000 milliseconds before timing out."
    )
    kind, words = met[1]["buffers"]
    assert kind == "DistBackendError" and "timeout: WorkNCCL(SeqNum=" in words and "OpType=BROADCAST" in words


@pytest.fixture(scope="module")
def waited(tmp_path_factory):
    return of_two_ranks(tmp_path_factory, WAITS)


@pytest.mark.parametrize(
    ("call", "seconds"),
    {
        "one_is_late": (1, 1),
        "by_turns": (2, 1),
        "made_up_for": (3, 3),
        "backward": (1, 1),
        "at_a_barrier": (1, 1),
    }.items(),
)
def test_a_collective_begins_when_the_last_rank_comes(waited, call, seconds):
    assert [waited[rank][call] for rank in (0, 1)] == pytest.approx(seconds, rel=0.05)


def test_instruments_say_the_rank_and_for_whom_it_waited(waited):
    for number, found in waited.items():
        rank, collectives, _, text = found["trace"]
        assert (rank, collectives) == (number, 1) and f", rank {number}]" in text
        assert found["placement"].startswith(f"Rank {number}: Everything is on cuda:{number}")
        assert f"rank {number}" in found["explain"]
    assert waited[1]["trace"][2] == [[0, pytest.approx(1, rel=0.05)]]
    assert (
        "1 collective with other processes: waited 1.00 s for rank 0, which came later"
        in waited[1]["trace"][3]
    )


def test_a_lost_process_is_told_in_nccls_words(tmp_path):
    code = """
import os, sys, torch, torch.distributed as dist
from devicelab.simgpu import simulate_gpu
simulate_gpu("T4", count=2)
rank = int(sys.argv[1])
torch.cuda.set_device(rank)
dist.init_process_group("nccl", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
x = torch.ones(1, device="cuda")
dist.all_reduce(x)
if rank == 1:
    os._exit(0)
try:
    dist.all_reduce(x)
except Exception as error:
    print(type(error).__name__, error, flush=True)
os._exit(0)
"""
    command = [sys.executable, "-c", code]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    said, _ = ranks[0].communicate(timeout=120)
    ranks[1].wait(timeout=120)
    assert "DistBackendError NCCL error in: " in said  # behind Gloo's own lines, in 2.8
    assert (
        "remote process exited or there was a network error, NCCL version" in said
        and "ncclRemoteError" in said
    )
