"""Exercise 03: its quoted messages are torch's, and what its judges say where the solution notebook does not show it."""

from pathlib import Path

import pytest
import torch

from devicelab import simulate_gpu
from devicelab.course.exercises import ex03
from tools.notebooks.nbfiles import SOLUTIONS, read

GENUINE = Path(__file__).parents[1] / "data" / "cuda_error_messages.json"
RIGHT = {"a": "weight", "b": "bias", "c": "class_weight"}


def run_answer(question):
    """Return the reference answer of a question that asks for a function."""
    space = {"torch": torch}
    exec(question.answer, space)
    return space[question.answer.partition("def ")[2].partition("(")[0]]


@pytest.mark.parametrize(("run", "stayed"), RIGHT.items())
def test_the_messages_of_question_1_are_what_torch_says(run, stayed):
    with simulate_gpu("Tesla T4"):
        message = ex03._message_when(stayed)
    quoted = message.partition("but ")[2]
    task = next(
        cell.source
        for cell in read(SOLUTIONS / "03_what_if_only_half_moved.ipynb").cells
        if cell.id == "q1-task"
    )
    assert f"- {run}: *{quoted}*" in task
    if run != "a":  # no case of that kind among the recorded ones
        assert quoted in GENUINE.read_text(encoding="utf-8")


def test_every_tensor_of_question_1_gives_a_message_of_its_own():
    with simulate_gpu("Tesla T4"):
        assert len({ex03._message_when(name) for name in ex03._SUSPECTS}) == len(ex03._SUSPECTS)


@pytest.mark.parametrize("run", RIGHT)
@pytest.mark.parametrize("name", ex03._SUSPECTS)
def test_each_wrong_name_is_tried_out(run, name):
    outcome = ex03.q1.check(RIGHT | {run: name})
    if name == RIGHT[run]:
        assert outcome.state == "passed"
    else:
        assert f"with {name} alone on the CPU" in outcome.text and f"not message {run}." in outcome.text


def test_question_1_says_what_kind_of_answer_it_wants():
    assert "3 keys of the cell: a, b, c." in ex03.q1.check({"a": "bias"}).text
    assert "For b you wrote 'mat1'; one of data, weight" in ex03.q1.check(RIGHT | {"b": "mat1"}).text
    assert ex03.q1.check(dict.fromkeys("abc", ...)).state == "not attempted"


def test_sending_the_wide_table_instead_of_making_it_there_is_noticed():
    def train_step(model, optimizer, images, labels, device):
        labels = labels.to(device)
        return run_answer(ex03.q2)(model, optimizer, images.double().to(device).float(), labels, device)

    assert "ran on cpu, not on cuda" in ex03.q2.check(train_step).text


def test_sending_the_images_twice_is_noticed():
    def train_step(model, optimizer, images, labels, device):
        images.to(device)
        return run_answer(ex03.q2)(model, optimizer, images, labels, device)

    assert "was sent to the GPU twice over" in ex03.q2.check(train_step).text


def moving(module, x):
    return run_answer(ex03.q3)(module.to(x.device), x)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda module, x: ["head.bias"], "A set of names was asked for."),
        (lambda module, x: {torch.ones(1)}, "A set of names was asked for."),
        (lambda module, x: {"mat1"}, "named mat1. No such tensor lies elsewhere than x."),
        (moving, "your function missed head.bias, head.weight."),
    ],
)
def test_what_question_3_says(answer, words):
    assert words in ex03.q3.check(answer).text


def test_looking_must_not_move():
    def left_behind(module, x):
        found = run_answer(ex03.q3)(module, x)
        module.to(x.device)
        return found

    assert "It was asked to look" in ex03.q3.check(left_behind).text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda batch, device: None, "is None; a dict of 6 parts was given"),
        (
            lambda batch, device: dict(list(batch.items())[:2]),
            "is a dict of 2 parts; a dict of 6 parts was given",
        ),
        (lambda batch, device: batch, "['image'] is on cpu; cuda was asked for."),
    ],
)
def test_what_question_4_says(answer, words):
    assert words in ex03.q4.check(answer).text


def test_other_values_are_noticed():
    def to_device(batch, device):
        moved = run_answer(ex03.q4)(batch, device)
        return moved | {"image": moved["image"] + 1} if isinstance(moved, dict) else moved

    assert (
        "['image'] lies on cuda:0 and has the right shape, but not the right values"
        in ex03.q4.check(to_device).text
    )
