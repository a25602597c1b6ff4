"""Operators of one's own, by torch.library: each device's kernel runs for its tensors, and no other."""

import pytest
import torch

from devicelab import simulate_gpu
from devicelab.errors import SimulationError

made = torch.library.Library("devicelab_library", "DEF")
for name in ("both", "of_cpu", "of_cuda", "of_all"):
    made.define(f"{name}(Tensor x, Tensor? y=None) -> Tensor")
made.impl("both", lambda x, y=None: x + 1, "CPU")
made.impl("both", lambda x, y=None: x + 2, "CUDA")
made.impl("of_cpu", lambda x, y=None: x + 1, "CPU")
made.impl("of_cuda", lambda x, y=None: x + 2, "CUDA")
made.impl("of_all", lambda x, y=None: x + 3, "CompositeExplicitAutograd")


@torch.library.custom_op("devicelab_library::decorated", mutates_args=(), device_types="cpu")
def decorated(x: torch.Tensor) -> torch.Tensor:
    """Have a kernel for the CPU."""
    return x + 1


@torch.library.custom_op("devicelab_library::registered", mutates_args=(), device_types="cpu")
def registered(x: torch.Tensor) -> torch.Tensor:
    """Have a kernel for each."""
    return x + 1


@registered.register_kernel("cuda")
def _(x):
    return x + 2


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("T4") as simulation:
        yield simulation


OPERATORS = torch.ops.devicelab_library
RESULTS = {  # on the CPU and on the card; None: there is no kernel
    "both": (1, 2),
    "of_cpu": (1, None),
    "of_cuda": (None, 2),
    "of_all": (3, 3),
    "decorated": (1, None),
    "registered": (1, 2),
}


@pytest.mark.parametrize("name", RESULTS)
def test_each_device_has_its_own_kernel(name):
    operator = getattr(OPERATORS, name)
    for device, expected in zip(("cpu", "cuda"), RESULTS[name], strict=True):
        x = torch.zeros(2, device=device)
        if expected is None:
            words = f"Could not run 'devicelab_library::{name}' with arguments from the '{device.upper()}' backend"
            with pytest.raises(NotImplementedError, match=words):
                operator(x)
        else:
            out = operator(x)
            assert out.device == x.device and out.tolist() == [expected] * 2


def test_the_cards_kernel_runs_where_one_operand_lies_there():
    here, there = torch.zeros(2), torch.zeros(2, device="cuda")
    assert OPERATORS.both(there, here).tolist() == [2, 2]
    assert OPERATORS.both(here, there).device.type == "cpu"
    assert OPERATORS.both(here, there).tolist() == [2, 2]


def test_a_kernel_for_the_card_sees_tensors_of_the_card():
    seen = []

    @torch.library.custom_op("devicelab_library::looks", mutates_args=(), device_types="cuda")
    def looks(x: torch.Tensor) -> torch.Tensor:
        seen.append((x.device.type, x.is_cuda, torch.empty_like(x).device.type))
        return x + torch.ones(2, device="cuda")

    assert looks(torch.zeros(2, device="cuda")).device.type == "cuda" and seen == [("cuda", True, "cuda")]
    with pytest.raises(NotImplementedError, match="'CPU' backend"):
        looks(torch.zeros(2))


@pytest.fixture
def aten():
    with torch.library._scoped_library("aten", "IMPL") as library:
        yield library


def doubled(x):
    return x.clone() + x.clone()


@pytest.mark.filterwarnings("ignore:.*[Oo]verriding a previously registered kernel")
class TestOfPyTorchs:
    """The program's kernels for PyTorch's own operators."""

    def test_one_for_cuda_runs_for_the_cards_tensors_alone_and_as_long_as_it_is_registered(self):
        here, there = torch.full((2,), 3.0), torch.full((2,), 3.0, device="cuda")
        plain = torch.sin(here).tolist()
        with torch.library._scoped_library("aten", "IMPL") as library:
            assert torch.sin(there).tolist() == plain  # planned before there is another kernel
            library.impl("sin", doubled, "CUDA")
            assert torch.sin(there).tolist() == [6, 6] and torch.sin(there).device.type == "cuda"
            assert torch.sin(here).tolist() == plain
        assert torch.sin(there).tolist() == plain

    def test_one_that_was_registered_before_the_start_runs_too(self, card, aten):
        card.stop()
        aten.impl("cos", doubled, "CUDA")
        with simulate_gpu("T4"):
            assert torch.cos(torch.full((2,), 3.0, device="cuda")).tolist() == [6, 6]

    def test_it_is_found_below_a_module_and_sees_tensors_of_the_card(self, aten):
        seen = []

        def product(a, b):
            seen.append((a.device.type, b.is_cuda))
            return a.new_zeros(a.shape[0], b.shape[1])

        aten.impl("mm", product, "CUDA")
        layer = torch.nn.Linear(3, 2, bias=False).to("cuda")
        layer(torch.ones(4, 3, device="cuda")).sum().backward()
        assert set(seen) == {("cuda", True)} and layer.weight.grad.eq(0).all()

    def test_one_for_the_cpu_alone_is_refused_on_the_card(self, aten):
        aten.impl("tan", doubled, "CPU")
        assert torch.tan(torch.ones(2)).tolist() == [2, 2]
        with pytest.raises(
            SimulationError, match=r"kernel of its own for aten::tan on the CPU, by torch.library"
        ):
            torch.tan(torch.ones(2, device="cuda"))
        aten.impl("tan", lambda x: x * 7, "CUDA")
        assert torch.tan(torch.ones(2, device="cuda")).tolist() == [7, 7]

    def test_one_for_the_cards_gradients_is_refused(self, aten):
        aten.impl("relu", doubled, "AutogradCUDA")
        assert torch.relu(torch.ones(2)).tolist() == [1, 1]
        with pytest.raises(SimulationError, match="kernel of its own for aten::relu under AutogradCUDA"):
            torch.relu(torch.ones(2, device="cuda"))

    def test_one_for_what_is_taken_apart_is_refused_as_it_is_registered(self, card, aten):
        words = "kernel of its own for aten::linear under CUDA"
        with pytest.raises(SimulationError, match=words):
            aten.impl("linear", lambda x, w, b=None: x, "CUDA")
        card.stop()
        with pytest.raises(SimulationError, match=words), simulate_gpu("T4"):
            pass


def test_what_is_taken_apart_of_ones_own_is_refused_too():
    with torch.library._scoped_library("devicelab_library", "FRAGMENT") as library:
        library.define("apart(Tensor x) -> Tensor")
        library.impl("apart", lambda x: x + 1, "CompositeImplicitAutograd")
        with pytest.raises(SimulationError, match="devicelab_library::apart under CUDA"):
            library.impl("apart", lambda x: x + 2, "CUDA")


def test_gradients_of_one_device_alone_are_refused_for_ones_own_too():
    with torch.library._scoped_library("devicelab_library", "FRAGMENT") as library:
        library.define("graded(Tensor x) -> Tensor")
        library.impl("graded", lambda x: x + 1, "CPU")
        library.impl("graded", lambda x: x + 1, "CUDA")
        library.impl("graded", lambda x: x + 2, "AutogradCUDA")
        assert OPERATORS.graded(torch.zeros(2)).tolist() == [1, 1]
        with pytest.raises(SimulationError, match="devicelab_library::graded under AutogradCUDA"):
            OPERATORS.graded(torch.zeros(2, device="cuda"))
