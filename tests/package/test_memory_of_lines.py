"""The bytes of a training, line by line: held against what the simulated card's allocator says of the same lines, really run."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import devicelab as lab
from devicelab.errors import InputError
from devicelab.gpus import find
from devicelab.memory.scenes import label
from devicelab.memory.watch import watched

T4 = "Tesla T4"
KINDS = ("weights", "gradients", "optimizer", "activations", "passing")


class Block(nn.Module):
    """Wide inside, narrow at both ends."""

    def __init__(self, width):
        super().__init__()
        self.up, self.down = nn.Linear(64, width), nn.Linear(width, 64)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(x)))


def train(batch=64, width=8192, again=False, kind=torch.optim.Adam, steps=2, device="cuda"):
    model = nn.Sequential(Block(width), Block(width)).to(device)
    optimizer = kind(model.parameters(), lr=0.01)
    data = torch.randn(batch, 64, device=device)
    for _ in range(steps):
        optimizer.zero_grad()
        x = data
        for block in model:
            x = checkpoint(block, x, use_reentrant=False) if again else block(x)
        loss = x.square().mean()
        loss.backward()
        optimizer.step()


def sums(found):
    """Yield the bytes that tensors hold after each event."""
    held = 0
    for event in found.events:
        held += event.piece.nbytes if event.came else -event.piece.nbytes
        yield held


def held_by(run, kind, label="step()", step=1):
    """Return the bytes of a kind at the end of a line."""
    [visit] = [one for one in run["visits"] if one["label"] == label and one["step"] == step]
    return visit["points"][-1][KINDS.index(kind)]


@pytest.mark.parametrize("setting", [{}, {"again": True}, {"kind": torch.optim.SGD}, {"batch": 3}])
def test_the_fullest_moment_is_the_simulated_allocators_to_the_byte(setting):
    with lab.simulate_gpu(T4):
        train(**setting)
        wanted = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    found = watched(train, setting, find(T4), 30)
    assert (max(sums(found)), max(event.reserved for event in found.events)) == wanted


def test_weights_gradients_and_adams_state_are_one_to_one_to_two():
    run = lab.memory(train, gpu=T4).run()
    weights = held_by(run, "weights")
    assert weights == pytest.approx(4 * 4 * 64 * 8192, rel=0.02)
    assert held_by(run, "gradients") == weights
    assert held_by(run, "optimizer") == pytest.approx(2 * weights, rel=0.01)


def test_with_adam_the_second_step_needs_more_and_with_sgd_it_does_not():
    adam, sgd = (
        lab.memory(train, gpu=T4, batch=4096, kind=[kind]).run()
        for kind in (torch.optim.Adam, torch.optim.SGD)
    )
    assert "The second step needs" in adam["say"] and "in the second step" in adam["say"]
    assert "The second step needs" not in sgd["say"]
    assert adam["bytes"] > sgd["bytes"]


def test_the_line_that_is_refused_is_named_with_who_holds_the_bytes():
    card = replace(find(T4), total_memory=lab.memory(train, gpu=T4, steps=1, batch=2048).peak())
    found = lab.memory(train, gpu=card, steps=[1, 2], batch=2048)
    assert found.fits(steps=1) and not found.fits(steps=2)
    say = found.run(steps=2)["say"]
    assert "is only the last that asked, for " in say and "optimizer's state 16.1 MiB" in say
    assert "In the step before, the same line passed: the optimizer's state was not there yet." in say


def test_checkpointing_keeps_less_for_the_backward_pass():
    found = lab.memory(train, gpu=T4, batch=4096, again=[False, True])
    assert found.peak(again=True) < found.peak(again=False)


@pytest.mark.parametrize("device", ["cuda", "meta"])
def test_a_training_on_meta_counts_as_one_on_the_card(device):
    assert lab.memory(train, gpu=T4, device=device).run()["bytes"] == lab.memory(train, gpu=T4).run()["bytes"]


def test_nothing_of_the_learners_is_changed():
    model = nn.Linear(8, 8)
    optimizer = torch.optim.Adam(model.parameters())

    def own():
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.ones(4, 8)).sum().backward()
            optimizer.step()

    before = [parameter.clone() for parameter in model.parameters()]
    lab.memory(own, gpu=T4)
    assert not optimizer.state and all(parameter.grad is None for parameter in model.parameters())
    assert all(map(torch.equal, before, model.parameters()))


def test_an_error_of_the_training_is_the_learners_own():
    def wrong():
        return torch.ones(3, device="cuda") + torch.ones(3)

    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        lab.memory(wrong, gpu=T4)
    assert not torch.cuda.is_initialized()


def test_picture_still_and_text_say_the_same():
    found = lab.memory(train, gpu=T4, batch=[64, 128], again=[False, True])
    json.dumps(found.data())
    text, runs = str(found), found.data()["runs"]
    assert len(runs) == 4 and all(run["head"] in text and run["say"] in text for run in runs)
    assert "batch 128, again True: " in text
    still = found.still(batch=128)
    assert found.run(batch=128)["say"] in still.alt and still.png.startswith(b"\x89PNG")
    assert all(note in text for note in found.data()["notes"])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("loss.backward()", "backward()"),
        ("loss = criterion(model(x), y)", "criterion()"),
        ("for x, y in zip(a, b):", "zip()"),
        ("x = data", "x = data"),
        ("with torch.no_grad(", "with torch.no_"),
    ],
)
def test_a_line_is_called_by_what_it_calls(source, words):
    assert label(source) == words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((3,), {}), "memory needs a function"),
        (((train,), {"batch": []}), "The knob batch has no values"),
        (((train,), {"batch": range(65)}), "65 settings; 64 are shown at most"),
        (((print,), {}), "made by `def`"),
        (((lambda: None,), {}), "made nothing that a card would hold"),
        (((train,), {"gpu": "GTX 9000"}), "GTX 9000"),
    ],
)
def test_bad_input_gets_one_sentence(arguments, words):
    given, named = arguments
    with pytest.raises(InputError, match=words):
        lab.memory(*given, **named)


def test_a_setting_that_was_not_tried_is_refused_with_those_that_were():
    found = lab.memory(train, gpu=T4, batch=[1, 2])
    with pytest.raises(InputError, match="batch was tried with 1, 2, not with 3"):
        found.fits(batch=3)
    with pytest.raises(InputError, match="The knobs are batch, but not rows"):
        found.peak(rows=3)
