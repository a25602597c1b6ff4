"""Exercise 08: what its checks say to answers that its solution notebook does not show, and the machines that it plays."""

import pytest
import torch
from telling import told
from torch import nn, optim

from devicelab.course.exercises import ex08
from devicelab.course.looking import without_gpu
from devicelab.course.looking.played import NVIDIA, OLDER_NVIDIA, OTHERS

TRUE = {"weight": "cuda", "noise": "cpu", "shared": "cpu", "copied": "cuda", "batch": "cpu", "late": "cpu"}
ASKED = ("is_available", "device_count", "current_accelerator")


pytestmark = pytest.mark.usefixtures("card")


@pytest.mark.parametrize("name", TRUE)
def test_each_place_has_a_question_of_its_own(name):
    wrong = "cpu" if TRUE[name] == "cuda" else "cuda"
    text = told(ex08.q1, TRUE | {name: wrong})
    assert f"{name} was not on {wrong}" in text and ex08._PLACES_WHY[name] in text


def answers():
    """Return what torch says about its devices here."""
    new = hasattr(torch, "accelerator")
    found = torch.accelerator.current_accelerator() if new else None
    return {
        "new": new,
        "built": str(found),
        "usable": new and torch.accelerator.is_available(),
        "count": torch.accelerator.device_count() if new else 0,
        "if usable": str(torch.accelerator.current_accelerator(check_available=True)) if new else "None",
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "mps built": torch.backends.mps.is_built(),
        "xpu": (torch.xpu.is_available(), torch.xpu.device_count()),
    }


NOTHING = {
    "new": True,
    "built": "None",
    "usable": False,
    "count": 0,
    "if usable": "None",
    "cuda": False,
    "mps": False,
    "mps built": False,
    "xpu": (False, 0),
}
PLAYED = {
    "without any GPU": {},
    "with a wheel for CUDA and no driver": {"built": "cuda"},
    "that is a Mac": {
        "built": "mps",
        "usable": True,
        "count": 1,
        "if usable": "mps",
        "mps": True,
        "mps built": True,
    },
    "with an Intel GPU": {"built": "xpu", "usable": True, "count": 1, "if usable": "xpu", "xpu": (True, 1)},
    "that is a Mac with an older PyTorch": {"new": False, "mps": True, "mps built": True},
    "without any GPU and with an older PyTorch": {"new": False},
}


@pytest.mark.parametrize("machine", OTHERS, ids=lambda machine: machine.name)
def test_torch_answers_as_on_that_machine_and_then_as_before(machine):
    before = answers()
    with without_gpu(), machine.played():
        assert answers() == NOTHING | PLAYED[machine.name]
    assert answers() == before


def test_a_played_nvidia_card_is_the_present_one():
    with NVIDIA.played():
        assert answers()["usable"] and torch.zeros(1, device="cuda").is_cuda
    with OLDER_NVIDIA.played():
        assert answers()["cuda"] and not hasattr(torch, "accelerator")
    assert hasattr(torch, "accelerator")


def test_an_error_on_a_played_machine_leaves_nothing_behind():
    before = answers()
    assert "ZeroDivisionError" in told(ex08.q2, lambda float64: 1 / 0)
    assert "AttributeError" in told(ex08.q2, lambda float64: float64.kind)
    assert answers() == before


def trained(factor=1.0, scaler=1.0, returns=float):
    """Return an answer to question 3 whose gradients come out wrong by a factor."""

    def train(model, batches, criterion, device, lr):
        kind = torch.device(device).type
        model.to(device)
        optimizer = optim.SGD(model.parameters(), lr=lr * factor)
        grow = scaler * (2.0**16 if kind == "cuda" else 1.0)
        for rows, target in batches:
            optimizer.zero_grad()
            with torch.autocast(kind):
                loss = criterion(model(rows.to(device)), target.to(device))
            (grow * loss).backward()
            for parameter in model.parameters():
                parameter.grad /= grow
            optimizer.step()
        return returns(loss.item())

    return train


def test_other_trainings():
    assert ex08.q3.check(trained()).state == "passed"
    assert "far from those of a training in float32" in told(ex08.q3, trained(factor=2.0))
    assert "no weight has changed" in told(ex08.q3, trained(scaler=1e-9))
    assert "With device='cuda' the loss should be a Python number, but it is a tensor" in told(
        ex08.q3, trained(returns=torch.tensor)
    )


def test_a_training_on_the_cpu_is_none_on_the_card():
    train = trained()

    def on_the_cpu(model, batches, criterion, device, lr):
        return train(model, batches, criterion, "cpu", lr)

    assert "With device='cuda' the forward pass ran on cpu, not on cuda" in told(ex08.q3, on_the_cpu)


def test_tests_that_find_too_much_or_too_little():
    def refuses(predict, device):
        raise AssertionError

    assert "refused a predict that does all as it should (AssertionError)" in told(ex08.q4, refuses)
    assert "With device='cuda' your check let a predict pass that makes its input on the CPU" in told(
        ex08.q4, lambda predict, device: None
    )
    assert ex08.q4.check(lambda predict, device: ...).state == "not attempted"


@pytest.mark.parametrize("ignored", ex08._FAULTY, ids=lambda fault: f"{fault[0].__name__}-{fault[1]}")
def test_each_fault_has_to_be_found(ignored):
    """A test that overlooks one fault alone is told which one."""

    def overlooks(predict, device):
        if (predict, device) == ignored[:2]:
            return
        model, rows = nn.Linear(10, 2).to(device), [[1.0] * 10]
        answer = predict(model, rows)
        torch.testing.assert_close(answer, model(torch.tensor(rows, device=device)))

    assert f"With device={ignored[1]!r} your check let a predict pass {ignored[2]}" in told(
        ex08.q4, overlooks
    )


def test_a_training_that_makes_tensors_on_the_device_is_played_on_a_mac_too():
    """Question 3 asks what autocast is entered for there; a sum that is made on the device is no reason to fail."""

    def train(model, batches, criterion, device, lr):
        total = torch.zeros((), device=device)
        loss = trained()(model, batches, criterion, device, lr)
        return (total + loss).item()

    assert ex08.q3.check(train).state == "passed"
    assert torch.zeros(1).device.type == "cpu" and torch.zeros(1, device="cuda").is_cuda
