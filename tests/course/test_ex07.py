"""Exercise 07: what its checks say to answers that its solution notebook does not show."""

import pytest
import torch
import torch.nn.functional as F
from telling import told
from torch import nn, optim

from devicelab.course.exercises import ex07
from devicelab.course.exercises.ex07 import _waves as waves

TRUE = {"weight": "cuda", "scale": "cpu", "own_scale": "cuda", "head": "cpu", "average": "cpu"}


pytestmark = pytest.mark.usefixtures("card")


@pytest.mark.parametrize("name", TRUE)
def test_each_place_has_a_question_of_its_own(name):
    wrong = "cpu" if TRUE[name] == "cuda" else "cuda"
    text = told(ex07.q1, TRUE | {name: wrong})
    assert f"{name} was not on {wrong}" in text and ex07._PLACES_WHY[name] in text


def test_a_prediction_of_another_form():
    assert "with the 5 keys of the cell: weight, scale, own_scale, head, average." in told(
        ex07.q1, {"weight": "cuda"}
    )
    assert "you wrote 'gpu'; 'cpu' or 'cuda' was asked for" in told(ex07.q1, TRUE | {"head": "gpu"})
    assert ex07.q1.check(dict.fromkeys(TRUE, ...)).state == "not attempted"


class Reader(nn.Module):
    """A right answer to question 2, to be broken."""

    def __init__(self, length, width):
        super().__init__()
        self.mix = nn.Linear(width, width)
        self.register_buffer("table", waves(length, width), persistent=False)

    def forward(self, x):
        counts = torch.arange(1, x.shape[1] + 1, device=x.device)
        return self.mix((x + self.table[: x.shape[1]]).cumsum(dim=1) / counts[:, None])


class NoMix(Reader):
    def __init__(self, length, width):
        super().__init__(length, width)
        self.mix = nn.Identity()


class OnTheCPU(Reader):
    def forward(self, x):
        torch.ones(3).sum()
        return super().forward(x)


class ComesBack(Reader):
    def forward(self, x):
        return super().forward(x).cpu()


class WithoutTheTable(Reader):
    def forward(self, x):
        return super().forward(x - self.table[: x.shape[1]])


def test_other_readers():
    assert ex07.q2.check(Reader).state == "passed"
    assert "<lambda>(9, 8) made 1.0; a module" in told(ex07.q2, lambda length, width: 1.0)
    assert "A class was asked for, but the answer is 5" in told(ex07.q2, 5)
    assert "has lost its layer, reader.mix" in told(ex07.q2, NoMix)
    assert "In three calls of a Reader on cuda a part of the work ran on cpu" in told(ex07.q2, OnTheCPU)
    assert "copied something from cuda to cpu 3 times" in told(ex07.q2, ComesBack)
    assert "On cuda the result lies on cuda:0 and has the right shape, but not the right values" in told(
        ex07.q2, WithoutTheTable
    )


def test_a_function_with_too_few_arguments():
    text = told(ex07.q3, lambda path, model: None)
    assert "an error of its own" in text and "takes 2 positional arguments but 3 were given" in text


def test_other_ways_to_resume():
    def only_the_optimizer(path, model, device):
        saved = torch.load(path, map_location="cpu")
        optimizer = optim.Adam(model.to(device).parameters(), lr=0.01)
        optimizer.load_state_dict(saved["optimizer"])
        return optimizer

    assert "resume returned None; the optimizer was asked for" in told(ex07.q3, lambda *_: None)
    text = told(ex07.q3, only_the_optimizer)
    assert "step 1 has the loss" in text and "Before it" not in text


class Recall(nn.Module):
    """A right answer to question 4, to be broken."""

    def __init__(self, classes):
        super().__init__()
        self.register_buffer("table", torch.zeros(classes, classes), persistent=False)

    def reset(self):
        self.table.zero_()

    def update(self, outputs, labels):
        kinds = torch.arange(len(self.table), device=outputs.device)
        guessed, true = outputs.argmax(dim=1)[:, None] == kinds, labels[:, None] == kinds
        self.table += true.float().T @ guessed.float()

    def compute(self):
        return (self.table.diagonal() / self.table.sum(dim=1)).cpu()


class OneHot(Recall):
    """Another right answer: F.one_hot waits only where nobody says how many classes there are."""

    def update(self, outputs, labels):
        guessed, true = (
            F.one_hot(kinds, len(self.table)).float() for kinds in (outputs.argmax(dim=1), labels)
        )
        self.table += true.T @ guessed


class OneHotThatLooks(OneHot):
    def update(self, outputs, labels):
        F.one_hot(labels)
        super().update(outputs, labels)


class NeverResets(Recall):
    def reset(self):
        pass


class StaysThere(Recall):
    def compute(self):
        return self.table.diagonal() / self.table.sum(dim=1)


class CopiesTwice(Recall):
    def compute(self):
        return self.table.diagonal().cpu() / self.table.sum(dim=1).cpu()


class AsNumbers(Recall):
    def compute(self):
        return super().compute().tolist()


class CopiesBack(Recall):
    def update(self, outputs, labels):
        super().update(outputs, labels.cpu().to(outputs.device))


def test_other_metrics():
    assert ex07.q4.check(Recall).state == "passed"
    assert ex07.q4.check(OneHot).state == "passed"
    assert "one update() waited for the GPU once" in told(ex07.q4, OneHotThatLooks)
    assert "<lambda>(3) made 0; a module" in told(ex07.q4, lambda classes: 0)
    assert "Reset and counted on cuda: the recall lies on cpu and has the right shape, but" in told(
        ex07.q4, NeverResets
    )
    assert "then on cuda: the recall is on cuda:0; cpu was asked for" in told(ex07.q4, StaysThere)
    assert "In one compute() results were copied back twice" in told(ex07.q4, CopiesTwice)
    assert "a tensor was asked for, but it is [" in told(ex07.q4, AsNumbers)
    assert "one update() copied back to the CPU once" in told(ex07.q4, CopiesBack)
