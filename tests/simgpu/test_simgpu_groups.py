"""Several processes, a simulated card each: NCCL's groups, DistributedDataParallel and what builds on them."""

import pytest
import torch
import torch.distributed as dist
from ranks import of_two_ranks
from torch import nn

from devicelab.errors import SimulationError
from devicelab.simgpu import simulate_gpu
from devicelab.simgpu.machine import groups
from devicelab.simgpu.rules import collectives

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()), reason="this PyTorch has no gloo"
)

COLLECTIVES = """
init_process_group("nccl")
torch.cuda.set_device(local)
card = torch.device("cuda", local)
found["backend"] = dist.get_backend()
found["available"] = dist.is_nccl_available()

def kept(name, tensor):
    found[name] = [str(tensor.device), tensor.tolist()]

x = torch.arange(2.0, device=card) + rank
dist.all_reduce(x)
kept("all_reduce", x)
x = torch.full((2,), float(rank), device=card)
dist.all_reduce(x, op=dist.ReduceOp.AVG)
kept("average", x)
parts = [torch.empty(1, device=card) for _ in range(2)]
dist.all_gather(parts, torch.full((1,), float(rank), device=card))
kept("all_gather", torch.cat(parts))
whole = torch.empty(2, device=card)
dist.all_gather_into_tensor(whole, torch.full((1,), float(rank), device=card))
kept("all_gather_into_tensor", whole)
part = torch.empty(1, device=card)
dist.reduce_scatter_tensor(part, torch.arange(2.0, device=card))
kept("reduce_scatter_tensor", part)
x = torch.full((1,), float(rank + 5), device=card)
dist.broadcast(x, 0)
kept("broadcast", x)
x = torch.full((1,), float(rank), device=card)
dist.send(x, 1) if rank == 0 else dist.recv(x, 0)
kept("send", x)
x = torch.empty(2, device=card)
dist.all_to_all_single(x, torch.arange(2.0, device=card) + 10 * rank)
kept("all_to_all", x)
objects = [None, None]
dist.all_gather_object(objects, {"rank": rank})
found["objects"] = objects
work = dist.all_reduce(torch.ones(1, device=card), async_op=True)
found["work"] = work.wait()
pair = dist.new_group([0, 1])
x = torch.ones(1, device=card)
dist.all_reduce(x, group=pair)
kept("new_group", x)
halved = dist.all_reduce(torch.ones(1, device=card), async_op=True).get_future().then(lambda done: done.value()[0] / 2)
kept("then", halved.wait())
found["apart"] = caught(lambda: dist.all_reduce(torch.ones(4, 4, device=card).t()[:2]))
found["cpu"] = caught(lambda: dist.all_reduce(torch.ones(1)))
both = dist.new_group([0, 1], backend="cpu:gloo,cuda:nccl")
x = torch.ones(1)
dist.all_reduce(x, group=both)
kept("both", x)
big = torch.ones(25_000_000, device=card)
torch.cuda.synchronize()
before = devices.clock()
dist.all_reduce(big)
torch.cuda.synchronize()
found["seconds"] = devices.clock() - before
end()
"""
TRAINING = """
init_process_group("nccl")
torch.cuda.set_device(local)
torch.manual_seed(rank)  # rank 0's weights count
model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1)).to(local)
model = DDP(model, device_ids=[local], find_unused_parameters=True)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
g = torch.Generator().manual_seed(1)
data, labels = torch.randn(4, 2, 6, 3, generator=g), torch.randn(4, 2, 6, 1, generator=g)
for step in range(4):
    optimizer.zero_grad()
    if step == 2:
        with model.no_sync():
            nn.functional.mse_loss(model(data[step, rank].to(local)), labels[step, rank].to(local)).backward()
    nn.functional.mse_loss(model(data[step, rank].to(local)), labels[step, rank].to(local)).backward()
    optimizer.step()
found["devices"] = sorted({str(p.device) for p in model.parameters()} | {str(p.grad.device) for p in model.parameters()})
found["weights"] = [p.sum().item() for p in model.parameters()]
with model.join():
    for _ in range(1 + rank):  # unlike numbers of batches
        model(data[0, rank].to(local)).sum().backward()
if rank == 0:
    torch.save(model.module.state_dict(), sys.argv[1])
dist.barrier()
state = torch.load(sys.argv[1], map_location={"cuda:0": f"cuda:{local}"})
found["loaded"] = sorted({str(tensor.device) for tensor in state.values()})
end()
"""
SHARDED = """
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor

init_process_group("nccl")
torch.cuda.set_device(local)
mesh = init_device_mesh("cuda", (2,))
whole = distribute_tensor(torch.arange(8.0).reshape(4, 2).to(local), mesh, [Shard(0)])
found["part"] = [str(whole.device), str(whole.to_local().device), whole.to_local().tolist()]
found["sum"] = whole.sum().full_tensor().item()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).to(local)
for layer in (model[0], model[2], model):
    fully_shard(layer, mesh=mesh)
optimizer = torch.optim.AdamW(model.parameters())
for _ in range(2):
    loss = model(torch.ones(3, 4, device=f"cuda:{local}") * (rank + 1)).sum()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
found["parameter"] = str(next(model.parameters()).device)
found["full"] = model[0].weight.full_tensor().sum().item()
end()
"""
BOUND = """
torch.cuda.set_device(local)
init_process_group("nccl", device_id=torch.device("cuda", local))
x = torch.ones(1, device="cuda")
dist.all_reduce(x, group=dist.new_group([0, 1]))
found["both"] = [str(x.device), x.item()]
for rank_alone in (0, 1):
    group = dist.new_group([rank_alone])  # the other rank is no member
    if rank == rank_alone:
        dist.all_reduce(x, group=group)
found["alone"] = [str(x.device), x.item()]
end()
"""
TOGETHER = """
init_process_group("nccl")
found["first"] = caught(lambda: dist.all_reduce(torch.ones(1, device="cuda")))  # nobody called set_device
torch.cuda.set_device(local)
x = torch.ones(1, device="cuda")
dist.all_reduce(x)
found["then"] = x.item()
end()
"""


@pytest.fixture(scope="module")
def met(tmp_path_factory):
    return of_two_ranks(tmp_path_factory, COLLECTIVES)


def test_the_group_is_nccls(met):
    assert [(one["backend"], one["available"]) for one in met.values()] == [("nccl", True)] * 2


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "all_reduce": ([1, 3], [1, 3]),
        "average": ([0.5, 0.5], [0.5, 0.5]),
        "all_gather": ([0, 1], [0, 1]),
        "all_gather_into_tensor": ([0, 1], [0, 1]),
        "reduce_scatter_tensor": ([0], [2]),
        "broadcast": ([5], [5]),
        "send": ([0], [0]),
        "all_to_all": ([0, 10], [1, 11]),
        "new_group": ([2], [2]),
        "then": ([1], [1]),
    }.items(),
)
def test_a_collective_has_the_right_values_on_each_card(met, name, values):
    assert met[0][name] == ["cuda:0", values[0]] and met[1][name] == ["cuda:1", values[1]]


def test_objects_and_work_come_back(met):
    for one in met.values():
        assert one["objects"] == [{"rank": 0}, {"rank": 1}] and one["work"] is True


def test_a_tensor_in_pieces_is_refused_as_nccl_does(met):
    assert [one["apart"] for one in met.values()] == [["ValueError", "Tensors must be contiguous"]] * 2


def test_a_tensor_of_the_cpu_has_no_backend_unless_there_is_one(met):
    for one in met.values():
        assert one["cpu"] == ["RuntimeError", "No backend type associated with device type cpu"]
        assert one["both"] == ["cpu", [2]]


def test_its_time_is_that_of_the_link(met):
    # 100 MB there and back by halves over PCIe 3.0 x16, which carries 15.75 GB/s at most
    for one in met.values():
        assert 100e6 / 15.75e9 < one["seconds"] < 3 * 100e6 / 15.75e9


def test_ddp_trains_the_same_model_on_both_cards(tmp_path_factory):
    met = of_two_ranks(tmp_path_factory, TRAINING)
    assert [met[rank]["devices"] for rank in (0, 1)] == [["cuda:0"], ["cuda:1"]]
    assert met[0]["weights"] == met[1]["weights"]
    assert [met[rank]["loaded"] for rank in (0, 1)] == [["cuda:0"], ["cuda:1"]]


@pytest.mark.slow
def test_sharded_models_and_distributed_tensors_run(tmp_path_factory):
    met = of_two_ranks(tmp_path_factory, SHARDED)
    assert met[0]["part"] == ["cuda:0", "cuda:0", [[0, 1], [2, 3]]]
    assert met[1]["part"] == ["cuda:1", "cuda:1", [[4, 5], [6, 7]]]
    assert [met[rank]["sum"] for rank in (0, 1)] == [28, 28]
    assert [met[rank]["parameter"] for rank in (0, 1)] == ["cuda:0", "cuda:1"]
    assert met[0]["full"] == met[1]["full"]


def test_a_group_that_is_bound_to_its_card_has_groups_within(tmp_path_factory):
    met = of_two_ranks(tmp_path_factory, BOUND)
    for rank, one in met.items():
        assert one["both"] == one["alone"] == [f"cuda:{rank}", 2]


def test_two_ranks_on_one_card_are_refused_as_nccl_does(tmp_path_factory):
    met = of_two_ranks(tmp_path_factory, TOGETHER)
    for rank, one in met.items():
        kind, words = one["first"]
        assert kind == "DistBackendError"
        assert f"Duplicate GPU detected : rank {rank} and rank {1 - rank} both on CUDA device 0" in words
        assert one["then"] == 2


def test_the_bytes_of_a_collective_are_those_of_a_ring():
    # nccl-tests, doc/PERFORMANCE.md; in and out together have n + 1 parts where one side is gathered or scattered
    assert collectives.sent("allreduce_", 100, 2) == 100
    assert collectives.sent("allreduce_", 100, 4) == 150
    assert collectives.sent("_allgather_base_", 500, 4) == 300
    assert collectives.sent("_reduce_scatter_base_", 500, 4) == 300
    assert collectives.sent("alltoall_base_", 200, 4) == 75
    assert collectives.sent("broadcast_", 100, 4) == 100
    assert collectives.sent("allreduce_", 100, 1) == 0


@pytest.fixture
def alone():
    with simulate_gpu("T4"):
        dist.init_process_group("nccl", rank=0, world_size=1, store=dist.HashStore())
        yield
        dist.destroy_process_group()


def test_a_group_of_one_works_in_this_process(alone):
    x = torch.ones(2, device="cuda")
    dist.all_reduce(x)
    assert x.tolist() == [1, 1] and x.device.type == "cuda"
    model = nn.parallel.DistributedDataParallel(nn.Linear(2, 1).cuda())
    model(x[None]).sum().backward()
    assert model.module.weight.grad.device == torch.device("cuda:0")
    assert not model.module.weight.grad.cpu().isnan().any()


def test_mixed_precision_of_ddps_own_is_refused(alone):
    kinds = nn.parallel.distributed._MixedPrecision(param_dtype=torch.float16, reduce_dtype=torch.float16)
    with pytest.raises(SimulationError, match=r"Use torch\.autocast"):
        nn.parallel.DistributedDataParallel(nn.Linear(2, 1).cuda(), mixed_precision=kinds)


def test_a_card_is_known_by_its_own_number_where_each_process_sees_one(monkeypatch):
    assert groups.physical(1) == "0 1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    monkeypatch.setenv("GROUP_RANK", "2")
    assert [groups.physical(index) for index in (0, 1)] == ["2 3", "2 5"]


def test_without_a_backend_it_is_the_accelerators():
    with simulate_gpu("T4"):
        dist.init_process_group(rank=0, world_size=1, store=dist.HashStore())
        try:
            dist.all_reduce(torch.ones(1, device="cuda"))
            with pytest.raises(RuntimeError, match="No backend type associated with device type cpu"):
                dist.all_reduce(torch.ones(1))
        finally:
            dist.destroy_process_group()


def test_a_group_of_gloo_is_not_taken_for_one_of_nccl_that_had_its_name():
    with simulate_gpu("T4"):
        for backend in ("nccl", "gloo"):
            dist.init_process_group(backend, rank=0, world_size=1, store=dist.HashStore())
            dist.all_reduce(torch.ones(1, device="cuda" if backend == "nccl" else "cpu"))
            dist.destroy_process_group()


def test_nothing_is_left_of_it():
    before = dist.is_nccl_available(), dist.Reducer, hasattr(dist.distributed_c10d, "ProcessGroupNCCL")
    with simulate_gpu("T4"):
        assert dist.is_nccl_available()
    assert before == (
        dist.is_nccl_available(),
        dist.Reducer,
        hasattr(dist.distributed_c10d, "ProcessGroupNCCL"),
    )
