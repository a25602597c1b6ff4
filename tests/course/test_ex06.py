"""Exercise 06: what its checks say to answers that its solution notebook does not show."""

import gc
import multiprocessing

import pytest
import torch
from telling import told
from torch.utils.data import DataLoader, Dataset

from devicelab.course.exercises import ex06
from devicelab.course.looking import workers
from devicelab.course.question import NotYet

TRUE = {name: name in "adeh" for name in "abcdefgh"}


pytestmark = pytest.mark.usefixtures("card")


def test_what_waits_is_what_the_card_does():
    assert ex06._what_waits() == TRUE


@pytest.mark.parametrize("name", TRUE)
def test_each_line_has_a_question_of_its_own(name):
    text = told(ex06.q1, TRUE | {name: not TRUE[name]})
    assert text.startswith(f"Line {name} was run, and the CPU ") and ex06._WAITS_WHY[name] in text


def test_a_prediction_of_another_form():
    assert "the 8 keys" in told(ex06.q1, {"a": True})
    assert "'yes'; True or False" in told(ex06.q1, TRUE | {"a": "yes"})
    assert ex06.q1.check(dict.fromkeys(TRUE, ...)).state == "not attempted"


def epoch(reads):
    """Return the epoch of question 2 with one more line in each step, and another way to return its numbers."""

    def train_epoch(model, optimizer, batches, device):
        total = spikes = torch.zeros((), device=device)
        for batch, target in batches:
            batch, target = batch.to(device), target.to(device)
            optimizer.zero_grad()
            errors = (model(batch) - target).square().mean(1)
            hard = errors > errors.mean()
            loss = (errors * hard).sum() / hard.sum()
            loss.backward()
            optimizer.step()
            total, spikes = total + loss.detach(), spikes + (loss > 1.0)
            reads(loss)
        return total.item() / len(batches)

    return train_epoch


def test_a_copy_that_waits_counts_as_a_wait():
    assert "the CPU waited for the GPU 19 times" in told(ex06.q2, epoch(lambda loss: None))


@pytest.mark.parametrize("read", [print, bool, lambda loss: loss.tolist(), lambda loss: f"{loss:.2f}"])
def test_every_way_to_read_a_loss_is_seen(read, capsys):
    waits = int(told(ex06.q2, epoch(read)).partition("GPU ")[2].partition(" times")[0])
    assert waits >= 27


def test_one_number_in_place_of_two(monkeypatch):
    monkeypatch.setattr(ex06, "_AN_EPOCH", 100)
    assert "should return two numbers, but it returned" in told(ex06.q2, epoch(lambda loss: None))


def test_outputs_that_nobody_waited_for():
    def predict(model, batches, device):
        place = torch.empty(2000 * len(batches), 4, pin_memory=True)
        for number, batch in enumerate(batches):
            place[2000 * number : 2000 * number + 2000].copy_(
                model(batch.to(device, non_blocking=True)), non_blocking=True
            )
        return place

    assert "whoever called predict read what may not have arrived" in told(ex06.q3, predict)


def test_outputs_that_were_waited_for_too_early():
    def predict(model, batches, device):
        outputs = [model(batch.to(device, non_blocking=True)) for batch in batches]
        torch.cuda.synchronize()
        return torch.cat([output.to("cpu", non_blocking=True) for output in outputs])

    assert "cat read what may not have arrived" in told(ex06.q3, predict)


def test_a_model_that_was_called_elsewhere_or_not_at_all():
    def on_the_cpu(model, batches, device):
        return torch.cat([model.cpu()(batch) for batch in batches])

    assert "called with batches on cpu" in told(ex06.q3, on_the_cpu)
    assert "on nothing at all" in told(ex06.q3, lambda model, batches, device: torch.zeros(100, 4))


class Listed(Dataset):
    """A dataset whose rows were sent to the GPU one by one, so that no operator runs when one is asked for."""

    def __init__(self, data):
        self.rows = [(row.to("cuda"), row[:2].sum()) for row in data - data.mean(0)]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, row):
        return self.rows[row]


class Right(Listed):
    """Question 4's dataset as it should be."""

    def __init__(self, data):
        self.rows = [(row, row[:2].sum()) for row in data - data.mean(0)]


def batches(dataset, device, workers):
    for readings, sums in DataLoader(dataset, batch_size=10, num_workers=workers):
        yield readings.to(device), sums.to(device)


def test_rows_on_the_gpu_are_found_in_what_is_handed_over():
    assert "What __getitem__ hands over" in told(ex06.q4, Listed, batches)


def test_what_is_no_dataset():
    assert "should be a Dataset, but it is 3." in told(ex06.q4, lambda data: 3, batches)


def test_batches_left_out():
    text = told(ex06.q4, Right, lambda dataset, device, workers: list(batches(dataset, device, workers))[:-1])
    assert "The tensor of all readings should have shape" in text
    assert "a tensor was asked for" in told(ex06.q4, Right, lambda dataset, device, workers: [])


def test_the_loop_of_the_stub_is_not_attempted():
    assert ex06.q4.check(Right, lambda dataset, device, workers: ...).state == "not attempted"


FORKS = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="workers are no copies here"
)


@FORKS
def test_workers_that_were_never_started():
    text = told(ex06.q4, Right, lambda dataset, device, workers: batches(dataset, device, 0))
    assert "With workers=1 the process that trains read 40 items itself" in text


@FORKS
def test_a_list_in_place_of_a_generator_passes():
    answer = Right, lambda dataset, device, workers: list(batches(dataset, device, workers))
    assert ex06.q4.check(*answer).state == "passed"


@FORKS
def test_a_worker_that_fails_leaves_no_loader_behind():
    def failing():
        loader = iter(DataLoader(Right(torch.randn(4, 6)), num_workers=1, collate_fn=lambda rows: 1 / 0))
        return [next(loader)]

    with pytest.raises(NotYet, match="With workers=1 the loop stopped: ZeroDivisionError: division by zero"):
        workers.through_a_worker(failing)
    left = [one for one in gc.get_objects() if type(one).__name__ == "_MultiProcessingDataLoaderIter"]
    assert left == []


def test_where_workers_start_afresh_none_is_tried(monkeypatch):
    monkeypatch.setattr(workers.multiprocessing, "get_start_method", lambda allow_none: "spawn")
    monkeypatch.setattr(ex06, "through_a_worker", lambda work: pytest.fail("a worker was started"))
    assert ex06.q4.check(Right, batches).state == "passed"
