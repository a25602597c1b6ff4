"""One process with several cards: torch.cuda.comm and DataParallel."""

import copy
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.cuda import comm

from devicelab.simgpu import simulate_gpu


@pytest.fixture(autouse=True)
def two_cards():
    with simulate_gpu("T4", count=2):
        yield


def places(tensors):
    return [str(tensor.device) for tensor in tensors]


def test_parts_go_to_the_cards_and_come_back_as_one():
    x = torch.arange(5.0, device="cuda:0")
    parts = comm.scatter(x, [0, 1])
    assert places(parts) == ["cuda:0", "cuda:1"] and [len(part) for part in parts] == [3, 2]
    parts = comm.scatter(torch.arange(5.0), [1, 0], chunk_sizes=[1, 4])
    assert places(parts) == ["cuda:1", "cuda:0"] and parts[1].tolist() == [1, 2, 3, 4]
    whole = comm.gather(parts, dim=0, destination=0)
    assert str(whole.device) == "cuda:0" and whole.tolist() == [0, 1, 2, 3, 4]
    assert str(comm.gather(parts, destination=-1).device) == "cpu"
    out = torch.empty(5, device="cuda:1")
    assert comm.gather(parts, out=out) is out and out.tolist() == [0, 1, 2, 3, 4]


def test_copies_go_to_every_card_and_sums_to_one():
    x = torch.ones(2, device="cuda:0")
    copies = comm.broadcast(x, [0, 1])
    assert copies[0] is x and places(copies) == ["cuda:0", "cuda:1"]
    groups = comm.broadcast_coalesced([x, x * 2], [0, 1])
    assert groups[0][0] is x and places(groups[1]) == ["cuda:1", "cuda:1"] and groups[1][1].tolist() == [2, 2]
    total = comm.reduce_add(copies, destination=0)
    assert str(total.device) == "cuda:0" and total.tolist() == [2, 2]
    assert [one.tolist() for one in comm.reduce_add_coalesced(groups, destination=1)] == [[2, 2], [4, 4]]


def test_what_lies_elsewhere_is_refused_in_cudas_words():
    with pytest.raises(RuntimeError, match=r"All tensors must be on devices\[0\]: 0"):
        comm.broadcast_coalesced([torch.ones(1)], [0, 1])
    with pytest.raises(RuntimeError, match="tensor at index 1 has device cpu"):
        comm.gather([torch.ones(1, device="cuda"), torch.ones(1)])


class Watched(nn.Module):
    """A model that notes where its forward ran, and with how many rows."""

    seen: ClassVar[list] = []

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.register_buffer("scale", torch.ones(1))

    def forward(self, x):
        self.seen.append((str(x.device), str(self.layer.weight.device), str(self.scale.device), len(x)))
        return self.layer(x) * self.scale


def test_data_parallel_trains_as_one_model_does():
    Watched.seen.clear()
    torch.manual_seed(0)
    alone = Watched()
    model = nn.DataParallel(copy.deepcopy(alone).cuda())
    x, y = torch.randn(5, 2), torch.randn(5, 1)
    out = model(x.cuda())
    assert str(out.device) == "cuda:0"
    assert sorted(Watched.seen) == [("cuda:0",) * 3 + (3,), ("cuda:1",) * 3 + (2,)]
    nn.functional.mse_loss(out, y.cuda()).backward()
    nn.functional.mse_loss(alone(x), y).backward()
    gradient = model.module.layer.weight.grad
    assert str(gradient.device) == "cuda:0"
    torch.testing.assert_close(gradient.cpu(), alone.layer.weight.grad)


def test_data_parallel_wants_the_model_on_its_first_card():
    words = (
        r"parameters and buffers on device cuda:0 \(device_ids\[0\]\) but found one of them on device: cuda:1"
    )
    with pytest.raises(RuntimeError, match=words):
        nn.DataParallel(nn.Linear(2, 1).to("cuda:1"))(torch.ones(4, 2, device="cuda"))


def test_with_one_card_nothing_is_spread():
    model = nn.DataParallel(nn.Linear(2, 2), device_ids=[0])
    assert model(torch.ones(3, 2, device="cuda")).device == torch.device("cuda:0")
