"""Inside TorchScript's interpreter, which asks C++ where tensors are: its answers, its own tensors, its copies, its errors."""

import pytest
import torch
from torch import nn

from devicelab import simulate_gpu

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit", "ignore::torch.jit.TracerWarning")
CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")
MIXED = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("T4") as simulation:
        yield simulation


MAKERS = [
    "torch.ones(3)",
    "torch.zeros([3], device=torch.device('cpu'))",
    "torch.tensor([1.0, 2.0, 3.0])",
    "torch.as_tensor([1.0, 2.0, 3.0])",
    "torch.full([3], 2.0)",
    "torch.arange(3)",
    "torch.rand(3)",
    "torch.empty(3)",
    "torch.linspace(0, 1, 3)",
    "torch.eye(3)[0]",
    "torch.hann_window(3)",
    "torch.ones(3).clone()",
    "torch.zeros_like(x, device='cpu')",
    "x.new_ones([3], device='cpu')",
    "x.to('cpu')",
    "x.cpu()",
    "x.to(torch.ones(3))",
    "x.type_as(torch.ones(3))",
    "x.to(device='cpu', dtype=torch.float64)",
]


def scripted(expression):
    """Return a scripted function of x."""
    return torch.jit.CompilationUnit(f"def f(x):\n    return {expression}\n").f


@pytest.mark.parametrize("maker", MAKERS)
def test_what_the_interpreter_makes_on_the_cpu_is_not_adopted(maker):
    x = torch.ones(3, device="cuda")
    assert scripted(maker)(x).device == CPU
    with pytest.raises(RuntimeError, match="two devices, cuda:0 and cpu"):
        scripted(f"x + {maker}")(x)
    assert scripted(f"x + {maker}")(x.cpu()).device == CPU


@pytest.mark.parametrize(
    "maker",
    [
        "torch.ones(3, device='cuda')",
        "torch.ones(3, device=x.device)",
        "torch.tensor([1.0, 2.0, 3.0], device=x.device)",
        "torch.tensor([1.0, 2.0, 3.0], device='cuda')",
        "torch.tensor(1.0, device='cuda', dtype=torch.float64)",
        "torch.as_tensor([1.0, 2.0, 3.0], device='cuda')",
        "torch.ones(3).to(x)",
        "torch.ones(3).to(x.device)",
        "torch.ones(3).type_as(x)",
        "torch.ones(3).cuda()",
        "torch.zeros_like(x)",
        "x.new_ones([3])",
        "torch.ones(())",
    ],
)
def test_what_it_makes_beside_a_tensor_of_the_card_may_meet_it(maker):
    assert scripted(f"x + {maker}")(torch.ones(3, device="cuda")).device == CUDA


def test_it_asks_where_a_tensor_is_and_hears_the_card():
    told = torch.jit.CompilationUnit(
        "def f(x):\n    return x.is_cuda, x.is_cpu, x.get_device(), str(x.device), x.device.type == 'cuda'\n"
    ).f
    assert told(torch.ones(1, device="cuda")) == (True, False, 0, "cuda:0", True)
    assert told(torch.ones(1)) == (False, True, -1, "cpu", False)


def test_a_branch_and_a_loop_are_looked_into():
    f = torch.jit.CompilationUnit(
        "def f(x, n: int = 2):\n    for i in range(n):\n        if x.is_cuda:\n            x = x + torch.ones(3)\n    return x\n"
    ).f
    assert f(torch.ones(3)).tolist() == [1, 1, 1]
    assert f(torch.ones(3, device="cuda"), 0).device == f(torch.ones(3, device="cuda"), n=0).device == CUDA
    with pytest.raises(RuntimeError, match="two devices"):
        f(torch.ones(3, device="cuda"))
    with pytest.raises(RuntimeError, match="Unknown keyword argument 'm'"):
        f(torch.ones(3), m=2)


def test_what_a_trace_made_or_captured_on_the_cpu_stays_there():
    x, constant = torch.ones(3), torch.rand(3)
    card = x.to("cuda")
    for function in (
        lambda x: x + torch.ones(3),
        lambda x: x * constant,
        lambda x: x + torch.tensor([1, 2, 3]),
    ):
        traced = torch.jit.trace(function, x)
        assert traced(x).device == CPU
        with pytest.raises(RuntimeError, match="two devices"):
            traced(card)
    held = constant.cuda()
    assert torch.jit.trace(lambda x: x * held + torch.ones(3, device="cuda"), card)(card).device == CUDA


class Attribute(nn.Module):
    def __init__(self, plain):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.constant = torch.ones(3) if plain else nn.Buffer(torch.ones(3))

    def forward(self, x):
        return self.layer(x) + self.constant


@pytest.mark.parametrize("make", [torch.jit.script, lambda model: torch.jit.trace(model, torch.ones(1, 3))])
def test_an_attribute_that_is_no_buffer_stays_behind(make):
    card = torch.ones(1, 3, device="cuda")
    module = make(Attribute(plain=False)).cuda()
    for _ in range(3):  # the interpreter optimizes what it has seen
        module(card).sum().backward()
    assert module.layer.weight.grad.device == CUDA
    with pytest.raises(RuntimeError, match="two devices"):
        make(Attribute(plain=True)).cuda()(card)


class HasBoth(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.here = nn.Linear(3, 3), torch.ones(3)
        self.register_buffer("there", torch.ones(3))

    def forward(self, x):
        return self.layer(x) + self.there if x.is_cuda else x + self.here


def test_constants_that_are_alike_but_on_two_devices_are_two():
    x = torch.ones(3, device="cuda")
    frozen = torch.jit.freeze(torch.jit.script(HasBoth()).cuda().eval())
    for _ in range(3):  # it is made shorter at the second run
        assert frozen(x).device == CUDA and frozen(x.cpu()).device == CPU


def test_a_script_that_compares_two_devices_is_refused():
    x = torch.ones(3, device="cuda")
    assert scripted("torch.equal(x, torch.ones(3, device='cuda'))")(x)
    with pytest.raises(RuntimeError, match="wrapper_CUDA__equal"):
        scripted("torch.equal(x, torch.ones(3))")(x)


def test_the_interpreters_error_ends_in_cudas_words():
    with pytest.raises(RuntimeError) as caught:
        scripted("x + torch.ones(3)")(torch.ones(3, device="cuda"))
    text = str(caught.value)
    assert text.startswith(
        "The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript"
    )
    assert text.endswith(f"RuntimeError: {MIXED}\n")


def test_a_traced_convolution_follows_its_input():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).cuda()
    traced = torch.jit.trace(model, torch.ones(1, 1, 4, 4, device="cuda"))
    x = torch.rand(1, 1, 4, 4, device="cuda")
    for _ in range(3):
        torch.testing.assert_close(traced(x), model(x))
        traced(x).sum().backward()
    assert model[0].weight.grad.device == CUDA


def test_a_tracing_check_compares_constants_that_torch_hands_on_as_numbers():
    torch.jit.trace(nn.BatchNorm2d(2).cuda(), torch.ones(2, 2, 4, 4, device="cuda"))
    layer = nn.TransformerEncoderLayer(4, 2, batch_first=True).cuda().eval()
    x = torch.rand(1, 2, 4, device="cuda")
    traced = torch.jit.trace(layer, x, check_trace=False)
    torch.testing.assert_close(traced(x), layer(x))


def test_after_the_simulation_a_function_that_ran_in_it_runs_as_ever(card):
    f = scripted("x + torch.ones(3)")
    f(torch.ones(3))
    card.stop()
    assert f(torch.ones(3)).tolist() == [2, 2, 2]
