"""Exercise 12: what its checks say to answers that its solution notebook does not show, and what the judges rest on."""

import ast
import itertools

import pytest
import torch
from telling import told
from torch import nn

from devicelab.course.elsewhere.runs import stored
from devicelab.course.exercises import ex12
from devicelab.course.exercises.frameworks import moves, rules
from tools.notebooks.nbfiles import SOLUTIONS, read

pytestmark = pytest.mark.usefixtures("card")
TRUTH = {
    "outside": "first", "inside": "second", "free": "second", "put": "stops", "chained": "stops", "half": "stops",
}  # fmt: skip


# --- products ---------------------------------------------------------------------------------------------------------


def test_what_the_frameworks_did_is_what_the_lesson_says():
    assert rules._products() == TRUTH


def test_the_lines_of_the_task_are_those_that_were_run():
    task = next(
        c.source for c in read(SOLUTIONS / "12_is_it_the_same_elsewhere.ipynb").cells if c.id == "q1-task"
    )
    for products in rules.PRODUCTS.values():
        assert all(line in task for line in products.values())


@pytest.mark.parametrize("name", TRUTH)
def test_a_wrong_product_is_told_with_its_own_question(name):
    wrong = "stops" if TRUTH[name] != "stops" else "first"
    assert rules._WHY[name] in told(ex12.q1, TRUTH | {name: wrong})


# --- TensorFlow's rule ------------------------------------------------------------------------------------------------


def called(function, tensors, device, policy="silent"):
    kind = torch.device(device).type
    if policy == "explicit" and any(tensor.device.type != kind for tensor in tensors):
        raise ValueError("elsewhere")
    with torch.device(device):
        return function(*[tensor.to(device) for tensor in tensors])


def test_a_function_that_is_called_with_all_copied_twice():
    def twice(function, tensors, device, policy="silent"):
        [tensor.to(device) for tensor in tensors]
        return called(function, tensors, device, policy)

    assert "Which had to be?" in told(ex12.q2, twice)


def test_a_call_that_brings_its_result_back():
    assert "is on cpu" in told(ex12.q2, lambda *given: called(*given).cpu())


def test_another_error_than_asked_for_is_shown_as_the_learners_own():
    def wrong(function, tensors, device, policy="silent"):
        if policy == "explicit":
            raise RuntimeError("strict")
        return called(function, tensors, device)

    assert "error of its own" in told(ex12.q2, wrong) and "strict" in told(ex12.q2, wrong)


def test_a_default_device_that_was_left_is_taken_back():
    def leaves(function, tensors, device, policy="silent"):
        torch.set_default_device(device)
        return called(function, tensors, device, policy)

    assert "as the default device behind" in told(ex12.q2, leaves)
    assert torch.get_default_device().type == "cpu"


# --- a batch ----------------------------------------------------------------------------------------------------------


def sent(batch, device):
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: sent(value, device) for key, value in batch.items()}
    return type(batch)(sent(v, device) for v in batch) if isinstance(batch, (list, tuple)) else batch


def test_a_batch_that_is_copied_twice():
    assert "What moved twice?" in told(
        ex12.q3, lambda batch, device: sent(sent(sent(batch, device), "cpu"), device)
    )


def test_a_batch_that_was_moved_in_its_lists():
    def send(batch, device):
        batch["extra"][1][0] = batch["extra"][1][0].to(device)
        return sent(batch, device)

    assert "the caller's own batch has changed" in told(ex12.q3, send)


def test_other_values_in_a_batch():
    def send(batch, device):
        return sent({"words": batch["words"] + 1, **{k: v for k, v in batch.items() if k != "words"}}, device)

    assert "not the right values" in told(ex12.q3, lambda batch, device: send(batch, device))


@pytest.mark.parametrize(
    ("got", "given", "words"),
    [
        ([1], (1,), r"a tuple of 1 became a list of 1"),
        ({"a": (1, [2])}, {"a": (1, [3])}, "3 became 2"),
        ({"a": 1}, {"b": 1}, "a dict of 1 became a dict of 1"),
    ],
)
def test_the_first_part_that_differs_is_named(got, given, words):
    assert words in moves._differs(got, given)


# --- a model for trainers ---------------------------------------------------------------------------------------------


class Scorer(nn.Module):
    def __init__(self, mean, weights):
        super().__init__()
        self.layer = nn.Linear(len(mean), len(weights))
        self.register_buffer("mean", mean)
        self.register_buffer("weights", weights)

    def forward(self, x, labels):
        outputs = self.layer(x - self.mean) + torch.arange(labels.shape[1], device=x.device)
        return (self.weights * (outputs - labels) ** 2).mean()


def test_the_model_is_right_as_a_trainer_takes_it():
    assert ex12.q4.check(Scorer).state == "passed"


def test_what_is_no_model():
    assert "as `layer`" in told(ex12.q4, lambda mean, weights: 3)
    assert "as `layer`" in told(ex12.q4, lambda mean, weights: nn.Linear(2, 2))


def test_a_frozen_layer_does_not_train():
    class Frozen(Scorer):
        def __init__(self, mean, weights):
            super().__init__(mean, weights)
            self.layer.requires_grad_(False)

    assert "Your Scorer trains nothing." in told(ex12.q4, Frozen)


# --- JAX's rule -------------------------------------------------------------------------------------------------------


def test_the_rule_of_the_judge_is_what_jax_did():
    run = stored("jax", rules.EVERY_PAIR)
    assert run is not None
    seen = [line.split(" -> ") for line in run.text.splitlines()]
    assert len(seen) == 16
    for arrays, said in seen:
        wanted = said if said == "stops" else ast.literal_eval(said)
        assert rules._asked(rules.lands, ast.literal_eval(arrays), rules.DEFAULT) == wanted


def test_the_judge_asks_for_all_that_jax_was_asked_for():
    asked = [arrays for arrays, default in rules._cases() if default == rules.DEFAULT]
    kinds = list(itertools.product(("cpu:0", "cpu:1"), (False, True)))
    assert asked == [list(pair) for pair in itertools.product(kinds, repeat=2)]


def test_answers_of_other_kinds():
    assert ex12.q5.check(lambda arrays, default: list(rules.lands(arrays, default))).state == "passed"
    assert "returned 'cpu:0'" in told(ex12.q5, lambda arrays, default: "cpu:0")
    assert ex12.q5.check(lambda arrays, default: ...).state == "not attempted"


def test_an_error_of_another_kind_is_the_learners_own():
    assert "KeyError" in told(ex12.q5, lambda arrays, default: {}[default])
