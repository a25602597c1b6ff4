import random
import re

import numpy as np
import pytest
import torch

from devicelab import simulate_gpu
from devicelab.course.looking import watch
from devicelab.course.question import NotYet, Outcome, Question, answers, exercise


@pytest.fixture
def no_gpu():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")


@pytest.fixture(autouse=True)
def a_gpu(request, tmp_path, monkeypatch):
    monkeypatch.setenv("DEVICELAB_HOME", str(tmp_path))
    if torch.cuda.is_available() or "no_gpu" in request.fixturenames:
        yield
        return
    with simulate_gpu("Tesla T4"):
        yield


def question() -> Question:
    def judge(answer):
        if callable(answer):
            answer = answer()
        if answer != 4:
            raise NotYet(f"{answer} is not 4.")

    return Question(judge, "Start here.", "Right.", ("Which?", "Name it."), "four = 4")


def test_the_three_outcomes():
    q = question()
    assert q.check(...).state == "not attempted" and str(q.check(...)) == "Not attempted. Start here."
    assert str(q.check(3)) == "Not yet. 3 is not 4."
    assert str(q.check(4)) == "Passed. Right."


def test_a_check_without_an_answer_was_not_attempted():
    assert question().check().state == "not attempted"


def test_hints_go_step_by_step_and_stay_at_the_last():
    q = question()
    assert [q.hint().text for _ in range(3)] == ["(1 of 2) Which?", "(2 of 2) Name it.", "(2 of 2) Name it."]


def test_the_solution_waits_for_a_second_request():
    q = question()
    assert "four = 4" not in q.solution().text
    assert "four = 4" in q.solution().text


def test_the_solution_is_shown_after_three_tries_or_a_pass():
    tried, passed = question(), question()
    for _ in range(3):
        tried.check(1)
    passed.check(4)
    assert "four = 4" in tried.solution().text and "four = 4" in passed.solution().text


def test_untouched_checks_do_not_count_as_tries():
    q = question()
    for _ in range(5):
        q.check(...)
    assert q.tries == 0


def test_the_learners_own_error_is_shown_as_theirs():
    def broken():
        return 1 / 0

    outcome = question().check(broken)
    assert outcome.state == "not yet"
    assert "return 1 / 0" in outcome.text and "ZeroDivisionError: division by zero" in outcome.text


def test_an_own_error_is_shown_with_the_arguments_that_the_check_used():
    def judge(train):
        watch(train, torch.ones(2), "cpu")

    def train(x, device):
        return 1 / 0

    text = Question(judge, "Start.", "Right.", ("Which?",), "train").check(train).text
    assert text.endswith("division by zero\nThe check called train(a tensor of shape [2] on cpu, 'cpu').")


def test_a_check_changes_nothing_of_the_learners():
    def meddler():
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        torch.set_grad_enabled(False)
        torch.set_default_device("meta")
        torch.set_default_dtype(torch.float64)
        return 4

    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert question().check(meddler).state == "passed"
    assert torch.equal(before[0], torch.get_rng_state())
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]
    assert (
        torch.is_grad_enabled()
        and torch.ones(1).device.type == "cpu"
        and torch.ones(1).dtype == torch.float32
    )


def test_an_outcome_is_escaped_in_html():
    page = question().check("<script>")._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_code_keeps_its_lines_and_a_note_stands_below_it():
    page = Outcome(
        "solution", "One way, with `.to()`:\ndef f(x):\n    return x < `1`", ("(A note on `f`.)",)
    )._repr_html_()
    sentence, code, note = re.fullmatch("<p>(.*)</p>(<pre.*</pre>)<p>(.*)</p>", page, re.DOTALL).groups()
    assert sentence.endswith("One way, with <code>.to()</code>:") and note == "(A note on <code>f</code>.)"
    assert code.endswith(">def f(x):\n    return x &lt; `1`</pre>") and "style=" in code


def test_an_outcome_of_one_line_has_no_empty_block():
    assert "<pre" not in Outcome("passed", "Well seen.")._repr_html_()


def test_an_interrupt_stays_one_and_says_where():
    def endless():
        raise KeyboardInterrupt

    q = question()
    with pytest.raises(KeyboardInterrupt, match="no try was counted") as stopped:
        q.check(endless)
    assert "in endless" in str(stopped.value) and stopped.value._render_traceback_() == [str(stopped.value)]
    assert q.tries == 0


def test_leaving_python_is_an_error_of_the_learners_code():
    outcome = question().check(lambda: exit())
    assert outcome.state == "not yet" and "SystemExit" in outcome.text


def test_a_device_error_is_explained_without_its_fix():
    def mixed():
        model = torch.nn.Linear(2, 1).to("cuda")
        return model(torch.ones(1, 2))

    text = question().check(mixed).text
    assert "Expected all tensors to be on the same device" in text
    assert "In other words:" in text and "fix:" not in text


def test_without_a_gpu_one_is_simulated_for_the_check_alone(no_gpu):
    def device():
        return 4 if torch.ones(1, device="cuda").is_cuda else 5

    outcome = question().check(device)
    assert outcome.state == "passed" and outcome.notes == (
        "(Checked on a Tesla T4 that was simulated for this check alone.)",
    )
    assert not torch.cuda.is_available()


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ("texts", "Question 99.q1 has no answer yet.*tools.notebooks.exercises"),
        ("words", "Question 99.q1 has no words yet"),
    ],
)
def test_a_question_that_is_being_added_says_what_it_lacks(monkeypatch, lacking, words):
    texts, said = {"99.q1": {"answer": "x = 1", "given": "..."}}, {"99.q1": {"praise": "Right."}}
    monkeypatch.setattr(answers, "texts", lambda: {} if lacking == "texts" else texts)
    monkeypatch.setattr(answers, "words", lambda: {} if lacking == "words" else said)
    with pytest.raises(LookupError, match=words):
        exercise(99, lambda answer: None)
