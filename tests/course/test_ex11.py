"""Exercise 11: what its checks say to answers that its solution notebook does not show, and what the judges rest on."""

import os

import pytest
import torch
from telling import told
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler

from devicelab.course.exercises import ex11
from devicelab.course.exercises.several import sharing
from devicelab.course.looking.played import two_cards
from devicelab.simgpu import session
from tools.notebooks.nbfiles import SOLUTIONS, read

pytestmark = pytest.mark.usefixtures("card")


# --- who fails --------------------------------------------------------------------------------------------------------


def test_the_program_of_the_task_is_the_one_that_is_run():
    cells = read(SOLUTIONS / "11_beyond_one_device.ipynb").cells
    task = next(cell.source for cell in cells if cell.id == "q1-task")
    assert sharing._PROGRAM in task
    for name, line in sharing._LINES.items():
        assert f"{line:52}# {name}\n" in task
    assert set(sharing._WHO_WHY) == set(sharing._LINES)


def test_the_lines_fail_where_the_reference_says():
    assert sharing._who() == {"a": "nobody", "b": "rank 1", "c": "both", "d": "both", "e": "nobody"}


def test_cards_that_are_hidden_here_are_there_for_the_ranks(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("DEVICELAB_GPU", "off")
    assert sharing._who.__wrapped__()["a"] == "nobody"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_ranks_that_cannot_be_run_are_no_fault_of_the_learners(monkeypatch):
    monkeypatch.setattr(sharing, "_PROGRAM", "raise SystemExit(3)")
    with pytest.raises(RuntimeError, match="could not run its two ranks"):
        sharing._who.__wrapped__()


# --- rows -------------------------------------------------------------------------------------------------------------


def shared(dataset, rank, ranks, epoch):
    sampler = DistributedSampler(dataset, num_replicas=ranks, rank=rank)
    sampler.set_epoch(epoch)
    return DataLoader(dataset, batch_size=3, sampler=sampler)


def test_batches_of_other_kinds():
    assert "a function was asked for" in told(ex11.q2, 7).lower()
    assert "Batches (x, y) to go through" in told(ex11.q2, lambda *given: 7)
    assert "Batches (x, y) to go through" in told(ex11.q2, lambda *given: [1, 2])


def test_labels_that_stay_behind_or_belong_to_others():
    def no_labels(dataset, rank, ranks, epoch, device):
        return [(x.to(device), y) for x, y in shared(dataset, rank, ranks, epoch)]

    assert "y is on cpu" in told(ex11.q2, no_labels)

    def others(dataset, rank, ranks, epoch, device):
        return [(x.to(device), y.flip(0).to(device)) for x, y in shared(dataset, rank, ranks, epoch)]

    assert "not of the same rows" in told(ex11.q2, others)


def test_rows_that_are_left_out_and_batches_that_are_too_large():
    def short(dataset, rank, ranks, epoch, device):
        sampler = DistributedSampler(dataset, ranks, rank, drop_last=True, seed=epoch)
        return [(x.to(device), y.to(device)) for x, y in DataLoader(dataset, 3, sampler=sampler)]

    assert "26 rows, 4 ranks: 2 rows are met by no rank" in told(ex11.q2, short)

    def large(dataset, rank, ranks, epoch, device):
        sampler = DistributedSampler(dataset, ranks, rank, seed=epoch)
        return [(x.to(device), y.to(device)) for x, y in DataLoader(dataset, 4, sampler=sampler)]

    assert "A batch has 4 rows" in told(ex11.q2, large)


def test_batches_without_end_are_cut_off():
    def endless(dataset, rank, ranks, epoch, device):
        while True:
            yield from ((x.to(device), y.to(device)) for x, y in shared(dataset, rank, ranks, epoch))

    assert "went through" in told(ex11.q2, endless)


# --- checkpoints ------------------------------------------------------------------------------------------------------


def resume(build, path, device):
    model = build().to(device)
    optimizer = torch.optim.Adam(model.parameters())
    saved = torch.load(path, map_location=device)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    return model, optimizer, saved["epoch"]


def test_a_model_that_is_not_loaded_or_moved_away():
    def only_optimizer(build, path, device):
        _, optimizer, epoch = resume(build, path, device)
        return build().to(device), optimizer, epoch

    assert "the weights" in told(ex11.q3, only_optimizer)

    def away(build, path, device):
        model, optimizer, epoch = resume(build, path, device)
        return model.cpu(), optimizer, epoch

    assert "is on cpu; cuda:1 was asked for" in told(ex11.q3, away)


@pytest.mark.parametrize("epoch", [None, True, 8])
def test_the_epoch_is_the_files(epoch):
    assert "the epoch in the file is 7" in told(ex11.q3, lambda *given: (*resume(*given)[:2], epoch))


def test_what_a_resume_returns():
    assert "model, optimizer and epoch" in told(ex11.q3, lambda *given: resume(*given)[0])


def test_the_current_card_on_the_way_counts_too():
    def current(build, path, device):
        model, optimizer, _ = resume(build, path, device)
        saved = torch.load(path, map_location=device.type)
        return model, optimizer, saved["epoch"]

    assert "of cuda:0 were taken" in told(ex11.q3, current)


def test_moments_that_stay_on_the_cpu():
    def assigned(build, path, device):
        model, optimizer, epoch = resume(build, path, device)
        for state in optimizer.state.values():
            state["exp_avg"] = state["exp_avg"].cpu()
        return model, optimizer, epoch

    assert "moments are on cpu" in told(ex11.q3, assigned)


# --- halves -----------------------------------------------------------------------------------------------------------


def test_a_split_that_is_none():
    assert "A module was asked for" in told(ex11.q4, lambda first, second, one, other: 7)

    class Silent(nn.Sequential):
        def forward(self, x):
            return None

    def silent(first, second, one, other):
        return Silent(first.to(one), second.to(other))

    assert "a tensor was asked for" in told(ex11.q4, silent)


def test_an_answer_that_lies_elsewhere_or_has_no_gradient():
    class Back(nn.Module):
        def __init__(self, first, second, one, other, end):
            super().__init__()
            self.first, self.second = first.to(one), second.to(other)
            self.one, self.other, self.end = one, other, end

        def forward(self, x):
            return self.end(self.second(self.first(x.to(self.one)).to(self.other)))

    assert "the answer is on cpu" in told(ex11.q4, lambda *given: Back(*given, end=lambda y: y.cpu()))
    assert "no gradient leads back" in told(ex11.q4, lambda *given: Back(*given, end=lambda y: y.detach()))
    twice = Back.forward

    class Again(Back):
        def forward(self, x):
            self.second(self.first(x.to(self.one)).to(self.other))
            return twice(self, x)

    assert "in 2 copies" in told(ex11.q4, lambda *given: Again(*given, end=lambda y: y))


def test_halves_that_lie_the_other_way_round():
    def swapped(first, second, one, other):
        return nn.Sequential(first.to(other), second.to(one))

    assert "a weight of the first half is on cuda:1; cuda:0 was asked for" in told(ex11.q4, swapped)


def test_the_present_card_stays():
    here = session.current()
    with two_cards():
        assert torch.cuda.device_count() == 2
    assert session.current() is here
