"""Exercise 04: the truth of its prediction, its four machines, and words that the solution notebook does not show."""

import pytest
import torch
from torch import nn

import devicelab as lab
from devicelab import simulate_gpu
from devicelab.course.exercises import ex04

LINES = {
    "a": lambda: torch.cuda.is_available(),
    "b": lambda: nn.Linear(10, 2),
    "c": lambda: torch.cuda.get_device_name(),
    "d": lambda: torch.empty(1000, device="cuda"),
    "e": lambda: torch.zeros(3, device="cuda"),
    "f": lambda: torch.device("cuda:0"),
}
RIGHT = dict(ex04._TRUTH)


@pytest.mark.parametrize(("line", "run"), LINES.items())
def test_the_truth_of_question_1_is_what_a_fresh_card_does(line, run):
    with simulate_gpu("Tesla T4") as simulation:
        with lab.trace() as t:
            run()
        awake = simulation.cards[0].awake
    computes = any(operator.device == "cuda:0" for operator in t.operators)
    assert ex04._TRUTH[line] == ("computes" if computes else "awake" if awake else "asleep")


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("effect", ex04._EFFECTS)
def test_one_wrong_line_is_named_with_a_question(line, effect):
    outcome = ex04.q1.check(RIGHT | {line: effect})
    if effect == RIGHT[line]:
        assert outcome.state == "passed"
    else:
        assert f"Look at {line} again" in outcome.text and "?" in outcome.text


def test_question_1_says_what_kind_of_answer_it_wants():
    assert "6 keys" in ex04.q1.check({"a": "asleep"}).text
    assert "For c you wrote 'on'; one of asleep, awake, computes" in ex04.q1.check(RIGHT | {"c": "on"}).text
    assert ex04.q1.check(dict.fromkeys("abcdef", ...)).state == "not attempted"


def test_each_case_of_question_2_uses_the_gpu_or_not_as_it_says():
    with simulate_gpu("Tesla T4"):
        for name, function, wanted in ex04._used_cases():
            with lab.trace() as t:
                function()
            assert any(operator.device == "cuda:0" for operator in t.operators) == wanted, name


@pytest.mark.parametrize("always", [True, False])
def test_question_2_cannot_be_guessed(always):
    def used_gpu(fn):
        fn()
        return always

    assert ex04.q2.check(used_gpu).state == "not yet"


def test_question_2_wants_a_function_that_calls_fn():
    assert "called fn 0 times; once was asked for" in ex04.q2.check(lambda fn: False).text
    assert "A function was asked for, but the answer is True." in ex04.q2.check(True).text
    assert ex04.q2.check(lambda fn: ...).state == "not attempted"


def test_a_training_that_leaves_the_cpu_is_told_how_often():
    def train(model, data, labels, epochs):
        costs = torch.tensor([1.0, 2.0, 4.0]).cuda()
        return [costs[labels].sum().item() for _ in range(epochs)]

    assert "an operator ran on the GPU 8 times" in ex04.q3.check(train).text


def test_the_history_is_compared():
    assert "the history: 4 values were asked for" in ex04.q3.check(costs_alone(1)).text
    assert "the history[0] should be about" in ex04.q3.check(costs_alone(4)).text


def costs_alone(rows):
    """Return an answer that trains nothing and gives so many costs back."""
    return lambda model, data, labels, epochs: [model(data).sum().item() + 1e6] * rows


def machines():
    """Return the machines of question 4 without the words about them."""
    return [machine for _, machine in ex04._machines()]


@pytest.mark.parametrize(
    ("number", "available", "error", "words"),
    [
        (0, True, RuntimeError, "no kernel image is available"),
        (1, False, RuntimeError, "No CUDA GPUs are available"),
        (2, False, AssertionError, "Torch not compiled with CUDA enabled"),
    ],
)
def test_each_machine_answers_as_such_a_machine_does(number, available, error, words):
    with simulate_gpu("Tesla T4"), machines()[number]:
        assert torch.cuda.is_available() is available
        assert (torch.ones(2) + 1).tolist() == [2, 2]
        for attempt in (lambda: torch.ones(2, device="cuda") + 1, lambda: torch.ones(2).cuda() + 1):
            with pytest.raises(error, match=words):
                attempt()


def test_a_card_without_kernels_still_gives_memory_and_copies():
    with simulate_gpu("Tesla T4"), machines()[0]:
        assert torch.empty(4, device="cuda").shape == (4,)
        assert torch.ones(2).to("cuda").tolist() == [1, 1]


def test_memory_alone_does_not_pass():
    def usable_gpu():
        try:
            return torch.empty(4, device="cuda").is_cuda
        except (RuntimeError, AssertionError):
            return False

    assert "no operator was seen on the GPU" in ex04.q4.check(usable_gpu).text


def test_a_zero_is_no_false():
    def usable_gpu():
        try:
            return (torch.ones(2, device="cuda") + 1).tolist() == [2, 2]
        except (RuntimeError, AssertionError):
            return 0

    assert "returned 0; False was asked for" in ex04.q4.check(usable_gpu).text
