"""Exercise 01 where no GPU is simulated yet: each check then simulates its own (the solution notebook has them with one)."""

import pytest
import torch

from devicelab.course.exercises import ex01


def right(module):
    return {tensor.device for tensor in (*module.parameters(), *module.buffers())}


WRONG_DEVICES = {
    "first only": lambda module: {next(module.parameters()).device},
    "no buffers": lambda module: {p.device for p in module.parameters()},
    "believes": lambda module: {torch.device("cuda" if torch.cuda.is_available() else "cpu")},
    "strings": lambda module: {str(device) for device in right(module)},
}
WRONG_RAN = {
    "believes": lambda model, data: torch.cuda.is_available(),
    "asks the first parameter": lambda model, data: next(model.parameters()).device.type != "cpu",
    "asks the data": lambda model, data: data.device.type != "cpu",
    "says yes": lambda model, data: True,
}


def test_the_reference_answers_pass():
    assert ex01.q1.check(right).state == "passed"
    assert (
        ex01.q2.check(dict(zip("abcde", ["cpu", "cuda", "cuda", "cuda", "cpu"], strict=True))).state
        == "passed"
    )
    assert ex01.q3.check(lambda model, data: model(data).device.type != "cpu").state == "passed"


@pytest.fixture(autouse=True)
def private_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("DEVICELAB_HOME", str(tmp_path))


@pytest.mark.parametrize("answer", WRONG_DEVICES.values(), ids=WRONG_DEVICES.keys())
def test_wrong_answers_to_question_1_do_not_pass(answer):
    assert ex01.q1.check(answer).state == "not yet"


@pytest.mark.parametrize("answer", WRONG_RAN.values(), ids=WRONG_RAN.keys())
def test_wrong_answers_to_question_3_do_not_pass(answer):
    assert ex01.q3.check(answer).state == "not yet"


@pytest.mark.parametrize("name", "abcde")
def test_one_wrong_place_is_named_without_giving_it_away(name):
    places = dict(zip("abcde", ["cpu", "cuda", "cuda", "cuda", "cpu"], strict=True))
    places[name] = "cpu" if places[name] == "cuda" else "cuda"
    outcome = ex01.q2.check(places)
    assert outcome.state == "not yet" and f"Look at {name} again" in outcome.text


def test_stubs_count_as_not_attempted():
    assert ex01.q1.check(lambda module: ...).state == "not attempted"
    assert ex01.q2.check(dict.fromkeys("abcde", ...)).state == "not attempted"
    assert ex01.q3.check(lambda model, data: ...).state == "not attempted"


def test_the_truth_of_question_2_is_what_torch_does():
    from devicelab import simulate_gpu

    with simulate_gpu("Tesla T4"):
        a, b, c = torch.ones(2), torch.ones(2, device="cuda"), torch.ones(2).to("cuda")
        d, e = torch.ones_like(c), torch.ones(2)
        e.to("cuda")
        seen = {name: tensor.device.type for name, tensor in zip("abcde", (a, b, c, d, e), strict=True)}
    assert seen == ex01._TRUTH
