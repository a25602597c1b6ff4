"""The capstone: each of the eight faults, put back alone into the mended script, is caught by its own question."""

import os
import sys

import pytest
import torch

from devicelab import simulate_gpu
from devicelab.course.exercises.ex10 import q1, q2, q3, q4
from devicelab.course.exercises.rescue import copy_script, running
from devicelab.course.exercises.rescue.faults import BROKEN, FAULTS, SHOWS, edited, rescued
from devicelab.errors import InputError

QUESTIONS = (q1, q2, q3)
ITEM = ("(errors < 0.5).sum()", "(errors < 0.5).sum().item()")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Keep progress out of this person's own folder; there is no GPU, so that each check simulates its own."""
    monkeypatch.setenv("DEVICELAB_HOME", str(tmp_path / "home"))


@pytest.fixture
def script(tmp_path):
    """Return a function that stores a text as train.py and returns its path."""

    def store(text: str):
        path = tmp_path / "train.py"
        path.write_text(text, encoding="utf-8")
        return path

    return store


def said(outcome) -> str:
    return f"{outcome.state}: {outcome.text}"


def changed(*edits: tuple[str, str]) -> str:
    """Return the mended script with further edits."""
    text = rescued()
    for old, new in edits:
        text = edited(text, old, new)
    return text


def test_the_outcomes_are_the_same_in_a_kernel_with_a_simulated_gpu(script):
    with simulate_gpu("Tesla T4"):
        for question in QUESTIONS:
            assert said(question.check(script(rescued()))).startswith("passed")
        for fault in FAULTS:
            assert QUESTIONS[fault.question - 1].check(script(rescued(fault))).state == "not yet"


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.key)
def test_the_script_as_given_was_not_attempted_and_the_mended_one_passes(question, script):
    assert question.check(script(BROKEN.read_text("utf-8"))).state == "not attempted"
    assert said(question.check(script(rescued()))).startswith("passed")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_alone_is_caught_by_its_question(fault, script):
    outcome = QUESTIONS[fault.question - 1].check(script(rescued(fault)))
    assert outcome.state == "not yet" and "train.py:" in outcome.text, said(outcome)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_no_later_question_is_failed_by_an_earlier_ones_mend(fault, script):
    """Up to the question that a fault belongs to, all questions before it pass."""
    for question in QUESTIONS[: fault.question - 1]:
        assert said(question.check(script(rescued(fault)))).startswith("passed")


def test_there_are_eight_faults_of_which_two_are_silent():
    assert len(FAULTS) == 8 and {fault.shows for fault in FAULTS} == set(SHOWS)
    assert [fault.shows for fault in FAULTS].count("only slow") == 2


@pytest.mark.parametrize(("number", "question"), list(enumerate(QUESTIONS, start=1)))
def test_the_reference_answers_mend_just_these_faults(number, question):
    edits = []
    exec(question.answer, {"path": None, "edit": lambda path, *texts: edits.append(texts)})
    assert edits == [(fault.broken, fault.mended) for fault in FAULTS if fault.question == number]


def test_the_report_is_judged_by_runs():
    truth = {fault.name: fault.shows for fault in FAULTS}
    assert q4.check(truth).state == "passed"
    assert q4.check(dict.fromkeys(truth, ...)).state == "not attempted"
    for number, fault in enumerate(FAULTS):
        others = [word for word in SHOWS if word != fault.shows]
        outcome = q4.check(truth | {fault.name: others[number % len(others)]})
        assert said(outcome).startswith(f"not yet: {fault.name!r} was put back")
    assert "one of stops training" in q4.check(truth | {FAULTS[0].name: "raises"}).text
    assert "a dict with the 8 keys" in q4.check({}).text


@pytest.mark.parametrize(
    ("question", "edits", "words"),
    [
        (q1, [("def main():", "def main(:")], "SyntaxError"),
        (q1, [('"history": history', '"epochs": history')], "left no checkpoint with"),
        (
            q1,
            [("history.append(", "history = [0] and ["), ('error": error})', 'error": error}]')],
            "1 epoch; 2 were",
        ),
        (q1, [('"error": error}', '"error": str(error)}')], "a number belongs there"),
        (
            q1,
            [("for epoch in range(len(history), asked.epochs)", "for epoch in range(99)")],
            "stopped after 65 optimizer steps",
        ),
        (q1, [("        scaler.step(optimizer)\n        scaler.update()\n", "")], "did not run at all"),
        (q1, [("    main()\n", "    raise SystemExit('no')\n")], "SystemExit: no"),
        (q3, [ITEM], "The CPU waited for the GPU"),
    ],
)
def test_what_goes_wrong_is_said(question, edits, words, script):
    outcome = question.check(script(changed(*edits)))
    assert outcome.state == "not yet" and words in outcome.text, said(outcome)


def test_a_loop_without_an_end_is_stopped(script, monkeypatch):
    monkeypatch.setattr(running, "LONGEST", 1.0)
    outcome = q1.check(script(changed(("    asked = options()\n", "    while True:\n        pass\n"))))
    assert outcome.state == "not yet" and "stopped after 1 seconds" in outcome.text


def test_an_interrupt_is_the_learners_own(script):
    with pytest.raises(KeyboardInterrupt, match="You stopped the check"):
        q1.check(script(changed(("    asked = options()\n", "    raise KeyboardInterrupt\n"))))


@pytest.mark.parametrize("value", ["nowhere/train.py", 7])
def test_a_path_that_leads_nowhere_is_told(value):
    assert "as copy_script() returns it" in q1.check(value).text


def test_a_check_leaves_the_kernel_as_it_was(script):
    before = sys.modules["__main__"], list(sys.argv), os.getcwd(), torch.get_rng_state()
    q2.check(script(rescued()))
    assert (sys.modules["__main__"], sys.argv, os.getcwd()) == before[:3]
    assert torch.equal(torch.get_rng_state(), before[3])


def test_a_script_that_replaces_torchs_answer_is_told(script):
    trick = (
        "    asked = options()\n",
        "    asked = options()\n    torch.cuda.is_available = lambda: False\n",
    )
    outcome = q1.check(script(changed(trick)))
    assert outcome.state == "not yet" and "torch.cuda.is_available" in outcome.text


def test_the_copy_is_never_overwritten(tmp_path, capsys):
    path = copy_script(tmp_path)
    path.write_text("mine", encoding="utf-8")
    assert copy_script(tmp_path) == path and path.read_text("utf-8") == "mine"
    assert "was left as it is" in capsys.readouterr().out


def test_the_learners_copy_goes_to_their_own_course(tmp_path, monkeypatch):
    monkeypatch.delenv("DEVICELAB_HOME")
    (tmp_path / "course.py").touch()
    (tmp_path / "exercises").mkdir()
    monkeypatch.chdir(tmp_path / "exercises")
    assert copy_script() == tmp_path / "my_course" / "exercises" / "train.py"
    elsewhere = tmp_path.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    monkeypatch.chdir(elsewhere)
    assert copy_script().parent == elsewhere


def test_a_damaged_checkpoint_is_none(tmp_path):
    for content in (b"", b"no checkpoint"):
        (tmp_path / "sums.pt").write_bytes(content)
        assert running._opened(tmp_path / "sums.pt") is None
    assert running._opened(tmp_path / "missing.pt") is None


def test_an_edit_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="stands 0 times"):
        edited(rescued(), "no such line", "")
    with pytest.raises(InputError, match="there is no file"):
        running.text_of(tmp_path)
