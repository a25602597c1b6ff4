"""A check leaves nothing changed, whatever the answer does, and no answer passes by switching the device off."""

import os
import random
import tempfile

import numpy as np
import pytest
import torch
from torch import nn

from devicelab import simulate_gpu
from devicelab.course.guard.snapshot import Snapshot
from devicelab.course.question import NotYet, Question
from devicelab.errors import InputError
from devicelab.simgpu.session import current


@pytest.fixture(autouse=True)
def a_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("DEVICELAB_HOME", str(tmp_path))
    if torch.cuda.is_available():
        yield
        return
    with simulate_gpu("Tesla T4"):
        yield


def checked(answer, *more):
    """Check an answer that is called with what follows it; it passes when it returns 4."""

    def judge(function, *rest):
        if function(*rest) != 4:
            raise NotYet("That is not 4.")

    return Question(judge, "Start.", "Right.", ("Which?",), "four").check(answer, *more)


def modes():
    """Return everything global that an answer could leave behind."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),
        "cpu": torch.get_rng_state().tolist(),
        "cuda": [state.tolist() for state in torch.cuda.get_rng_state_all()],
        "device": torch.get_default_device(),
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "strict": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "precision": torch.get_float32_matmul_precision(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "autocast": [
            (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")
        ],
        "variables": dict(os.environ),
        "folder": os.getcwd(),
        "functions": (torch.cuda.is_available, torch.Tensor.to, nn.Module.to, torch.cuda.device_count),
        "simulation": current(),
    }


def seeds():
    random.seed(9), np.random.seed(9), torch.manual_seed(9), torch.cuda.manual_seed_all(9)
    return 4


def switches():
    torch.set_default_device("cuda")
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_anomaly_enabled(True)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1 if torch.get_num_threads() > 1 else 2)
    torch.set_float32_matmul_precision("medium")
    # torch's own test helpers freeze these flags, where another test has imported them
    if not torch.backends.flags_frozen():
        torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
        torch.backends.cudnn.deterministic = not torch.backends.cudnn.deterministic
    for kind in ("cpu", "cuda"):
        torch.set_autocast_enabled(kind, True)
        torch.set_autocast_dtype(kind, torch.bfloat16 if kind == "cuda" else torch.float16)
    os.environ["OMP_NUM_THREADS"] = "7"
    os.chdir(tempfile.gettempdir())
    return 4


@pytest.mark.parametrize("nasty", [seeds, switches])
@pytest.mark.parametrize("default", [None, "cpu", "cuda"])
def test_modes_and_seeds_are_put_back(nasty, default):
    torch.set_default_device(default)
    try:
        before = modes()
        assert checked(nasty).state == "passed"
        assert modes() == before
    finally:
        torch.set_default_device(None)


def test_they_are_put_back_after_an_error_and_an_interrupt():
    def fails():
        switches()
        raise ValueError("mine")

    def stopped():
        switches()
        raise KeyboardInterrupt

    before = modes()
    assert "ValueError: mine" in checked(fails).text
    with pytest.raises(KeyboardInterrupt):
        checked(stopped)
    assert modes() == before


def test_the_answer_runs_with_the_modes_of_a_fresh_kernel():
    torch.set_default_device("cuda")
    torch.set_grad_enabled(False)
    try:
        assert (
            checked(lambda: 4 if torch.ones(1).device.type == "cpu" and torch.is_grad_enabled() else 0).state
            == "passed"
        )
    finally:
        torch.set_default_device(None)
        torch.set_grad_enabled(True)


def test_each_check_draws_the_same_numbers(capsys):
    for _ in range(2):
        checked(lambda: print(torch.rand(3).tolist()) or 4)
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


def lies():
    torch.cuda.is_available = lambda: False
    return 4


def stops():
    current().stop()
    return 4


def hides():
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    return 4


def patches_to():
    torch.Tensor.to = lambda self, *a, **k: self
    return 4


def simulates_another():
    simulate_gpu("NVIDIA L4")
    return 4


TRICKS = {
    lies: "replaced torch.cuda.is_available",
    stops: "started or stopped a simulated GPU",
    hides: "set CUDA_VISIBLE_DEVICES",
    patches_to: "replaced torch.Tensor.to",
    simulates_another: "started or stopped a simulated GPU",
}


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.__name__)
def test_a_device_that_was_switched_off_does_not_pass_and_comes_back(trick):
    if current() is None and trick in (stops, simulates_another):
        pytest.skip("a real GPU is not simulated")
    before = os.environ.get("CUDA_VISIBLE_DEVICES"), current()
    outcome = checked(trick)
    assert outcome.state == "not yet" and TRICKS[trick] in outcome.text and "put back" in outcome.text
    assert (os.environ.get("CUDA_VISIBLE_DEVICES"), current()) == before
    assert torch.cuda.is_available() and torch.ones(1).to("cuda").is_cuda
    assert checked(lambda: 4).state == "passed"


def test_the_line_that_replaced_a_function_is_named():
    assert "test_guards.py:" in checked(lies).text


def test_what_an_earlier_cell_replaced_is_put_back_too():
    lie = eval("lambda: False", {"__name__": "__main__"})
    torch.cuda.is_available = lie
    outcome = checked(lambda: 4)
    assert outcome.state == "not yet" and "torch.cuda.is_available had been replaced" in outcome.text
    assert torch.cuda.is_available() and checked(lambda: 4).state == "passed"


# --- the learner's own objects --------------------------------------------------------------------------------------


class Keeper(nn.Module):
    """A model with all that a module can hold."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm = nn.Linear(2, 2), nn.BatchNorm1d(2)
        self.hidden, self.history = torch.zeros(2), []

    def forward(self, x):
        self.hidden = self.norm(self.fc(x)).detach().sum(0)
        self.history.append(x)
        return self.hidden


def picture(model, optimizer, batch):
    """Return everything that can be compared of them: values, devices, gradients, flags, identities."""
    tensors = {
        **dict(model.named_parameters()),
        **dict(model.named_buffers()),
        "hidden": model.hidden,
        **batch,
    }
    return {
        "values": {name: (t.tolist(), str(t.device), t.requires_grad) for name, t in tensors.items()},
        "gradients": {
            name: p.grad.tolist() if p.grad is not None else None for name, p in model.named_parameters()
        },
        "same": {name: id(t) for name, t in tensors.items()},
        "state": [
            (k, v.tolist() if torch.is_tensor(v) else v)
            for s in optimizer.state.values()
            for k, v in s.items()
        ],
        "groups": [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups],
        "rest": (model.training, len(model.history), list(model._modules), list(batch)),
    }


def rough(model, optimizer, batch):
    model.to("cuda").eval()
    model(batch["x"].cuda())
    model.fc.weight.requires_grad_(False)
    model.fc.bias.grad = torch.full((2,), 7.0, device="cuda")
    model.extra = nn.Linear(1, 1)
    batch["x"].mul_(3)
    batch["new"] = torch.ones(1)
    del batch["y"]
    optimizer.param_groups[0]["lr"] = 99.0
    optimizer.zero_grad()
    for state in optimizer.state.values():
        state["exp_avg"].fill_(5)
    return 4


def belongings(device):
    model = Keeper().to(device)
    optimizer = torch.optim.Adam(model.parameters())
    batch = {"x": torch.rand(3, 2, device=device), "y": torch.rand(3)}
    model(batch["x"])
    model.fc(batch["x"]).sum().backward()
    optimizer.step()
    return model, optimizer, batch


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_objects_that_are_passed_stay_as_they_were(device):
    mine = belongings(device)
    before = picture(*mine)
    assert checked(rough, *mine).state == "passed"
    assert picture(*mine) == before


def test_objects_that_the_function_reaches_stay_as_they_were():
    mine = belongings("cpu")
    before = picture(*mine)

    def helper():
        return rough(*mine)

    counter = [0]

    def answer():
        nonlocal counter
        counter[0] += 1
        counter = None
        return helper()

    assert checked(answer).state == "passed"
    assert picture(*mine) == before and counter == [0]


NAME = [1]


def test_a_global_name_that_is_bound_anew_comes_back():
    def answer():
        global NAME
        NAME = "lost"
        return 4

    kept = NAME
    assert checked(answer).state == "passed" and NAME is kept


def test_arrays_and_generators_stay_as_they_were():
    array, generator = np.ones(3), torch.Generator()
    state = generator.get_state()

    def answer(a, g):
        a += 1
        torch.rand(1, generator=g)
        return 4

    assert checked(answer, array, generator).state == "passed"
    assert array.tolist() == [1, 1, 1] and torch.equal(generator.get_state(), state)


def test_one_thing_that_cannot_be_put_back_does_not_stop_the_rest():
    broken, tensor, items = torch.ones(2), torch.ones(2), [1]
    leaf = torch.ones(2, requires_grad=True)
    snapshot = Snapshot([broken, tensor, items, leaf])
    tensor.zero_()
    items.append(2)
    leaf.grad = torch.ones(2)
    snapshot._restores.insert(0, lambda: broken.view(3))  # as if this one had failed
    with pytest.raises(
        InputError, match="could not be put back as they were, the first because of RuntimeError"
    ):
        snapshot.restore()
    assert tensor.tolist() == [1, 1] and items == [1] and leaf.grad is None
