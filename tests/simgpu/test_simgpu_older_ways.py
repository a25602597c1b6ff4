"""Older programs name the card by tensor types, and keep models in TorchScript files."""

import io
import pickle

import pytest
import torch
from torch import nn

from devicelab.errors import SimulationError
from devicelab.simgpu import simulate_gpu

PLAIN = torch.FloatTensor
CUDA0 = torch.device("cuda", 0)


@pytest.fixture
def card():
    with simulate_gpu("Tesla T4") as simulation:
        yield simulation


def test_a_tensor_type_of_the_card_makes_tensors_there(card):
    x = torch.cuda.FloatTensor(2, 3)
    assert (x.device, x.dtype, tuple(x.shape)) == (CUDA0, torch.float32, (2, 3))
    assert torch.cuda.FloatTensor(4, 1).fill_(1.0).sum().item() == 4.0
    assert torch.cuda.LongTensor([1, 2]).tolist() == [1, 2] and torch.cuda.LongTensor([1]).is_cuda
    assert torch.cuda.HalfTensor().numel() == 0
    assert torch.cuda.FloatTensor(x).data_ptr() == x.data_ptr()
    with pytest.raises(TypeError) as met:
        torch.cuda.FloatTensor(torch.ones(1))
    assert str(met.value) == f"expected {options('float', 'cuda')} (got {options('float', 'cpu')})"


def options(dtype, device):
    """Return what C++ writes of a tensor's type and device."""
    return (
        f"TensorOptions(dtype={dtype}, device={device}, layout=Strided, requires_grad=false (default), pinned_memory=false "
        "(default), memory_format=(nullopt))"
    )


TYPED = {  # what is made of a tensor, the type and device that are expected, and those that are met
    "FloatTensor": (lambda g, c: torch.FloatTensor(g), "float", "cpu", "float", "cuda:0"),
    "LongTensor": (lambda g, c: torch.LongTensor(g), "long int", "cpu", "float", "cuda:0"),
    "of whole numbers": (lambda g, c: torch.LongTensor(g.long()), "long int", "cpu", "long int", "cuda:0"),
    "cuda.LongTensor": (lambda g, c: torch.cuda.LongTensor(g), "long int", "cuda", "float", "cuda:0"),  # type: ignore[attr-defined]
    "new on the CPU": (lambda g, c: c.new(g), "float", "cpu", "float", "cuda:0"),
    "new on the card": (lambda g, c: g.new(c), "float", "cuda", "float", "cpu"),
    "new of another type": (lambda g, c: g.new(g.double()), "float", "cuda", "double", "cuda:0"),
}


@pytest.mark.parametrize("name", TYPED)
def test_an_older_constructor_makes_nothing_of_a_tensor_of_another_device_or_type(card, name):
    call, dtype, device, met_dtype, met_device = TYPED[name]
    with pytest.raises(TypeError) as met:
        call(torch.ones(2, device="cuda"), torch.ones(2))
    assert str(met.value) == f"expected {options(dtype, device)} (got {options(met_dtype, met_device)})"


def test_of_a_tensor_of_its_own_kind_an_older_constructor_gives_the_same_once_more(card):
    g, c = torch.ones(2, device="cuda"), torch.ones(2)
    for made, of in ((g.new(g), g), (torch.Tensor(g), g), (torch.Tensor(g.long()), None), (c.new(c), c)):
        assert made.device == (CUDA0 if made.is_cuda else torch.device("cpu")) and made.tolist() == [1, 1]
        assert of is None or made.data_ptr() == of.data_ptr()
    assert torch.FloatTensor([g[0], g[1]]).device.type == "cpu"  # of a list, the numbers


STORED = {
    "FloatTensor": lambda g, c: torch.FloatTensor(g.untyped_storage()),
    "Tensor": lambda g, c: torch.Tensor(g.untyped_storage()),
    "new on the CPU": lambda g, c: c.new(g.untyped_storage()),
    "typed": lambda g, c: torch.FloatTensor(g.storage()),
    "cuda.FloatTensor": lambda g, c: torch.cuda.FloatTensor(c.untyped_storage()),  # type: ignore[attr-defined]
    "new on the card": lambda g, c: g.new(c.untyped_storage()),
}


@pytest.mark.filterwarnings("ignore:TypedStorage")
@pytest.mark.parametrize("name", STORED)
def test_an_older_constructor_takes_a_storage_of_its_own_device_only(card, name):
    here, there = ("cuda:0", "cpu") if "card" in name or "cuda" in name else ("cpu", "cuda:0")
    words = f'storage of a tensor on device "{here}" to a storage on different device "{there}"'
    with pytest.raises(RuntimeError, match=words):
        STORED[name](torch.ones(2, device="cuda"), torch.ones(2))
    with pytest.raises(RuntimeError, match="Expected a Storage of type Long"):
        torch.LongTensor(torch.ones(2, device="cuda").storage())


def test_a_storage_of_the_card_becomes_a_tensor_there(card):
    g = torch.ones(2, device="cuda")
    for made in (torch.cuda.FloatTensor(g.untyped_storage()), g.new(g.untyped_storage())):
        assert (made.device, made.data_ptr()) == (CUDA0, g.data_ptr())


def test_a_tensor_knows_its_type(card):
    x = torch.ones(2, device="cuda")
    assert x.type() == "torch.cuda.FloatTensor" == str(torch.cuda.FloatTensor)
    assert isinstance(x, torch.cuda.FloatTensor)
    assert not isinstance(x, torch.FloatTensor) and isinstance(x.cpu(), torch.FloatTensor)
    assert not isinstance(x.cpu(), torch.cuda.FloatTensor) and not isinstance(x, torch.cuda.DoubleTensor)
    assert torch.cuda.FloatTensor.dtype is torch.float32 and torch.cuda.FloatTensor.is_cuda


def test_a_type_of_the_cpu_is_as_it_was_for_all_else(card):
    kind = torch.FloatTensor
    assert str(kind) == "torch.FloatTensor" == torch.ones(1).type()
    assert (kind.dtype, kind.layout, kind.is_cuda) == (torch.float32, torch.strided, False)
    assert kind([1, 2]).tolist() == [1, 2] and type(kind(2)) is torch.Tensor
    assert issubclass(PLAIN, kind) and issubclass(kind, kind) and not issubclass(torch.LongTensor, kind)
    assert torch.ones(1, device="cuda").type(kind).device.type == "cpu"
    assert pickle.loads(pickle.dumps(kind)) is kind


def test_type_moves_and_converts(card):
    x = torch.ones(2)
    for kind in (torch.cuda.HalfTensor, "torch.cuda.HalfTensor"):
        moved = x.type(kind)
        assert (moved.device, moved.dtype) == (CUDA0, torch.float16)
    assert moved.type(torch.FloatTensor).device.type == "cpu"
    assert nn.Linear(1, 1).type(torch.cuda.FloatTensor).weight.device == CUDA0


def test_the_usual_line_of_older_tutorials(card):
    kind = torch.cuda.FloatTensor if torch.cuda.is_available() else torch.FloatTensor
    valid = torch.autograd.Variable(kind(3, 1).fill_(1.0), requires_grad=False)
    loss = nn.BCELoss().cuda()(torch.sigmoid(nn.Linear(2, 1).cuda()(torch.ones(3, 2).type(kind))), valid)
    assert loss.is_cuda


@pytest.mark.filterwarnings("ignore:torch.set_default_tensor_type")
def test_the_default_tensor_type_of_the_card(card):
    torch.set_default_tensor_type("torch.cuda.FloatTensor")
    assert torch.ones(1).device == CUDA0 and nn.Linear(1, 1).weight.is_cuda
    torch.set_default_tensor_type(torch.cuda.DoubleTensor)
    assert torch.ones(1).dtype is torch.float64
    torch.set_default_tensor_type(torch.FloatTensor)
    assert torch.ones(1).device.type == "cpu" and torch.ones(1).dtype is torch.float32


@pytest.mark.filterwarnings("ignore:torch.set_default_tensor_type")
def test_the_default_type_and_not_the_default_device_says_where_torch_tensor_makes_its_own(card):
    with torch.device("cuda"):
        assert torch.Tensor(2).device.type == "cpu"
    torch.set_default_tensor_type("torch.cuda.FloatTensor")
    made = (
        torch.Tensor(2),
        torch.Tensor(2, 3),
        torch.Tensor([1.0]),
        torch.Tensor(),
        torch.Tensor(2, device="cuda"),
    )
    assert {one.device for one in made} == {CUDA0} and made[2].tolist() == [1]
    assert torch.Tensor(torch.ones(2).untyped_storage()).device == CUDA0
    assert torch.Tensor(torch.ones(2, device="cpu")).device.type == "cpu"
    with pytest.raises(RuntimeError, match="expects device type: cuda but device type: cpu was passed"):
        torch.Tensor(2, device="cpu")
    torch.set_default_tensor_type(torch.FloatTensor)
    assert torch.Tensor(2).device.type == "cpu"
    torch.set_default_tensor_type("torch.cuda.FloatTensor")
    card.stop()
    assert torch.Tensor(2).device.type == "cpu"
    with simulate_gpu("Tesla T4"):
        assert torch.Tensor(2).device.type == "cpu"


def test_without_the_card_torch_says_so_itself(card):
    inside = torch.cuda.FloatTensor
    card.stop()
    for kind in (inside, torch.cuda.FloatTensor):
        with pytest.raises((TypeError, RuntimeError, AssertionError), match=r"CUDA|NVIDIA"):
            kind(2)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_runs_on_the_card_and_its_files_load_there(card):
    scripted = torch.jit.script(nn.Linear(2, 2))
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    for location, wanted in (
        ("cuda", CUDA0),
        (CUDA0, CUDA0),
        ("cpu", torch.device("cpu")),
        (None, torch.device("cpu")),
    ):
        file.seek(0)
        loaded = torch.jit.load(file, map_location=location)
        assert loaded.weight.device == wanted
        assert loaded(torch.ones(1, 2, device=wanted)).device == wanted


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_torchscript_file_is_not_written_from_a_card(card, tmp_path):
    scripted = torch.jit.script(nn.Linear(2, 2).cuda())
    for save in (
        lambda: torch.jit.save(scripted, io.BytesIO()),
        lambda: torch.jit.save(scripted, tmp_path / "x.pt"),
        lambda: scripted.save(tmp_path / "x.pt"),
    ):
        with pytest.raises(SimulationError, match=r"cannot write a TorchScript file of a module on a card"):
            save()
    torch.jit.save(scripted.cpu(), tmp_path / "x.pt")


def test_the_old_new_makes_nothing_on_another_kind_of_device(card):
    ones = torch.ones(2, device="cuda")
    assert ones.new([1.0], device="cuda").device == ones.new(2, device="cuda:0").device == CUDA0
    for make in (ones.new, torch.cuda.FloatTensor):
        with pytest.raises(RuntimeError, match="expects device type: cuda but device type: cpu was passed"):
            make([1.0], device="cpu")
    for make in (ones.new, torch.ones(2).new, torch.FloatTensor, torch.cuda.FloatTensor):
        with pytest.raises(RuntimeError, match=r"Legacy tensor (constructor|new) of the form"):
            make(ones, device="cuda")
    with pytest.raises(RuntimeError, match="expects device type: cpu but device type: cuda was passed"):
        torch.ones(2).new([1.0], device="cuda")
