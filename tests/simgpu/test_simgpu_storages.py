"""Storages of the card's tensors, typed and untyped; and what a forked child may still do with what its parent put there."""

import os
import pickle

import pytest
import torch

from devicelab import simulate_gpu

pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
CUDA = torch.device("cuda:0")


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("T4") as simulation:
        yield simulation


def tensor():
    return torch.tensor([1.0, 2.0, 3.0], device="cuda")


def test_a_typed_storage_is_read_and_written():
    x = tensor()
    storage = x.storage()
    assert storage[0] == 1 and storage.tolist() == list(storage) == [1, 2, 3]
    storage[0], storage[1:3] = 5.0, 7.0
    assert x.tolist() == [5, 7, 7]
    storage.fill_(2)
    assert x.tolist() == [2, 2, 2]
    assert storage.half().tolist() == [2, 2, 2]
    assert "device=cuda:0" in repr(storage)
    with pytest.raises(RuntimeError, match="slices are only supported in UntypedStorage"):
        storage[0:2]


KINDS = {
    "typed": lambda x: x.storage(),
    "a copy": lambda x: x.storage().clone(),
    "of another type": lambda x: x.storage().double(),
    "untyped": lambda x: x.untyped_storage(),
    "a slice": lambda x: x.untyped_storage()[0:8],
    "new": lambda x: x.untyped_storage().new(),
    "made there": lambda x: torch.UntypedStorage(4, device="cuda"),
    "by its type": lambda x: torch.cuda.FloatStorage(3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_storage_lies_where_its_tensor_lies(kind):
    storage = KINDS[kind](tensor())
    assert storage.device == CUDA and storage.is_cuda and storage.get_device() == 0
    assert storage.cpu().device.type == "cpu"


def test_a_slice_is_a_view_whose_memory_is_counted_once():
    x = torch.ones(2**20, device="cuda")
    before = torch.cuda.memory_allocated()
    part = x.untyped_storage()[0:4]
    part[0:4] = 0
    assert torch.cuda.memory_allocated() == before and x[0].item() == 0
    assert torch.ones(2).untyped_storage()[0:4].device.type == "cpu"


def test_reading_one_byte_waits_for_the_card(card):
    x = torch.ones(2000, 2000, device="cuda")
    y = x @ x
    assert not torch.cuda.current_stream().query()
    y.untyped_storage()[0]
    assert torch.cuda.current_stream().query()


def in_child(program):
    """Return what a program returns in a forked child, or its error, as text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = str(program())
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode()[:4000])
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as read:
        return read.read()


READS = {
    "cpu": lambda x: x.cpu(),
    "tolist": lambda x: x.tolist(),
    "repr": lambda x: repr(x),
    "copy_": lambda x: torch.ones(3).copy_(x),
    "pickle": lambda x: pickle.dumps(x),
    "storage": lambda x: x.untyped_storage().cpu(),
    "a byte": lambda x: x.untyped_storage()[0],
    "add": lambda x: x + 1,
    "an element": lambda x: x[0],
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("read", READS)
def test_a_forked_child_cannot_read_what_its_parent_put_on_the_card(read):
    x = tensor()
    assert "CUDA error: initialization error" in in_child(lambda: READS[read](x))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_in_a_forked_child_a_tensor_and_its_storage_say_that_they_are_on_the_card():
    x = tensor()
    told = in_child(lambda: (x.device, x.untyped_storage().device, x.storage().device, x.is_cuda))
    assert told.count("device(type='cuda', index=0)") == 3 and told.endswith("True)")
    assert in_child(lambda: torch.ones(2).sum().item()) == "2.0"
