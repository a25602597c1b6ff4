"""Exercise 09: what its checks say to answers that its solution notebook does not show, and what the judges rest on."""

import gc
import os

import pytest
import torch
from telling import told
from torch import nn

from devicelab import simulate_gpu
from devicelab.course.exercises import ex09
from devicelab.course.exercises.refusals import counts, late
from devicelab.course.looking.played import a_card_to_lose
from devicelab.course.looking.room import calls_of, new_alone, room
from devicelab.simgpu import session
from tools.notebooks.nbfiles import SOLUTIONS, read

MODELS = [pytest.param(build, words, id=words) for build, words, _ in counts._MODELS]


pytestmark = pytest.mark.usefixtures("card")


# --- bytes ----------------------------------------------------------------------------------------------------------


def test_the_card_counts_what_the_task_lets_count_by_hand():
    weights = 4 * (250 * 4000 + 4000 + 4000 + 1)
    by_hand = {
        "weights": weights,
        "gradients": weights,
        "adam": 2 * weights,
        "sgd": 0,
        "kept": 4 * 1500 * 4000,
    }
    assert counts._held() == pytest.approx(by_hand, rel=1e-3)


@pytest.mark.parametrize("name", ["weights", "gradients", "adam", "sgd", "kept"])
def test_each_number_has_a_question_of_its_own(name):
    right = counts._held()
    text = told(ex09.q1, right | {name: 1.5 * right[name] + 1000})
    assert f"For {name} you have" in text and counts._HELD_WHY[name] in text


@pytest.mark.parametrize(
    ("factor", "words"), [(8, "bits"), (1e-6, "in millions"), (2**-20, "in MiB"), (1 / 4, "the count")]
)
def test_right_digits_in_another_unit_are_told_so(factor, words):
    right = counts._held()
    assert words in told(ex09.q1, right | {"kept": factor * right["kept"]})


def test_no_slip_is_near_the_right_number():
    assert all(abs(factor - 1) > 10 * counts._NEAR for factor, _ in counts._SLIPS)


def test_true_is_no_number_of_bytes():
    assert "a number of bytes was asked for" in told(ex09.q1, counts._held() | {"weights": True})


def needs(build):
    """Return what a model takes, as the task asks for it."""
    with torch.device("meta"):
        model = build()
    of_weights = sum((4 if p.requires_grad else 1) * p.nbytes for p in model.parameters())
    return of_weights + sum(b.nbytes for b in model.buffers())


@pytest.mark.parametrize(("build", "words"), MODELS)
def test_the_estimate_is_the_cards_count(build, words):
    assert needs(build) == pytest.approx(counts._counted(build), rel=counts._FITS / 5)


@pytest.mark.parametrize(("build", "words"), MODELS)
def test_a_mistake_in_one_model_alone_is_told_with_that_model(build, words):
    chosen = build

    def wrong(build):
        return needs(build) * (1.5 if build is chosen else 1)

    assert f"For a model {words} you say" in told(ex09.q4, wrong)


def test_an_estimate_is_a_number_that_was_computed_without_the_card():
    assert "as a Python number" in told(ex09.q4, lambda build: torch.tensor(needs(build)))

    def on_the_card(build):
        build().to("cuda")
        return needs(build)

    assert "to know it you took" in told(ex09.q4, on_the_card)


def test_an_error_of_the_learners_own_is_shown_as_theirs():
    def stops(build):
        raise RuntimeError("my own") if build is counts._huge else ValueError

    assert "ValueError" in told(ex09.q4, stops)

    def stops_at_the_end(build):
        if build is counts._huge:
            raise RuntimeError("my own")
        return needs(build)

    assert "my own" in told(ex09.q4, stops_at_the_end)


# --- what is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("frozen", "done"), [(0, ["freeze", "inside", "unfreeze"]), (7, ["inside"])])
def test_what_was_there_is_not_looked_through_unless_somebody_else_saw_to_it(monkeypatch, frozen, done):
    seen = []
    monkeypatch.setattr(gc, "get_freeze_count", lambda: frozen)
    for name in ("freeze", "unfreeze"):
        monkeypatch.setattr(gc, name, lambda name=name: seen.append(name))
    with pytest.raises(ValueError), new_alone():
        seen.append("inside")
        raise ValueError
    assert seen == done


def test_room_counts_the_fullest_moment_and_what_is_left():
    with room() as found:
        kept = torch.zeros(1000, 1000, device="cuda")
        del kept
        left = torch.zeros(500, 1000, device="cuda")
    assert (found.fullest, found.left) == (4_000_256, 2_000_384)
    assert left.is_cuda


def test_calls_are_noted_with_the_bytes_before_them():
    model, kept = nn.Linear(10, 1000).to("cuda"), []
    calls = calls_of(model)
    for _ in range(3):
        kept.append(model(torch.zeros(1000, 10, device="cuda")))
    assert [call.device for call in calls] == ["cuda:0"] * 3
    assert calls[2].held - calls[1].held >= 4_000_000


def test_an_evaluation_that_never_asks_the_model():
    assert "The model was not called" in told(ex09.q2, lambda model, batches, device: 0.5)


def test_an_evaluation_that_keeps_its_outputs_only_is_let_go():
    """A hundred numbers a batch are no graph."""

    @torch.no_grad()
    def evaluate(model, batches, device):
        outputs = [model(x.to(device)) for x, _ in batches]
        targets = [y.to(device) for _, y in batches]
        losses = [(output - y).square().mean() for output, y in zip(outputs, targets, strict=True)]
        return float(sum(losses) / len(losses))

    assert ex09.q2.check(evaluate).state == "passed"


def stepped(parts, factor=1.0, returns=float):
    """Return a step that takes a batch in so many parts, with a gradient that is wrong by a factor."""

    def step(model, optimizer, x, y, device):
        optimizer.zero_grad()
        total = 0.0
        for rows, target in zip(x.chunk(parts), y.chunk(parts), strict=True):
            loss = (model(rows.to(device)) - target.to(device)).square().sum() / y.numel()
            (factor * loss).backward()
            total += loss.item()
        optimizer.step()
        return returns(total)

    return step


@pytest.mark.parametrize("parts", [3, 7, 50])
def test_in_how_many_parts_does_not_matter(parts):
    assert ex09.q3.check(stepped(parts)).state == "passed"


def test_other_steps():
    assert "it is 0.5 times as long" in told(ex09.q3, stepped(7, factor=0.5))
    assert "half of that was asked for" in told(ex09.q3, stepped(1))
    assert "a Python number was asked for" in told(ex09.q3, stepped(7, returns=torch.tensor))
    assert "ran not at all" in told(ex09.q3, lambda model, optimizer, x, y, device: 1.0)


def test_a_step_on_the_cpu_is_none_on_the_card():
    def step(model, optimizer, x, y, device):
        loss = stepped(7)(model.cpu(), optimizer, x, y, "cpu")
        model.to(device)
        return loss

    assert "ran on cpu, not on cuda" in told(ex09.q3, step)


def test_half_precision_is_not_the_same_gradient():
    def step(model, optimizer, x, y, device):
        with torch.autocast(device, torch.bfloat16):
            return stepped(7)(model, optimizer, x, y, device)

    assert "is not that of the whole batch" in told(ex09.q3, step)


# --- errors that come late --------------------------------------------------------------------------------------------


def test_the_program_of_the_task_is_the_one_that_is_run():
    task = next(
        cell.source
        for cell in read(SOLUTIONS / "09_when_the_gpu_says_no.ipynb").cells
        if cell.id == "q5-task"
    )
    assert late._PROGRAM in task and "[[4, 1000]]" in task and late._WRONG == [[4, 1000]]


def test_the_lines_that_are_blamed():
    assert late._blamed() == {"cuda": "e", "blocking": "b", "cpu": "b", "afterwards": "a"}


@pytest.mark.parametrize("name", ["cuda", "blocking", "cpu", "afterwards"])
def test_a_wrong_line_is_told_with_the_key_it_was_written_for(name):
    right = {"cuda": "e", "blocking": "b", "cpu": "b", "afterwards": "a"}
    text = told(ex09.q5, right | {name: "c"})
    assert text.startswith(f"For {name} you wrote 'c'.") and text.endswith(late._BLAMED_WHY[name])


def test_of_a_line_that_a_real_card_may_blame_that_is_said():
    right = {"cuda": "e", "blocking": "b", "cpu": "b", "afterwards": "a"}
    assert late._BY_THEN in told(ex09.q5, right | {"cuda": "d"})
    assert late._BY_THEN not in told(ex09.q5, right | {"cuda": "f"})
    assert late._BY_THEN not in told(ex09.q5, right | {"blocking": "d"})


def test_a_variable_of_the_learners_decides_nothing(monkeypatch):
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    assert late._blamed()["cuda"] == "e"
    assert os.environ["CUDA_LAUNCH_BLOCKING"] == "1"


def test_a_card_is_lost_without_a_word_and_the_present_one_stays(capsys):
    here = session.current()
    with a_card_to_lose():
        assert session.current() is not here
        with pytest.raises(RuntimeError, match="device-side assert"):
            nn.functional.cross_entropy(
                torch.zeros(1, 3, device="cuda"), torch.tensor([3], device="cuda")
            ).item()
    assert session.current() is here and torch.ones(1, device="cuda").item() == 1
    with simulate_gpu("Tesla T4"):
        pass
    assert capsys.readouterr().err == ""


def test_losses_of_other_kinds():
    def right(model, rows, labels, device):
        return nn.functional.cross_entropy(model(rows.to(device)), labels.to(device) - 1, ignore_index=-1)

    assert "no weight" in told(ex09.q6, lambda *given: right(*given).detach())
    assert "should have shape" in told(ex09.q6, lambda *given: right(*given)[None])
    assert "is on cpu" in told(ex09.q6, lambda *given: right(*given).cpu())
    assert "a tensor was asked for" in told(ex09.q6, lambda *given: None)


def test_other_errors_of_a_loss_are_the_learners_own():
    def stops(model, rows, labels, device):
        return model(rows)

    assert "error of its own" in told(ex09.q6, stops)


def test_labels_come_with_some_with_many_and_with_no_unknown_rows():
    assert [int((labels == 0).sum()) for _, labels in late._labelled()] == [3, 0, 7]
