"""What a call would take on another card: sums done by hand, the simulated clock's own span, and everything left as it was."""

import copy
import json
import random
import re
import sys
import threading
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import devicelab as lab
from devicelab import devices
from devicelab.errors import InputError, SimulationError
from devicelab.estimate import Estimate
from devicelab.estimate.run import _HOOKS
from devicelab.gpus import find
from devicelab.reach import MOST
from devicelab.results import Timing
from devicelab.simgpu.machine.memory import rounded

CARD = "NVIDIA L4"


SGD = partial(torch.optim.SGD, lr=0.1)


def training(model, x, make_optimizer=SGD):
    """Return a training step over a model."""
    optimizer = make_optimizer(model.parameters())

    def step():
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()

    return step


def mlp(width=64):
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


# Counted by hand


def test_a_linear_layer_counts_the_flops_and_bytes_that_one_counts_by_hand():
    model, x = nn.Linear(512, 256), torch.randn(128, 512)
    with torch.no_grad():
        found = lab.estimate(model, x)
    assert found.flops == 2 * 128 * 512 * 256
    assert found.bytes == 4 * (128 * 512 + 512 * 256 + 256 + 128 * 256)
    assert found.operators == 1 and found.forward == found.seconds


def test_a_large_product_takes_its_flops_over_the_part_of_the_peak_that_is_reached():
    card, x = find(CARD), torch.empty(8192, 8192)
    wanted = 2 * 8192**3 / (card.fp32 * card.reached_fp32)
    assert lab.estimate(lambda: x @ x).compute == pytest.approx(wanted, rel=0.15)


def test_a_large_addition_takes_its_bytes_over_the_bandwidth_that_is_reached():
    card, x = find(CARD), torch.empty(2**28)
    wanted = 2 * 4 * 2**28 / (card.bandwidth * card.reached_memory)
    assert lab.estimate(lambda: x + 1).memory == pytest.approx(wanted, rel=0.1)


def test_the_state_that_an_optimizer_makes_in_its_first_step_is_not_counted():
    step = training(mlp(), torch.randn(4, 64), torch.optim.Adam)
    first = lab.estimate(step)
    step()
    assert lab.estimate(step).operators == first.operators
    assert lab.estimate(step).seconds == pytest.approx(first.seconds)


def test_forward_and_backward_count_three_times_the_flops_of_forward():
    model, x = mlp(256), torch.randn(128, 256, requires_grad=True)
    forward = lab.estimate(lambda: model(x))
    both = lab.estimate(lambda: model(x).sum().backward())
    assert both.flops == 3 * forward.flops
    assert both.backward > 0 and both.forward == pytest.approx(forward.seconds, rel=0.2)


def test_the_peak_holds_parameters_gradients_state_and_activations():
    model, x = nn.Linear(512, 512, bias=False), torch.randn(128, 512)
    step = training(model, x, torch.optim.Adam)
    weight, activation = rounded(4 * 512 * 512), rounded(4 * 128 * 512)
    peak = lab.estimate(step).peak_memory
    assert (
        4 * weight + activation <= peak <= 7 * weight + 6 * activation
    )  # Adam's lists of temporaries come on top


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam])
def test_the_peak_is_what_the_simulated_allocator_says(make):
    with lab.simulate_gpu(CARD):
        model, x = mlp().cuda(), torch.randn(32, 64).cuda()
        step = training(model, x, make)
        step()
        torch.cuda.reset_peak_memory_stats()
        step()
        wanted = torch.cuda.max_memory_allocated()
        assert lab.estimate(step, gpu=CARD).peak_memory == pytest.approx(wanted, rel=0.02)


def test_low_seconds_and_high_are_in_order_and_the_parts_add_up():
    found = lab.estimate(training(mlp(), torch.randn(32, 64)))
    assert 0 < found.low < found.seconds < found.high
    parts = found.launch + found.compute + found.memory + found.transfer + found.host
    assert parts == pytest.approx(found.seconds)
    assert found.forward + found.backward + found.optimizer == pytest.approx(found.seconds)
    assert min(found.forward, found.backward, found.optimizer) > 0


def test_more_work_takes_longer_and_other_parts_bind():
    found = [lab.estimate(mlp(width), torch.randn(256, width)) for width in (8, 256, 2048)]
    assert found[0].seconds < found[1].seconds < found[2].seconds
    assert found[0].bound == "launch" and found[2].bound == "compute"
    big = torch.ones(2**24)
    assert lab.estimate(lambda: big + 1).bound == "memory"


def test_a_faster_card_takes_less_time():
    x = torch.randn(2048, 2048)
    assert lab.estimate(lambda: x @ x, gpu="H100").seconds < lab.estimate(lambda: x @ x, gpu="T4").seconds / 3


def test_half_precision_and_tf32_are_respected():
    x = torch.randn(2048, 2048)

    def product():
        with torch.autocast("cuda", dtype=torch.float16):
            return x @ x

    single = lab.estimate(lambda: x @ x, gpu="NVIDIA A100-SXM4-80GB").compute
    assert lab.estimate(product, gpu="NVIDIA A100-SXM4-80GB").compute < single / 2
    assert lab.estimate(lambda: x.half() @ x.half(), gpu="NVIDIA A100-SXM4-80GB").compute < single / 2
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        assert lab.estimate(lambda: x @ x, gpu="NVIDIA A100-SXM4-80GB").compute < single / 2
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


# The same model as the simulated clock's: consistency, not accuracy


OPTIMIZERS = {
    "sgd": partial(torch.optim.SGD, lr=0.1),
    "momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
    "adam without foreach": partial(torch.optim.Adam, foreach=False),
    "fused adam": partial(torch.optim.Adam, fused=True),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_time_and_operators_are_those_of_the_simulated_card(make):
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.Dropout(), nn.Linear(64, 8))
    x = torch.randn(32, 64)
    on_cpu = lab.estimate(training(model, x, make), gpu=CARD)
    with lab.simulate_gpu(CARD):
        step = training(copy.deepcopy(model).cuda(), x.cuda(), make)
        on_card = lab.estimate(step, gpu=CARD)
        step()
        with lab.trace() as trace:
            step()
        timing = lab.timeit(step)
    assert on_cpu.seconds == pytest.approx(on_card.seconds, rel=0.02)
    assert on_card.operators == sum(operator.count for operator in trace.operators)
    assert on_card.seconds == pytest.approx(timing.median, rel=0.01)
    assert on_card.low == pytest.approx(timing.low, rel=0.02)
    assert on_card.high == pytest.approx(timing.high, rel=0.02)


def test_an_optimizer_runs_as_it_would_on_the_gpu_in_few_launches():
    model = nn.Sequential(*[nn.Linear(16, 16) for _ in range(20)])
    x = torch.randn(4, 16)
    together = lab.estimate(training(model, x, torch.optim.Adam)).optimizer
    one_by_one = lab.estimate(training(model, x, partial(torch.optim.Adam, foreach=False))).optimizer
    assert together < one_by_one / 3


def test_another_card_than_the_simulated_one_can_be_asked_for():
    with lab.simulate_gpu("Tesla T4"):
        x = torch.randn(2048, 2048, device="cuda")
        assert (
            lab.estimate(lambda: x @ x, gpu="H100").seconds
            < lab.estimate(lambda: x @ x, gpu="T4").seconds / 3
        )
        assert torch.cuda.get_device_name() == "Tesla T4"


def test_without_a_name_it_is_the_simulated_card_else_an_l4():
    assert lab.estimate(torch.ones, 2).card.name == "NVIDIA L4"
    with lab.simulate_gpu("H100"):
        assert lab.estimate(torch.ones, 2).card is find("H100")
        assert lab.estimate(torch.ones, 2, gpu="T4").card is find("T4")


def test_the_simulated_clock_and_allocator_do_not_notice():
    with lab.simulate_gpu("Tesla T4"):
        x = torch.randn(64, 64, device="cuda")
        before = lab.clock(), torch.cuda.memory_stats()
        lab.estimate(lambda: x @ x)
        assert (lab.clock(), torch.cuda.memory_stats()) == before


def test_a_model_on_meta_counts_as_the_same_model_on_the_cpu():
    def layer(device):
        model = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True, device=device)
        return lab.estimate(training(model, torch.zeros(2, 16, 64, device=device), torch.optim.AdamW))

    on_meta, on_cpu = layer("meta"), layer("cpu")
    assert on_meta.flops == on_cpu.flops and on_meta.operators == on_cpu.operators
    assert on_meta.seconds == pytest.approx(on_cpu.seconds, rel=0.01)


def test_what_the_function_makes_on_the_cpu_counts_as_made_on_the_card():
    found = lab.estimate(lambda: torch.randn(1024, 1024))
    assert found.host == 0 and found.bytes == 4 * 2**20 and found.peak_memory == 4 * 2**20
    found = lab.estimate(lambda: torch.zeros(1024, device="cpu") + torch.arange(1024, device="cpu"))
    assert found.host == 0 and found.operators == 3


def test_autocast_of_the_cpu_counts_as_that_of_the_card():
    model, x = nn.Linear(1024, 1024), torch.randn(1024, 1024)

    def forward(device_type):
        with torch.autocast(device_type, dtype=torch.bfloat16):
            return model(x)

    on_cpu, on_card = (lab.estimate(forward, device_type) for device_type in ("cpu", "cuda"))
    assert on_cpu.seconds == on_card.seconds and on_cpu.compute < lab.estimate(model, x).compute / 1.5


def test_a_model_of_a_simulation_that_ended_counts_as_moved():
    with lab.simulate_gpu("Tesla T4"):
        model, x = mlp().cuda(), torch.randn(8, 64).cuda()
    found = lab.estimate(model, x)
    assert found.host == 0 and found.seconds == lab.estimate(mlp(), torch.randn(8, 64)).seconds
    with lab.simulate_gpu("Tesla T4"):
        assert lab.estimate(model, x, gpu=CARD).seconds == found.seconds
        assert model[0].weight.device.type == "cpu"


# Copies


def test_an_argument_that_the_function_moves_counts_as_a_transfer():
    model, x = mlp(), torch.randn(4096, 64)
    found = lab.estimate(lambda batch: model(batch.to("cuda")), x)
    assert found.copied == x.nbytes and found.transfer > 0
    assert lab.estimate(model, x).transfer == 0


def test_copies_in_a_function_on_the_simulated_card_count():
    with lab.simulate_gpu(CARD):
        model, x = mlp().cuda(), torch.randn(4096, 64)
        found = lab.estimate(lambda: model(x.to("cuda")).cpu())
        assert found.copied == 2 * x.nbytes and not found.notes
        with lab.trace() as trace:
            model(x.to("cuda")).cpu()
        assert sum(copied.nbytes for copied in trace.copies) == found.copied


def test_a_function_on_the_cpu_is_estimated_as_if_moved_even_while_a_gpu_is_simulated():
    model, x = mlp(), torch.randn(32, 64)
    with lab.simulate_gpu("Tesla T4"):
        found = lab.estimate(training(model, x), gpu=CARD)
    assert "as if they lay on the card already" in str(found)
    assert found.seconds == pytest.approx(lab.estimate(training(model, x)).seconds, rel=0.01)


def test_a_mix_of_devices_is_refused_in_cuda_s_words():
    with lab.simulate_gpu(CARD):
        model, x = mlp().cuda(), torch.randn(8, 64)
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            lab.estimate(model, x)


# Everything stays as it was


class Net(nn.Module):
    """Batch norm, dropout, and a recurrent layer that keeps its hidden state."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout())
        self.lstm = nn.LSTM(8, 8)
        self.hidden = None
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        out, hidden = self.lstm(self.inner(x).unsqueeze(0), self.hidden)
        self.hidden = tuple(part.detach() for part in hidden)
        return out


class Average:
    """An exponential moving average of the weights, as people write it."""

    def __init__(self, model):
        self.shadow = {name: value.detach().clone() for name, value in model.named_parameters()}

    def update(self, model):
        for name, value in model.named_parameters():
            self.shadow[name] = 0.9 * self.shadow[name] + 0.1 * value.detach()


class World:
    """A training with everything that changes from step to step."""

    def __init__(self, make, autocast=False):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        self.model, self.autocast = Net(), autocast
        self.optimizer = make(self.model.parameters())
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 1, 0.5)
        self.average = Average(self.model)
        self.losses, self.log, self.best = [], {}, float("inf")
        self.numbers = np.zeros(3)
        self.x = torch.randn(16, 8)

    def step(self):
        self.optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast):
            loss = self.model(self.x * random.random() + np.random.rand()).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.scheduler.step()
        self.average.update(self.model)
        self.losses.append(loss.detach())
        self.log["loss"] = loss.item()
        self.numbers[0] += 1
        self.model.train()

    def state(self):
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "average": self.average.shadow,
            "hidden": self.model.hidden,
            "calls": self.model.calls,
            "losses": self.losses,
            "log": self.log,
            "gradients": [parameter.grad for parameter in self.model.parameters()],
            "rng": torch.get_rng_state(),
            "versions": [parameter._version for parameter in self.model.parameters()],
            "random": (random.getstate(), str(np.random.get_state()), self.numbers.tolist()),
        }
        return copy.deepcopy(state)


def same(one, other):
    """Say whether two nests of values are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other) and one.dtype == other.dtype
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def differing(one, other):
    return [key for key in one if not same(one[key], other[key])]


@pytest.mark.parametrize("steps", [0, 1], ids=["before the first step", "after a step"])
@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "mixed precision"])
@pytest.mark.parametrize("make", list(OPTIMIZERS.values())[:5], ids=list(OPTIMIZERS)[:5])
def test_the_next_real_step_equals_one_without_the_estimate(make, autocast, steps):
    plain, estimated = World(make, autocast), World(make, autocast)
    for world in (plain, estimated):
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)
        for _ in range(steps):
            world.step()
        before = world.state()
        if world is estimated:
            lab.estimate(world.step)
            assert differing(before, world.state()) == []
        world.step()
        world.after = world.state()
    assert differing(plain.after, estimated.after) == []


def test_gradients_that_were_none_stay_none_and_state_stays_unmade():
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters())

    def step():
        model(torch.ones(2, 64)).sum().backward()
        optimizer.step()

    lab.estimate(step)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not optimizer.state


def test_gradient_scaler_on_the_simulated_card_stays_as_it_was():
    with lab.simulate_gpu(CARD):
        model = mlp().cuda()
        optimizer, scaler = torch.optim.SGD(model.parameters(), lr=0.1), torch.amp.GradScaler("cuda")
        x = torch.randn(4, 64, device="cuda")

        def step():
            optimizer.zero_grad()
            with torch.autocast("cuda", dtype=torch.float16):
                loss = model(x).square().mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

        found = lab.estimate(step)
        assert found.optimizer > 0 and found.steps == 1, "the scaler is taken to find no infinities"
        assert scaler._scale is None
        step()
        before = copy.deepcopy(scaler.state_dict()), torch.cuda.get_rng_state()
        lab.estimate(step)
        assert scaler.state_dict() == before[0] and torch.equal(torch.cuda.get_rng_state(), before[1])


def test_generators_of_random_numbers_are_put_back():
    torch_numbers, numpy_numbers, numbers = torch.Generator(), np.random.default_rng(0), random.Random(0)

    def draw():
        permuted = torch.randperm(5, generator=torch_numbers).tolist()
        return permuted, numpy_numbers.random(), numbers.random()

    wanted = copy.deepcopy((torch_numbers.get_state(), numpy_numbers.bit_generator.state, numbers.getstate()))
    lab.estimate(draw)
    assert same((torch_numbers.get_state(), numpy_numbers.bit_generator.state, numbers.getstate()), wanted)


class Slotted:
    __slots__ = ("count",)


def test_objects_with_slots_are_put_back():
    slotted = Slotted()
    lab.estimate(lambda: setattr(slotted, "count", torch.ones(2).sum()))
    assert not hasattr(slotted, "count")


counter = 0


def test_globals_closures_and_counters_are_put_back():
    total, seen = 0, {1}

    def step():
        global counter
        nonlocal total
        counter += 1
        total += torch.ones(2).sum()
        seen.add(2)

    lab.estimate(step)
    assert (counter, total, seen) == (0, 0, {1})


def test_a_graph_made_before_can_still_be_followed_backward():
    w = torch.ones(3, requires_grad=True)
    loss = (w * w).sum()

    def write():
        with torch.no_grad():
            w.add_(1)

    lab.estimate(write)
    loss.backward()
    assert w.grad.tolist() == [2, 2, 2]


def test_data_that_is_replaced_or_reshaped_is_put_back():
    w, x = nn.Parameter(torch.ones(3)), torch.ones(2, 3)

    def change():
        w.data = torch.zeros(5)
        w.requires_grad_(False)
        x.t_()

    lab.estimate(change)
    assert w.tolist() == [1, 1, 1] and w.requires_grad and x.shape == (2, 3)


def test_torch_is_put_back_also_after_an_error():
    def fails():
        raise KeyError("mine")

    item, boolean = torch.Tensor.item, torch.Tensor.__bool__
    with pytest.raises(KeyError, match="mine"):
        lab.estimate(fails)
    assert torch.Tensor.item is item and torch.Tensor.__bool__ is boolean
    assert float(torch.ones(2) @ torch.ones(2)) == 2 and torch.ones(1).device.type == "cpu"
    assert torch.utils._python_dispatch._get_current_dispatch_mode_stack() == []


# Values


def test_a_loss_may_be_printed_logged_and_summed(capsys):
    model, x, total = mlp(), torch.randn(4, 64), [0.0]

    def step():
        loss = model(x).mean()
        total[0] += loss.item() * 2
        print("loss", loss.item(), f"{loss.item():.3f} {loss:.2f}", round(float(loss), 2) and "", loss)

    found = lab.estimate(step)
    assert "loss ? ? ?" in capsys.readouterr().out and total == [0.0]
    assert found.synchronizations == 5


@pytest.mark.parametrize(
    ("decide", "words"),
    [
        (lambda x: 1 if x.sum() > 1 else 2, "decides by the value of a tensor at test_estimate.py"),
        (lambda x: 1 if x.sum().item() > 1 else 2, "decides by the value"),
        (lambda x: min(3.0, x.sum().item()), "leave the decision outside"),
        (lambda x: [0 for _ in range((x > 0).sum().item())], "as a size or a number of rounds"),
        (lambda x: (x * 2).nonzero(), r"calls nonzero\(\), whose result hangs on values"),
        (lambda x: x[x > 0], "selects by a mask that it computes"),
        (lambda x: torch.masked_select(x, x > 0), "Use torch.where"),
        (lambda x: torch.unique(x * 2), "hangs on values"),
        (lambda x: (x * 2).numpy(), "hands a tensor to NumPy"),
        (lambda x: np.asarray(x * 2), "hands a tensor to NumPy"),
        (lambda x: (x * 2).tolist(), "hands the values of a tensor to Python"),
        (lambda x: torch.equal(x * 2, x), "hangs on values"),
    ],
)
def test_a_decision_on_a_value_is_refused_with_its_line(decide, words):
    with pytest.raises(InputError, match=words) as caught:
        lab.estimate(decide, torch.randn(4))
    assert "test_estimate.py:" in str(caught.value)


def test_integers_and_masks_of_the_data_are_known(capsys):
    lengths, mask, x = torch.tensor([3, 1]), torch.tensor([True, False, True]), torch.randn(3, 8)

    def fn():
        picked = x[mask]
        order = torch.randperm(3)
        rows = [x[int(i)] for i in order.tolist()]
        return (
            picked,
            rows,
            x[: lengths.max().item()],
            x[torch.arange(3) > 1],
            torch.masked_select(x, mask[:, None]),
        )

    def show():
        print([tuple(part.shape) for part in fn() if torch.is_tensor(part)])

    lab.estimate(show)
    assert capsys.readouterr().out == "[(2, 8), (3, 8), (1, 8), (16,)]\n"


def dropping(chance):
    """A stack of layers of which each is left out by chance, as OPT's layerdrop does it."""
    layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(20))

    def forward(x):
        for layer in layers:
            drawn = torch.rand([])
            if drawn < chance:
                continue
            x = layer(x)
        return x

    return layers, forward


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_branch_on_a_drawn_number_takes_one_way_and_says_which(device):
    layers, forward = dropping(0.5)
    layers.to(device)
    x = torch.zeros(32, 64, device=device)
    torch.manual_seed(0)
    kept = sum(bool(torch.rand([]) >= 0.5) for _ in range(20))
    torch.manual_seed(0)
    found = lab.estimate(forward, x)
    assert found.flops == kept * 2 * 32 * 64 * 64 and 0 < kept < 20
    assert f"True {20 - kept} times" in str(found) and f"False {kept} times" in str(found)
    assert "test_estimate.py:" in found.notes[0] and "another may take another branch" in found.notes[0]
    assert found.synchronizations == 0  # the number is the host's, as it is where the model lies on a card
    assert lab.estimate(forward, x).flops == found.flops  # what is random is put back


def test_a_branch_on_a_drawn_number_beside_a_simulated_card():
    with lab.simulate_gpu("Tesla T4"):
        layers, forward = dropping(0.0)
        layers.cuda()
        found = lab.estimate(forward, torch.zeros(32, 64, device="cuda"))
    assert found.flops == 20 * 2 * 32 * 64 * 64 and found.synchronizations == 0
    assert "(False 20 times)" in found.notes[0]


def test_small_tensors_of_the_host_are_known_and_those_of_the_card_are_not():
    with lab.simulate_gpu("Tesla T4"):
        x, limits = torch.ones(4, device="cuda"), torch.tensor([0.5, 2.5])

        def step(other):
            weights = torch.softmax(limits, 0) * 3
            assert weights.argmax() == 1 and bool(weights.sum() > 2.9) and weights.tolist()[1] > 2
            x.mul(2)  # else the function uses no card, and counts as one whose tensors all lie there
            return bool(other(weights).sum() > 0)

        assert not lab.estimate(step, lambda weights: weights).notes
        for other in (
            lambda w: w.cuda(),
            lambda w: x,
            lambda w: x.cpu() + 1,
            lambda w: torch.rand(3, device="cuda"),
        ):
            with pytest.raises(InputError, match="decides by the value"):
                lab.estimate(step, other)


def test_a_lone_number_becomes_the_card_s_when_it_meets_the_card_s_tensors():
    def step(x):
        total = torch.zeros([])
        total += x.sum()
        return torch.stack([total, x.mean()])

    assert lab.estimate(step, torch.ones(4)).copied == 0


def test_what_hangs_on_the_function_s_own_numbers_and_on_those_of_its_data_differs():
    def own():
        numbers = torch.zeros(8)
        numbers.uniform_(1, 2)
        return [0 for _ in range(int(numbers.sum()))]

    assert "Drawn numbers" in lab.estimate(own).notes[0]
    with pytest.raises(InputError, match="decides by the value"):
        lab.estimate(lambda x: bool((torch.zeros(4) + x).sum() > 0), torch.ones(4))


def test_numbers_that_the_function_s_own_text_holds_may_be_decided_by():
    layer, x = nn.Linear(16, 16), torch.zeros(8, 16)

    def step():
        weights = torch.tensor([0.2, 0.8]).softmax(0)
        grid = torch.eye(3)
        grid[0, 1] = 2.0
        assert weights.max() > 0.5 and torch.linalg.det(grid) > 0.5
        assert float(torch.linspace(0, 1, 3).numpy()[1]) == 0.5 and np.asarray(grid)[0, 1] == 2
        torch.distributions.Beta(2.0, 2.0).sample()
        return layer(x) if torch.multinomial(torch.tensor([0.0, 1.0]), 1).item() else None

    assert lab.estimate(step).flops == 2 * 8 * 16 * 16


def test_an_array_that_the_function_wraps_is_never_written():
    given = np.zeros(4, dtype=np.float32)

    def step():
        torch.as_tensor(given).add_(1)
        torch.from_numpy(given).add_(1)

    lab.estimate(step)
    assert given.tolist() == [0.0] * 4


def test_a_data_loader_is_really_read_and_its_order_comes_again():
    data = torch.utils.data.TensorDataset(torch.arange(32.0).view(16, 2), torch.zeros(16, 1))
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def epoch():
        for x, y in loader:
            optimizer.zero_grad()
            F.mse_loss(model(x), y).backward()
            optimizer.step()

    torch.manual_seed(0)
    wanted = next(iter(loader))[0]
    torch.manual_seed(0)
    found = lab.estimate(epoch)
    assert found.steps == 4 and "4 optimizer steps" in str(found)
    assert torch.equal(next(iter(loader))[0], wanted)


def test_a_batch_from_an_iterator_outside_is_refused():
    batches = iter(torch.utils.data.DataLoader(torch.ones(8, 2), batch_size=2))
    with pytest.raises(InputError, match="could not give the batch back"):
        lab.estimate(lambda: next(batches) * 2)


def test_items_taken_from_a_generator_are_told():
    batches = (torch.ones(2) for _ in range(3))
    assert "cannot be given back" in str(lab.estimate(lambda: next(batches) * 2))


def test_more_objects_than_are_remembered_are_told():
    many = [[] for _ in range(MOST)]
    assert "reaches more than 200,000 objects" in str(lab.estimate(lambda: torch.ones(len(many))))


def test_what_cannot_be_put_back_is_told_and_all_else_is_put_back():
    numbers, seen, raw = np.zeros(3), [], bytearray(b"ab")

    def step():
        seen.append(1), raw.append(1), random.random()
        numbers.flags.writeable = False
        return torch.ones(2)

    state = random.getstate()
    with pytest.raises(InputError, match=r"1 of the things .* could not be put back .* read-only"):
        lab.estimate(step)
    assert seen == [] and raw == b"ab" and random.getstate() == state


@pytest.mark.parametrize("depth", [1, 10_000], ids=["circular", "deep"])
def test_arguments_however_deep_or_circular_count(depth):
    x = torch.randn(8, 64)
    nested = [{"x": x}]
    nested.append(nested)
    for _ in range(depth):
        nested = [nested]
    assert lab.estimate(lambda batch: x.to("cuda") * 2, nested).copied == x.nbytes


def test_a_trace_of_another_thread_that_ends_during_an_estimate_has_ended():
    entered, leave = threading.Event(), threading.Event()

    def traced():
        with lab.trace():
            entered.set(), leave.wait()

    thread = threading.Thread(target=traced)
    thread.start(), entered.wait()

    def step():
        leave.set(), thread.join()
        return torch.ones(2)

    hooks = [len(table) for table in _HOOKS]
    lab.estimate(step)
    assert devices.observers == [] and [len(table) for table in _HOOKS] == [count - 1 for count in hooks]


# Bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"fn": nn.Linear(2, 2).weight},
            r"needs a function to call, but it got Parameter.*lambda: model\(x\)",
        ),
        ({"fn": int, "gpu": "Voodoo 2"}, 'No card is called "Voodoo 2"'),
        ({"fn": int, "budget": 0}, "budget must be between"),
    ],
)
def test_unusable_arguments_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        lab.estimate(**arguments)


def test_a_card_of_one_s_own_and_a_function_that_returns_nothing():
    found = lab.estimate(lambda: None, gpu=find("T4"))
    assert found.card.name == "Tesla T4" and found.operators == 0 and found.flops == 0


def test_another_mode_in_the_simulated_card_s_place_is_refused():
    x = torch.ones(2)
    with torch._subclasses.FakeTensorMode(), pytest.raises(SimulationError, match="FakeTensorMode is active"):
        lab.estimate(lambda: x * 2)


def test_a_training_of_minutes_is_stopped_with_what_was_counted():
    step = training(nn.Linear(2, 2), torch.ones(1, 2))

    def forever():
        while True:
            step()

    with pytest.raises(
        InputError, match=r"stopped after [\d,]+ operators and \d+ optimizer steps.*one step instead"
    ):
        lab.estimate(forever, budget=0.2)


def test_a_lazy_layer_is_refused():
    with pytest.raises(InputError, match=r"lazy layer that has seen no data.*Call the model once"):
        lab.estimate(nn.LazyLinear(3), torch.ones(2, 2))


def test_sparse_tensors_are_refused():
    with pytest.raises(InputError, match=r"to_dense\(\)"):
        lab.estimate(lambda x: x * 2, torch.eye(3).to_sparse())


def test_tensors_of_a_real_gpu_are_refused(monkeypatch):
    dispatch = sys.modules["devicelab.estimate.dispatch"]
    monkeypatch.setattr(dispatch, "_real_device", lambda tensor: torch.device("mps", 0))
    with pytest.raises(InputError, match=r"this machine's own mps:0.*model.cpu\(\)"):
        lab.estimate(lambda x: x * 2, torch.ones(2))


def test_more_than_this_machine_s_address_space_is_refused():
    x = torch.ones(1).expand(2**45)
    with pytest.raises(InputError, match=r"cannot set aside the memory.*on meta"):
        lab.estimate(lambda: x + 1)


def test_a_compiled_function_counts_as_the_plain_one():
    model, x = mlp(), torch.randn(4, 64)
    found = lab.estimate(torch.compile(model), x)
    assert found.flops == lab.estimate(model, x).flops
    assert "torch.compile is left out" in str(found)


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


def test_a_custom_autograd_function_is_followed():
    x = torch.ones(4, requires_grad=True)
    found = lab.estimate(lambda: Double.apply(x).sum().backward())
    assert found.backward > 0 and x.grad is None


@torch.library.custom_op("devicelab_test::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    raise AssertionError("computed")


@twice.register_fake
def _(x):
    return torch.empty_like(x)


def test_a_custom_operator_with_known_shapes_is_counted_and_not_run():
    found = lab.estimate(lambda x: twice(x) + 1, torch.ones(1024))
    assert found.operators == 2 and found.bytes == 4 * 4096


def test_other_modes_do_not_see_an_estimate():
    x = torch.ones(4)
    step = training(nn.Linear(4, 4), x)
    with lab.trace() as trace:
        x + 1
        lab.estimate(step)
    assert [operator.name for operator in trace.operators] == ["aten::add"] and trace.steps == 0
    with lab.trace() as trace:
        lab.estimate(step)
        step()
    assert trace.steps == 1 and trace.phases


# The result


def test_the_text_says_the_answer_first_in_at_most_eight_lines():
    found = lab.estimate(training(mlp(), torch.randn(8, 64)))
    lines = str(found).splitlines()
    assert lines[0].startswith("About ") and "on NVIDIA L4" in lines[0] and "[estimated]" in lines[0]
    assert "bound by launching" in lines[0] and len(lines) <= 8
    assert "Needs about" in str(found) and "<p>About" in found._repr_html_()
    data = json.loads(json.dumps(found.to_dict()))
    assert data["card"] == CARD and data["origin"] == "estimated" and data["bound"] == "launch"


def test_in_a_notebook_the_parts_are_a_table():
    x = torch.randn(2048, 64)
    found = lab.estimate(lambda y: mlp().to("cuda")(y.to("cuda")).sum().item(), x)
    shown = found._repr_html_()
    parts = [
        name for name in ("launch", "compute", "memory", "transfer", "host") if f'">{name}</th>' in shown
    ]
    assert ", ".join(name for name in parts) == ", ".join(
        part.split()[0] for part in str(found).splitlines()[1].split(", ")
    )
    assert str(found).splitlines()[1] not in shown and found.lines[-1].split(".")[0] in shown
    shares = [int(share) for share in re.findall(r">(\d+) %</td>", shown)]
    assert len(shares) == len(parts) and 95 <= sum(shares) <= 105
    assert "copies between host and card</td>" in shown


def test_a_host_that_waits_once_is_said_to():
    x = torch.randn(8, 64)
    with lab.simulate_gpu():
        y = x.to("cuda")
        once, twice = (
            lab.estimate(lambda: y.sum().item()),
            lab.estimate(lambda: (y.sum().item(), y.sum().item())),
        )
    assert once.synchronizations == 1 and "the host waits once" in str(once)
    assert twice.synchronizations == 2 and "the host waits 2 times" in str(twice)


def test_parts_that_are_next_to_nothing_are_left_out_of_the_text():
    x = torch.empty(2**28)
    second = str(lab.estimate(lambda: x + 1)).splitlines()[1]
    assert second.startswith("launch ") and "memory" in second and "transfer" not in second


def test_what_does_not_fit_is_said():
    x = torch.empty(2**31, 2, device="meta")
    found = lab.estimate(lambda: x + 1, gpu="Tesla T4")
    assert not found.fits and "Needs about 32.0 GiB: too much for the card's 14.7 GiB" in str(found)
    assert lab.estimate(lambda: x + 1, gpu="H100").fits


def timing(origin, name=CARD):
    return Timing((0.001,), 1, "cuda:0", name, origin, 1)


def test_the_ratio_to_a_measured_time():
    found = lab.estimate(lambda: torch.ones(4) * 2)
    assert isinstance(found, Estimate)
    assert found.against(timing("measured")) == found.seconds / 0.001
    assert found.against(timing("recorded")) == found.seconds / 0.001


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (timing("simulated"), "simulated, by the same model.*proves nothing"),
        (timing("estimated"), "proves nothing"),
        (timing("measured", "Tesla T4"), 'of "Tesla T4", the estimate of "NVIDIA L4"'),
        (0.5, "needs a Timing.*got float"),
    ],
)
def test_a_ratio_that_would_prove_nothing_is_refused(other, words):
    with pytest.raises(InputError, match=words):
        lab.estimate(lambda: torch.ones(4) * 2).against(other)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_a_step_on_the_cpu_is_estimated_alike_while_a_gpu_is_simulated(optimizer):
    """What lesson 05's reader does: lab.start() runs, and the model was made on the CPU."""

    def made():
        model = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 2))
        rows, updates = torch.randn(16, 10), optimizer(model.parameters(), lr=0.01)

        def step():
            updates.zero_grad()
            nn.functional.mse_loss(model(rows), rows[:, :2]).backward()
            updates.step()

        return model, step

    alone = lab.estimate(made()[1], gpu=CARD)
    with lab.simulate_gpu(CARD):
        model, step = made()
        beside = lab.estimate(step, gpu=CARD)
        assert (beside.seconds, beside.flops) == (pytest.approx(alone.seconds), alone.flops)
        step()  # all is on the CPU as before
        assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
        assert lab.estimate(step, gpu=CARD).seconds == pytest.approx(alone.seconds)
