"""Small programs with the outcome that PyTorch documents for CUDA, or that its sources give."""

import copy
import gc
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from devicelab.errors import SimulationError
from devicelab.simgpu import Simulation, simulate_gpu
from devicelab.simgpu.stand_ins.traceback import trimmed
from tools.notebooks import warm

CUDA0, CUDA1, CPU = torch.device("cuda", 0), torch.device("cuda", 1), torch.device("cpu")


@pytest.fixture(autouse=True)
def simulation() -> Iterator[Simulation]:
    torch.manual_seed(0)
    with simulate_gpu(count=2) as running:
        yield running


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    """Train on the card that the model lies on."""
    device = next(model.parameters()).device
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(4, 3, device=device)).square().mean().backward()
        optimizer.step()


class TestModules:
    @pytest.mark.parametrize("how", ["positional", "named"])
    def test_a_tensor_says_where_to_and_in_which_type(self, how: str) -> None:
        for device in ("cpu", "cuda"):
            example = torch.ones(2, device=device, dtype=torch.float64)
            for module in (nn.Linear(2, 2), nn.Linear(2, 2).cuda()):
                module.to(example) if how == "positional" else module.to(tensor=example)
                assert (module.weight.device, module.weight.dtype) == (example.device, torch.float64)

    def test_parameters_keep_their_identity_and_type(self) -> None:
        model = nn.Linear(3, 2)
        before = list(model.parameters())
        assert model.to("cuda") is model
        assert all(one is other for one, other in zip(before, model.parameters(), strict=True))
        assert type(model.weight) is nn.Parameter
        assert model.weight.is_leaf
        assert model.weight.requires_grad
        assert model.weight.device == CUDA0

    def test_buffers_become_new_tensors(self) -> None:
        model = nn.BatchNorm1d(3)
        before = model.running_mean
        model.cuda()
        assert model.running_mean is not before
        assert model.running_mean is not None
        assert (model.running_mean.device, before.device) == (CUDA0, CPU)  # type: ignore[union-attr]

    def test_plain_attributes_stay(self) -> None:
        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.scale = torch.ones(3)
                self.layers = [nn.Linear(3, 3)]

        model = Model().cuda()
        assert model.scale.device == model.layers[0].weight.device == CPU

    def test_a_losss_weight_is_a_buffer_but_an_argument_is_not(self) -> None:
        logits, labels = torch.randn(4, 3, device="cuda"), torch.tensor([0, 1, 2, 0], device="cuda")
        assert nn.CrossEntropyLoss(weight=torch.ones(3)).to("cuda")(logits, labels).device == CUDA0
        with pytest.raises(RuntimeError, match="weight is on cpu"):
            F.cross_entropy(logits, labels, weight=torch.ones(3))

    def test_lazy_modules(self) -> None:
        for lazy in (nn.LazyLinear(2).cuda(), nn.LazyLinear(2, device="cuda")):
            assert lazy(torch.ones(1, 3, device="cuda")).device == lazy.weight.device == CUDA0

    def test_conversion_and_empty(self) -> None:
        half = nn.Linear(2, 2).to("cuda", torch.float16)
        assert (half.weight.dtype, half.weight.device) == (torch.float16, CUDA0)
        assert nn.Linear(2, 2, device="meta").to_empty(device="cuda:1").weight.device == CUDA1

    def test_gradients_move_with_the_model(self) -> None:
        model = nn.Linear(3, 2)
        model(torch.ones(1, 3)).sum().backward()
        model.cuda()
        assert model.weight.grad is not None
        assert model.weight.grad.device == CUDA0
        model.cpu()
        assert model.weight.grad.device == CPU

    def test_state_dict_across_devices(self) -> None:
        here, there = nn.Linear(2, 2), nn.Linear(2, 2).cuda()
        assert {tensor.device for tensor in there.state_dict().values()} == {CUDA0}
        there.load_state_dict(here.state_dict())
        assert there.weight.device == CUDA0
        here.load_state_dict(there.state_dict())
        assert here.weight.device == CPU
        assert torch.equal(here.weight, there.weight.cpu())

    def test_deepcopy(self) -> None:
        model = nn.Linear(2, 2).to("cuda:1")
        twin = copy.deepcopy(model)
        assert twin.weight.device == CUDA1
        assert twin.weight.data_ptr() != model.weight.data_ptr()

    def test_two_cards_hold_one_model(self) -> None:
        first, second = nn.Linear(2, 2).to("cuda:0"), nn.Linear(2, 2).to("cuda:1")
        second(first(torch.ones(1, 2, device="cuda:0")).to("cuda:1")).sum().backward()
        assert first.weight.grad is not None
        assert second.weight.grad is not None
        assert (first.weight.grad.device, second.weight.grad.device) == (CUDA0, CUDA1)
        with pytest.raises(RuntimeError, match="cuda:0 and cuda:1"):
            torch.ones(2, device="cuda:0") + torch.ones(2, device="cuda:1")


OPTIMIZERS = [
    getattr(torch.optim, name)
    for name in "SGD Adam AdamW NAdam RAdam RMSprop Adagrad Adadelta Adamax ASGD Rprop".split()  # noqa: SIM905
]


class TestOptimizers:
    @pytest.mark.parametrize("kind", OPTIMIZERS)
    def test_made_after_the_move(self, kind: Any) -> None:
        model = nn.Linear(3, 2).cuda()
        before = model.weight.detach().clone()
        optimizer = kind(model.parameters(), lr=0.1)
        train(model, optimizer)
        assert not torch.equal(model.weight, before)
        for name, state in optimizer.state[model.weight].items():
            if isinstance(state, torch.Tensor) and state.shape == model.weight.shape:
                assert state.device == CUDA0, name

    @pytest.mark.parametrize("kind", [kind for kind in OPTIMIZERS if kind is not torch.optim.Adagrad])
    def test_made_before_the_move_still_trains(self, kind: Any) -> None:
        model = nn.Linear(3, 2)
        optimizer = kind(model.parameters(), lr=0.1)
        before = model.weight.detach().clone()
        train(model.cuda(), optimizer)
        assert not torch.equal(model.weight.cpu(), before)

    def test_state_from_before_the_move_is_refused(self) -> None:
        model = nn.Linear(3, 2)
        optimizer = torch.optim.Adam(model.parameters())
        train(model, optimizer)
        with pytest.raises(RuntimeError, match="cuda:0 and cpu"):
            train(model.cuda(), optimizer)

    def test_adagrad_has_state_from_the_start(self) -> None:
        model = nn.Linear(3, 2)
        optimizer = torch.optim.Adagrad(model.parameters())
        with pytest.raises(RuntimeError, match="cuda:0 and cpu"):
            train(model.cuda(), optimizer)

    def test_adam_keeps_step_on_the_cpu(self) -> None:
        model = nn.Linear(3, 2).cuda()
        optimizer = torch.optim.Adam(model.parameters())
        train(model, optimizer)
        assert optimizer.state[model.weight]["step"].device == CPU

    @pytest.mark.parametrize("options", [{"fused": True}, {"capturable": True}])
    def test_options_that_only_cuda_has(self, options: dict[str, bool]) -> None:
        model = nn.Linear(3, 2).cuda()
        optimizer = torch.optim.Adam(model.parameters(), **options)  # type: ignore[arg-type]
        train(model, optimizer)
        assert optimizer.state[model.weight]["step"].device == CUDA0

    def test_foreach_is_the_default_on_cuda_only(self) -> None:
        from torch.optim.optimizer import _default_to_fused_or_foreach as default

        assert default(list(nn.Linear(2, 2).parameters()), False, False) == (False, False)
        assert default(list(nn.Linear(2, 2).cuda().parameters()), False, False) == (False, True)

    def test_state_dict_follows_the_parameters(self) -> None:
        here, there = nn.Linear(3, 2), nn.Linear(3, 2).cuda()
        trained, resumed = torch.optim.Adam(here.parameters()), torch.optim.Adam(there.parameters())
        train(here, trained)
        resumed.load_state_dict(trained.state_dict())
        state = resumed.state[there.weight]
        assert (state["step"].device, state["exp_avg"].device) == (CPU, CUDA0)

    def test_lbfgs(self) -> None:
        weight = torch.ones(3, device="cuda", requires_grad=True)
        optimizer = torch.optim.LBFGS([weight])

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = (weight - 2).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)  # type: ignore[arg-type]
        assert closure().item() < 1e-6

    @pytest.mark.parametrize("foreach", [None, True, False])
    def test_clip_grad_norm(self, foreach: bool | None) -> None:
        model = nn.Linear(3, 2).cuda()
        (model(torch.ones(4, 3, device="cuda")) * 100).sum().backward()
        assert nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=foreach).device == CUDA0
        norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
        assert norm.item() == pytest.approx(1.0, rel=1e-4)

    def test_schedulers(self) -> None:
        model = nn.Linear(3, 2).cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        for _ in range(2):
            train(model, optimizer, 1)
            scheduler.step()
        assert scheduler.get_last_lr() == [0.025]

    def test_same_losses_as_on_the_cpu(self) -> None:
        model, data = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)), torch.randn(32, 3)

        def losses(device: str) -> list[float]:
            twin = copy.deepcopy(model).to(device)
            optimizer = torch.optim.Adam(twin.parameters(), foreach=False)
            found = []
            for _ in range(5):
                optimizer.zero_grad()
                loss = twin(data.to(device)).square().mean()
                loss.backward()
                optimizer.step()
                found.append(loss.item())
            return found

        assert losses("cuda") == pytest.approx(losses("cpu"), rel=1e-6)


class TestWhereNewTensorsLie:
    def test_default_device(self) -> None:
        torch.set_default_device("cuda")
        here: dict[str, Callable[[], torch.Tensor]] = {
            "zeros": lambda: torch.zeros(2),
            "tensor": lambda: torch.tensor([1.0]),
            "as_tensor": lambda: torch.as_tensor([1.0]),
            "asarray": lambda: torch.asarray([1.0]),
            "arange": lambda: torch.arange(3),
            "randperm": lambda: torch.randperm(3),
            "hann_window": lambda: torch.hann_window(3),
            "sparse": lambda: torch.eye(2).to_sparse(),
            "linear": lambda: nn.Linear(2, 2).weight,
        }
        elsewhere: dict[str, Callable[[], torch.Tensor]] = {
            "from_numpy": lambda: torch.from_numpy(np.zeros(2)),
            "Tensor": lambda: torch.Tensor(3),
            "FloatTensor": lambda: torch.FloatTensor(3),
            "zeros_like": lambda: torch.zeros_like(torch.zeros(2, device="cpu")),
            "new_zeros": lambda: torch.zeros(2, device="cpu").new_zeros(3),
        }
        assert {name: make().device for name, make in here.items()} == dict.fromkeys(here, CUDA0)
        assert {name: make().device for name, make in elsewhere.items()} == dict.fromkeys(elsewhere, CPU)
        assert torch.get_default_device() == CUDA0
        with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
            list(DataLoader(TensorDataset(torch.ones(4, 1)), shuffle=True))

    def test_contexts(self) -> None:
        with torch.device("cuda:1"):
            assert torch.zeros(2).device == nn.Linear(2, 2).weight.device == torch.tensor([1]).device == CUDA1
        with torch.cuda.device(1):
            assert torch.zeros(2, device="cuda").device == torch.ones(2).cuda().device == CUDA1
            assert torch.tensor([1.0], device="cuda").device == torch.ones(2).to("cuda").device == CUDA1
        assert torch.zeros(2, device="cuda").device == CUDA0

    def test_devices_named_by_the_learner_are_meant(self) -> None:
        ones = torch.ones(2, device="cuda")
        for make in (torch.zeros_like, torch.rand_like, torch.empty_like):
            assert make(ones).device == CUDA0
            assert make(ones, device="cpu").device == CPU
            assert make(torch.ones(2), device="cuda:1").device == CUDA1
        assert ones.new_zeros(2).device == ones.new_tensor([1.0]).device == ones.new(2).device == CUDA0
        assert ones.new_zeros(2, device="cpu").device == ones.new_tensor([1.0], device="cpu").device == CPU

    def test_comparing_devices(self) -> None:
        ones = torch.ones(1, device="cuda")
        assert ones.device == torch.device("cuda:0")
        assert ones.device != torch.device("cuda")
        assert ones.device != "cuda:0"
        assert ones.device.type == "cuda"

    def test_tensor_to(self) -> None:
        ones = torch.ones(2, device="cuda")
        assert ones.to("cuda") is ones.cuda() is ones.to(CUDA0) is ones
        assert ones.to("cuda", copy=True) is not ones
        here = torch.ones(2)
        assert here.to("cuda") is not here
        assert here.device == CPU
        assert here.to(ones).device == CUDA0
        assert here.cpu() is here
        assert ones.to("cuda:1", torch.float64).dtype == torch.float64
        assert ones.to("meta").device.type == "meta"
        assert (ones.get_device(), ones.cpu().get_device(), ones.is_cuda, ones.is_cpu) == (0, -1, True, False)
        assert (ones.type(), ones.cpu().type()) == ("torch.cuda.FloatTensor", "torch.FloatTensor")
        assert repr(ones) == "tensor([1., 1.], device='cuda:0')"

    def test_gradients_return_where_the_leaf_is(self) -> None:
        leaf = torch.ones(3, requires_grad=True)
        moved = leaf.to("cuda")
        assert type(moved.grad_fn).__name__ == "ToCopyBackward0"
        (moved * 2).sum().backward()
        assert leaf.grad is not None
        assert leaf.grad.device == CPU
        card = torch.ones(3, device="cuda", requires_grad=True)
        target = torch.zeros(3)
        target.copy_(card)
        target.sum().backward()
        assert card.grad is not None
        assert card.grad.device == CUDA0

    def test_the_gradient_of_a_cpu_scalar_stays_on_the_cpu(self) -> None:
        scale = nn.Parameter(torch.tensor(2.0))
        for _ in range(2):
            (torch.ones(3, device="cuda") * scale).sum().backward()
        assert scale.grad is not None
        assert (scale.grad.device, scale.grad.item()) == (CPU, 6.0)

    def test_gradients_made_from_nothing(self) -> None:
        leaf = torch.ones(3, device="cuda", requires_grad=True)
        leaf.sgn().sum().backward()
        assert leaf.grad is not None
        assert leaf.grad.device == CUDA0
        torch.optim.SGD([leaf], lr=1.0).step()

    def test_data_assignment_and_shared_memory(self) -> None:
        tensor = torch.ones(2)
        tensor.data = torch.ones(2, device="cuda")
        assert tensor.device == CUDA0
        base = torch.zeros(4, device="cuda")
        view = base.view(2, 2)[1]
        view += 1
        assert base.tolist() == [0, 0, 1, 1]
        assert view.untyped_storage().device == CUDA0


class TestErrorsOfTheTensorItself:
    @pytest.mark.parametrize("read", [lambda t: t.numpy(), np.asarray, np.array, np.sin])
    def test_numpy(self, read: Any) -> None:
        words = "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
        with pytest.raises(TypeError) as caught:
            read(torch.ones(2, device="cuda"))
        assert str(caught.value) == words
        assert torch.ones(2, device="cuda").numpy(force=True).tolist() == [1, 1]

    def test_dlpack(self) -> None:
        ones = torch.ones(2, device="cuda")
        with pytest.raises(RuntimeError, match="Unsupported device in DLTensor"):
            np.from_dlpack(ones)
        assert ones.__dlpack_device__() == (2, 0)
        shared = torch.from_dlpack(ones)
        shared += 1
        assert (shared.device, ones.tolist()) == (CUDA0, [2, 2])

    def test_another_library_finds_no_memory_of_a_card(self) -> None:
        ones = torch.ones(2, device="cuda")
        assert not hasattr(ones, "__cuda_array_interface__")
        with pytest.raises(SimulationError, match="no device memory that another library"):
            _ = ones.__cuda_array_interface__

    @pytest.mark.parametrize(
        ("call", "words"),
        [
            (lambda g, c: g.apply_(abs), "apply_ is only implemented on CPU tensors"),
            (lambda g, c: g.map_(g, max), "map_ is only implemented on CPU tensors"),
            (lambda g, c: g.map2_(g, g, max), "map2_ is only implemented on CPU tensors"),
            (
                lambda g, c: c.map_(g, max),
                "map_: expected torch.FloatTensor for 'other' (got torch.cuda.FloatTensor)",
            ),
            (
                lambda g, c: g.map_(c, max),
                "map_: expected torch.cuda.FloatTensor for 'other' (got torch.FloatTensor)",
            ),
            (
                lambda g, c: c.map2_(c, g, max),
                "map2_: expected torch.FloatTensor for argument 'y' (got torch.cuda.FloatTensor)",
            ),
        ],
    )
    def test_python_is_not_called_for_each_element_of_a_card(self, call: Any, words: str) -> None:
        card, host = torch.ones(2, device="cuda"), torch.ones(2)
        with pytest.raises(TypeError) as caught:
            call(card, host)
        assert str(caught.value) == words
        assert card.tolist() == host.tolist() == [1, 1]

    def test_for_each_element_of_the_cpu_python_is_called(self) -> None:
        ones = torch.ones(2)
        assert ones.apply_(lambda x: x + 1).map_(torch.ones(2), lambda x, y: x + y).tolist() == [3, 3]
        assert ones.map2_(ones, ones, lambda x, y, z: x + y + z).tolist() == [9, 9]
        with pytest.raises(RuntimeError, match=r"Can't call apply_\(\) on Variable that requires grad"):
            torch.ones(2, device="cuda", requires_grad=True).apply_(abs)

    def test_pin_memory(self) -> None:
        with pytest.raises(RuntimeError) as caught:
            torch.ones(3, device="cuda").pin_memory()
        assert str(caught.value) == "cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned"
        pinned = torch.ones(3).pin_memory()
        assert pinned.is_pinned()
        assert pinned.pin_memory() is pinned
        assert torch.zeros(3, pin_memory=True).is_pinned()
        assert torch.tensor([1.0], pin_memory=True).is_pinned()
        assert not torch.ones(3).is_pinned()

    def test_assigning_a_gradient(self) -> None:
        with pytest.raises(RuntimeError) as caught:
            torch.ones(3).grad = torch.ones(3, device="cuda")
        assert str(caught.value) == (
            "attempting to assign a gradient with device type 'cuda' to a tensor with device type 'cpu'. Please ensure that the "
            "gradient and the tensor are on the same device"
        )
        with pytest.raises(RuntimeError, match="located on device with index 1"):
            torch.ones(3, device="cuda").grad = torch.ones(3, device="cuda:1")

    @pytest.mark.parametrize(
        "use",
        [
            lambda: torch.zeros(2, device="cuda:7"),
            lambda: torch.zeros(2).to("cuda:7"),
            lambda: torch.zeros(2).cuda(7),
            lambda: torch.tensor([1.0], device="cuda:7"),
            lambda: nn.Linear(1, 1).to("cuda:7"),
            lambda: torch.Generator("cuda:7"),
        ],
    )
    def test_invalid_ordinal(self, use: Callable[[], object]) -> None:
        with pytest.raises(torch.AcceleratorError, match="CUDA error: invalid device ordinal"):
            use()


class TestRandomNumbers:
    def test_each_card_has_a_generator_of_its_own(self) -> None:
        torch.manual_seed(3)
        expected = torch.rand(4)
        torch.manual_seed(3)
        drawn = torch.rand(4, device="cuda")
        F.dropout(torch.ones(100, device="cuda"))
        assert torch.equal(torch.rand(4), expected), "drawing on a card advanced the CPU's generator"
        assert not torch.equal(drawn.cpu(), expected), "the CPU and a card give different numbers"
        torch.manual_seed(3)
        assert torch.equal(torch.rand(4, device="cuda"), drawn)
        assert torch.equal(torch.rand(4, device="cuda:1").cpu(), drawn.cpu())

    def test_state_can_be_kept(self) -> None:
        state = torch.cuda.get_rng_state()
        first = torch.randn(3, device="cuda")
        torch.cuda.set_rng_state(state)
        assert torch.equal(torch.randn(3, device="cuda"), first)
        torch.cuda.set_rng_state_all(torch.cuda.get_rng_state_all())
        with torch.random.fork_rng():
            inside = torch.randn(3, device="cuda")
        assert torch.equal(torch.randn(3, device="cuda"), inside)

    def test_generators(self) -> None:
        generator = torch.Generator("cuda").manual_seed(5)
        assert generator.device == torch.device("cuda")
        assert isinstance(generator, torch.Generator)
        assert isinstance(torch.default_generator, torch.Generator)
        first = torch.rand(3, device="cuda", generator=generator)
        assert torch.equal(torch.rand(3, device="cuda", generator=generator.manual_seed(5)), first)
        torch.ones(3, device="cuda").normal_(generator=generator)

    @pytest.mark.parametrize(
        ("draw", "expected", "found"),
        [
            (lambda: torch.rand(2, device="cuda", generator=torch.Generator()), "cuda", "cpu"),
            (lambda: torch.zeros(2, device="cuda").uniform_(generator=torch.Generator()), "cuda", "cpu"),
            (lambda: torch.rand(2, generator=torch.Generator("cuda")), "cpu", "cuda"),
        ],
    )
    def test_generators_of_the_wrong_device(
        self, draw: Callable[[], object], expected: str, found: str
    ) -> None:
        with pytest.raises(RuntimeError) as caught:
            draw()
        assert str(caught.value) == f"Expected a '{expected}' device type for generator but found '{found}'"


class TestDataLoader:
    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("pin", [False, True])
    def test_workers_and_pinning(self, workers: int, pin: bool) -> None:
        torch.ones(1, device="cuda")
        dataset = TensorDataset(torch.arange(8.0)[:, None], torch.arange(8))
        loader = DataLoader(dataset, 4, shuffle=True, num_workers=workers, pin_memory=pin)
        seen = []
        for data, labels in loader:
            assert (data.is_pinned(), data.device) == (pin, CPU)
            assert data.to("cuda", non_blocking=True).device == CUDA0
            seen += labels.tolist()
        assert sorted(seen) == list(range(8))

    def test_a_dataset_on_the_card_and_workers_do_not_go_together(self) -> None:
        dataset = TensorDataset(torch.ones(8, 1, device="cuda"))
        with pytest.raises(RuntimeError, match="CUDA error: initialization error"):
            list(DataLoader(dataset, 4, num_workers=1))


class TestAutograd:
    def test_hooks(self) -> None:
        seen: list[torch.device] = []
        model = nn.Linear(3, 2).cuda()
        model.register_forward_hook(lambda module, inputs, output: seen.append(output.device))
        model.register_full_backward_hook(lambda module, inputs, outputs: seen.append(outputs[0].device))  # type: ignore[index]
        model.weight.register_hook(lambda gradient: seen.append(gradient.device))
        model.weight.register_post_accumulate_grad_hook(lambda weight: seen.append(weight.grad.device))
        model(torch.ones(1, 3, device="cuda")).sum().backward()
        assert seen == [CUDA0] * 4

    @pytest.mark.parametrize("reentrant", [True, False])
    def test_checkpointing_draws_the_same_random_numbers_twice(self, reentrant: bool) -> None:
        x = torch.ones(1000, device="cuda", requires_grad=True)
        out = checkpoint(lambda y: F.dropout(y * 2), x, use_reentrant=reentrant)
        assert isinstance(out, torch.Tensor)
        out.sum().backward()
        assert x.grad is not None
        assert torch.equal(x.grad, out.detach())

    def test_func(self) -> None:
        x = torch.ones(3, device="cuda")
        assert torch.func.grad(lambda y: (y**2).sum())(x).device == CUDA0
        assert torch.func.grad(lambda y: (y.to("cuda") ** 2).sum())(torch.ones(3)).device == CPU
        assert torch.func.vmap(lambda y: y.to("cuda") * 2)(torch.ones(3, 2)).device == CUDA0
        assert (
            torch.func.jvp(lambda y: y.to("cuda") * 2, (torch.ones(3),), (torch.ones(3),))[1].device == CUDA0
        )
        model = nn.Linear(3, 2).cuda()
        parameters: dict[str, torch.Tensor] = dict(model.named_parameters())

        def loss(weights: dict[str, torch.Tensor], row: torch.Tensor) -> torch.Tensor:
            return torch.func.functional_call(model, weights, (row,)).sum()

        gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(
            parameters, torch.ones(5, 3, device="cuda")
        )
        assert gradients["weight"].shape == (5, 2, 3)
        assert gradients["weight"].device == CUDA0

    def test_second_derivatives_through_a_move(self) -> None:
        x = torch.ones(3, requires_grad=True)
        (first,) = torch.autograd.grad((x.to("cuda") ** 3).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
        assert (second.device, second.tolist()) == (CPU, [6.0, 6.0, 6.0])


class TestMemory:
    @pytest.mark.slow
    def test_nothing_leaks_over_many_steps(self) -> None:
        model = nn.Linear(4, 2).cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        data = torch.ones(8, 4, device="cuda")

        def step() -> None:
            optimizer.zero_grad()
            model(data).square().mean().backward()
            optimizer.step()

        for _ in range(100):
            step()
        gc.collect()
        allocated, objects = torch.cuda.memory_allocated(), len(gc.get_objects())
        for _ in range(10_000):
            step()
        gc.collect()
        assert torch.cuda.memory_allocated() == allocated
        assert len(gc.get_objects()) < objects + 200

    def test_memory_is_freed_with_the_tensor(self) -> None:
        before = torch.cuda.memory_allocated()
        tensor = torch.ones(1000, device="cuda")
        view = tensor[:10]
        assert torch.cuda.memory_allocated() - before == 4096
        del tensor
        assert torch.cuda.memory_allocated() - before == 4096, "a view keeps the memory"
        del view
        assert torch.cuda.memory_allocated() == before

    def test_a_full_card_says_so_before_the_hosts_memory_is_used(self) -> None:
        for make in (
            lambda: torch.zeros(2**34, device="cuda"),
            lambda: torch.empty(2**34, device="cuda"),
            lambda: torch.randn(2**34, device="cuda"),
            lambda: torch.zeros(1).expand(2**34).to("cuda"),
        ):
            with pytest.raises(
                torch.OutOfMemoryError, match=r"CUDA out of memory\. Tried to allocate 64\.00 GiB"
            ):
                make()


MIXED = """
import torch, threading, traceback
from devicelab.simgpu import simulate_gpu
simulate_gpu()
model = torch.nn.Linear(3, 2).cuda()
data = torch.ones(4, 3)
"""
SHOWN = {
    "by Python": "model(data)",
    "by a thread": "thread = threading.Thread(target=model, args=(data,)); thread.start(); thread.join()",
    "by print_exc": "try:\n    model(data)\nexcept RuntimeError:\n    traceback.print_exc()",
    "with a cause": "try:\n    model(data)\nexcept RuntimeError as error:\n    raise ValueError('no') from error",
}


class TestTracebacks:
    """What a learner is shown ends in torch's own line and names none of the simulation's files."""

    @pytest.mark.parametrize("how", SHOWN)
    def test_shown(self, how: str) -> None:
        done = warm.run("-c", MIXED + SHOWN[how])
        assert "simgpu" not in done.stderr
        end = done.stderr.split("RuntimeError: Expected all tensors")[0].rstrip(" ^~\n")
        assert end.endswith("return F.linear(input, self.weight, self.bias)")

    def test_shown_by_ipython(self) -> None:
        pytest.importorskip("IPython")
        program = (
            "from IPython.core.interactiveshell import InteractiveShell\n"
            "shell = InteractiveShell.instance(colors='nocolor', history_manager=None)\n"
            f"shell.run_cell({MIXED!r}, silent=True)\nshell.run_cell('model(data)', silent=True)\n"
        )
        done = warm.run("-c", program)
        assert "RuntimeError: Expected all tensors to be on the same device" in done.stdout
        assert "simgpu" not in done.stdout
        assert "skipping hidden" not in done.stdout

    def test_lines_of_others_stay(self) -> None:
        def mine() -> None:
            torch.ones(3, device="cuda") + torch.ones(3)

        with pytest.raises(RuntimeError) as caught:
            mine()
        shown = trimmed(caught.value.__traceback__)
        names = [frame.name for frame in traceback.extract_tb(shown)]
        assert names[-1] == "mine"
        assert any("simgpu" in frame.filename for frame in traceback.extract_tb(caught.value.__traceback__))
