"""What a function does on the card it does inside torch.func's transforms too: same device, same refusal."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from devicelab import simulate_gpu

ROW = torch.ones(3)
INSIDE: dict[str, Callable[[Any], Any]] = {
    "grad": lambda body: torch.func.grad(lambda x: body(x).sum())(ROW.cuda()),
    "vjp": lambda body: torch.func.vjp(body, ROW.cuda())[0],
    "jvp": lambda body: torch.func.jvp(body, (ROW.cuda(),), (ROW.cuda(),))[1],
    "jacrev": lambda body: torch.func.jacrev(body)(ROW.cuda()),
    "jacfwd": lambda body: torch.func.jacfwd(body, randomness="same")(ROW.cuda()),
    "vmap": lambda body: torch.func.vmap(body, randomness="different")(torch.ones(2, 3).cuda()),
    "vmap of grad": lambda body: torch.func.vmap(
        torch.func.grad(lambda x: body(x).sum()), randomness="different"
    )(torch.ones(2, 3).cuda()),
    "functionalize": lambda body: torch.func.functionalize(body)(ROW.cuda()),
}


def autocast(x):
    with torch.autocast("cuda"):
        return F.linear(x.view(1, 3), torch.ones(2, 3, device="cuda")).float()


STAYS: dict[str, Callable[[Any], Any]] = {
    "tensors made on the CPU and copied": lambda x: x * torch.randn(3).to(x.device),
    "tensors made of data": lambda x: x * torch.tensor([1.0, 2.0, 3.0], device="cuda"),
    "positions on the CPU": lambda x: x[torch.arange(3)],
    "a copy there and back": lambda x: x.cpu().cuda(non_blocking=True) * 2,
    "a copy from pinned memory": lambda x: x + torch.ones(3).pin_memory().to("cuda", non_blocking=True),
    "made in pinned memory": lambda x: x + torch.tensor([1.0, 1.0, 1.0], pin_memory=True).cuda(),
    "new_tensor": lambda x: x + x.new_tensor([1.0, 2.0, 3.0]),
    "asked where it is": lambda x: x if x.is_cuda and x.get_device() == 0 and not x.is_pinned() else x.cpu(),
    "autocast": autocast,
}
REFUSED: dict[str, Callable[[Any], Any]] = {
    "ones of the CPU": lambda x: x * torch.ones(3),
    "data of the CPU": lambda x: x * torch.tensor([1.0, 2.0, 3.0]),
    "a weight of the CPU": lambda x: F.linear(x.view(1, 3), torch.ones(2, 3)),
    "like, but on the CPU": lambda x: x * torch.zeros_like(x, device="cpu"),
}


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("T4") as simulation:
        yield simulation


@pytest.mark.parametrize("transform", INSIDE)
@pytest.mark.parametrize("body", STAYS)
def test_what_stays_on_the_card_does_so_inside_a_transform(body, transform):
    assert str(INSIDE[transform](STAYS[body]).device) == "cuda:0"


@pytest.mark.parametrize("transform", INSIDE)
@pytest.mark.parametrize("body", REFUSED)
def test_a_mix_is_refused_inside_a_transform(body, transform):
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        INSIDE[transform](REFUSED[body])


NUMBERS = {
    "times": lambda x: x * 2,
    "plus": lambda x: x + 1,
    "a number first": lambda x: 2 * x,
    "a function": lambda x: torch.mul(x, 2),
    "power": lambda x: x**2,
    "compared": lambda x: x > 0.5,
    "chosen": lambda x: torch.where(x > 0.5, x, 0.0),
    "added in place": lambda x: x.clone().add_(1),
}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("body", NUMBERS.values(), ids=NUMBERS)
def test_numbers_meet_tensors_inside_vmap(body, device):
    x = torch.arange(3.0)
    out = torch.func.vmap(body)(x.to(device))
    assert out.device.type == device and out.tolist() == body(x).tolist()


def test_factories_of_the_cpu_work_inside_a_transform_of_the_cpu():
    gradient = torch.func.grad(lambda x: (x * torch.randn(3) + torch.ones(3)).sum())(ROW)
    assert gradient.device.type == "cpu"


@pytest.mark.parametrize("default", ["cpu", "cuda"])
def test_a_type_is_named_once_whatever_the_default_device(default):
    x = torch.ones(3, device="cuda")
    with torch.device(default):
        assert x.type() == "torch.cuda.FloatTensor"
        assert x.tolist() == [1.0, 1.0, 1.0] and not x.is_pinned()
        with pytest.raises(RuntimeError, match=r"^cannot pin 'torch\.cuda\.FloatTensor' only dense CPU"):
            x.pin_memory()
