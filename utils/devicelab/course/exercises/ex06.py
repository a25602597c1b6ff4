"""The checks of exercise 06: what does moving data cost?"""

import copy
import gc
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn, optim
from torch.utils.data import Dataset

from devicelab.course.looking import Seen, Tally, is_on, same_values, short, tally, watch
from devicelab.course.looking.predict import prediction
from devicelab.course.looking.workers import are_forked, count_reads, through_a_worker
from devicelab.course.question import NotAttempted, NotYet, exercise
from devicelab.trace import trace

# --- 1: what makes the CPU wait -------------------------------------------------------------------------------------

_WAITS_WHY = {
    "a": "x lies in ordinary memory. When may the next line write to it?",
    "b": "both conditions of lesson 06 hold for this copy. Which were they?",
    "c": "where is the sum, and who has asked for its value?",
    "d": "a Python number is asked for. Who knows it, and when?",
    "e": "how long is e, and when does the CPU know?",
    "f": "how long is f? Does that depend on a value?",
    "g": "is a shape a value that the GPU has to compute first?",
    "h": "the CPU has to choose a word. What does it need for that?",
}


def _lines_of_the_question() -> dict[str, Callable[[], object]]:
    x, pinned, gpu = torch.randn(1000), torch.randn(1000).pin_memory(), torch.randn(1000, device="cuda")
    return {
        "a": lambda: x.to("cuda"),
        "b": lambda: pinned.to("cuda", non_blocking=True),
        "c": lambda: gpu.sum(),
        "d": lambda: gpu.sum().item(),
        "e": lambda: gpu[gpu > 0],
        "f": lambda: gpu.clamp(min=0),
        "g": lambda: str(gpu.shape),
        "h": lambda: "large" if gpu.max() > 3 else "small",
    }


def _what_waits() -> dict[str, bool]:
    """Run each line of the question on the present GPU and return whether the CPU waited."""
    found = {}
    for name, line in _lines_of_the_question().items():
        with trace() as seen:
            line()
        found[name] = bool(seen.synchronizations)
    return found


_judge_waits = prediction(
    _what_waits,
    lambda name, _, waits: (
        f"Line {name} was run, and the CPU {'waited' if waits else 'did not wait'}: {_WAITS_WHY[name]}"
    ),
    words=(True, False),
)

# --- 2: hidden waits in a training epoch ----------------------------------------------------------------------------

_AN_EPOCH = 2  # waits: two numbers are asked for
_LAST = 2  # graphs: the last step's names may still hold it


def _pinned_batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return batches as a DataLoader with pin_memory=True hands them out."""
    batches = []
    for _ in range(count):
        batch = torch.randn(16, 10)
        target = batch[:, 0:2] + batch[:, 2:4]
        batches.append((batch.pin_memory(), target.pin_memory()))
    return batches


def _reference_epoch(model: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> list[float]:
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for batch, target in batches:
        optimizer.zero_grad()
        errors = (model(batch) - target).square().mean(1)
        loss = errors[errors > errors.mean()].mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return [sum(losses) / len(losses), float(sum(loss > 1.0 for loss in losses))]


class _Canary:
    """Lives as long as the graph to which it is tied, as a hook that does nothing."""

    def __call__(self, gradient: torch.Tensor) -> None: ...


def _graphs_alive(model: nn.Module) -> list[int]:
    """Return a list that grows with each call of the model: how many of its earlier calls' graphs are still held."""
    canaries: list[weakref.ref[_Canary]] = []
    alive: list[int] = []

    def note(_module: nn.Module, _given: Any, output: torch.Tensor) -> None:
        gc.collect(0)  # what only a circle of references holds is not kept by the learner
        alive.append(sum(canary() is not None for canary in canaries))
        if output.requires_grad:
            canary = _Canary()
            output.register_hook(canary)
            canaries.append(weakref.ref(canary))

    model.register_forward_hook(note)
    return alive


def _judge_train_epoch(train_epoch) -> None:
    for device, count in (("cuda", 9), ("cpu", 5)):
        twin, batches = nn.Linear(10, 2), _pinned_batches(count)
        model = copy.deepcopy(twin).to(device)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        wanted = _reference_epoch(twin, batches)
        alive = _graphs_alive(model)
        seen = watch(train_epoch, model, optimizer, batches, device)
        seen.trained_on(device)
        seen.at_most(
            _AN_EPOCH,
            seen.stops,
            f"In an epoch of {count} batches the CPU waited for the GPU",
            "The busiest line is named; what does it want to know, and when is it needed?",
        )
        _expect_two_numbers(seen.value, wanted, device)
        if max(alive) > _LAST:
            raise NotYet(
                f"The numbers are right. But at batch {len(alive)} the graphs of {alive[-1]} earlier batches were still held, so "
                "memory grows with every step. What does your sum of losses hold besides a number?"
            )
        same_values(dict(model.state_dict()), dict(twin.state_dict()), "The trained model")


def _expect_two_numbers(got: object, wanted: list[float], device: str) -> None:
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise NotYet(f"train_epoch should return two numbers, but it returned {short(got)}.")
    for name, mine, right in zip(("mean loss", "number of batches above 1"), got, wanted, strict=True):
        same_values(mine, right, f"With device={device!r} the {name}")


# --- 3: batches that travel while the CPU goes on -------------------------------------------------------------------


def _classifier() -> tuple[nn.Module, list[str]]:
    """Return a model that notes on which kind of device each call finds its batch."""
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 4)).requires_grad_(False)
    homes: list[str] = []
    model.register_forward_pre_hook(lambda _, given: homes.append(given[0].device.type))
    return model, homes


def _waiting_copies(seen: Seen, pinned: bool) -> Tally:
    """Return the copies to the GPU that the CPU waited for, from pinned or from ordinary memory."""
    up = (one for one in seen.trace.copies if one.waits and one.source == "cpu")
    return tally(one for one in up if bool(one.pinned) is pinned)


def _reads_too_early(seen: Seen) -> str:
    """Return the CPU's operator that ran after the last copy to the CPU and before any wait, by the trace's events."""
    pending, reader = False, ""
    for event in seen.trace.events:
        if event.phase == "wait":
            pending = False
        elif event.phase == "copy" and event.device == "cpu":
            pending, reader = True, ""
        elif pending and event.device == "cpu" and not reader:
            reader = event.name.removeprefix("aten::")
    return reader or ("whoever called predict" if pending else "")


def _judge_predict(predict) -> None:
    for device, count in (("cuda", 5), ("cpu", 3)):
        model, homes = _classifier()
        # More than 64 KB each: smaller ones the driver takes over at once, pinned or not.
        batches = [torch.randn(2000, 10).pin_memory() for _ in range(count)]
        wanted = torch.cat([model(batch) for batch in batches])
        model.to(device)
        homes.clear()
        if device == "cuda":
            torch.cuda.synchronize()
            torch.cuda._sleep(50_000_000)  # cycles, some 30 ms: what is read too early has not arrived
        seen = watch(predict, model, batches, device)
        if set(homes) != {device}:
            places = " and ".join(sorted(set(homes))) or "nothing at all"
            raise NotYet(f"With device={device!r} the model was called with batches on {places}.")
        _expect_the_road(seen, count)
        is_on(seen.value, "cpu", "What predict returned")
        same_values(seen.value, wanted, "What predict returned")


def _expect_the_road(seen: Seen, count: int) -> None:
    seen.at_most(
        0,
        _waiting_copies(seen, pinned=False),
        "The CPU waited for a journey to the GPU from ordinary memory",
        "The batches were pinned. What became of them?",
    )
    seen.at_most(
        0,
        _waiting_copies(seen, pinned=True),
        f"{count} batches travel, and the CPU waited for a copy to the GPU",
        "Pinned they are. What else has to be said?",
    )
    what = f"For {count} batches the CPU waited for results"
    seen.at_most(1, seen.stops, what, "Which of them is needed before the loop ends?")
    reader = _reads_too_early(seen)
    if reader:
        raise NotYet(
            f"Results were sent to the CPU {seen.copies('cuda', 'cpu')}, and nothing waited for them: {reader} read what may "
            "not have arrived. On a real card that can be any numbers. How does the CPU learn that a copy has ended?"
        )


# --- 4: a dataset that workers can use ------------------------------------------------------------------------------


def _items(data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    readings = data - data.mean(0)
    return readings, readings[:, :2].sum(1)


def _judge_readings(kind, batches) -> None:
    for device, rows in (("cuda", 40), ("cpu", 25)):
        data = torch.randn(rows, 6)
        dataset = watch(kind, data).value
        _expect_dataset(dataset)
        _expect_batches(watch(_listed, batches, dataset, device, 0), data, device)
        if device == "cuda" and are_forked():
            read = count_reads(dataset)
            got = through_a_worker(partial(_listed, batches, dataset, device, 1))
            _expect_values(got, data, device)
            if read:
                raise NotYet(
                    f"With workers=1 the process that trains read {len(read)} items itself. Where does `workers` go?"
                )


def _listed(batches: Callable[..., Any], dataset: Any, device: str, workers: int) -> list[Any]:
    found = batches(dataset, device, workers)
    if found is ...:
        raise NotAttempted
    return list(found)


def _expect_dataset(dataset: Any) -> None:
    if not isinstance(dataset, Dataset):
        raise NotYet(f"Readings(data) should be a Dataset, but it is {short(dataset)}.")
    for name, value in vars(dataset).items():
        if isinstance(value, torch.Tensor) and value.device.type != "cpu":
            raise NotYet(
                f"A worker gets a copy of the dataset, and `{name}` in it lies on {value.device}. Can a copied process use that?"
            )
    seen = watch(dataset.__getitem__, 3)
    for found in (seen.operators("cuda"), seen.copies("cpu", "cuda")):
        if found.count:
            raise NotYet(
                f"__getitem__ used the GPU {found}, and it is what a worker runs. Who could do this instead?"
            )
    is_on(seen.value, "cpu", "What __getitem__ hands over")


def _expect_batches(seen: Seen, data: torch.Tensor, device: str) -> None:
    _expect_values(seen.value, data, device)
    seen.at_most(
        2 * len(seen.value),
        seen.copies("cpu", "cuda"),
        f"{len(seen.value)} batches were copied to the GPU",
        "How few copies does one batch need?",
    )


def _expect_values(got: list[Any], data: torch.Tensor, device: str) -> None:
    readings, sums = _items(data)
    for number, pair in enumerate(got, start=1):
        for name, part in zip(("readings", "sums"), pair, strict=True):
            is_on(part, device, f"With device={device!r}, of batch {number} the tensor of {name}")
    for name, place, wanted in (("readings", 0, readings), ("sums", 1, sums)):
        parts = [pair[place] for pair in got]
        same_values(torch.cat(parts) if parts else None, wanted, f"The tensor of all {name}")


questions = q1, q2, q3, q4 = exercise(6, _judge_waits, _judge_train_epoch, _judge_predict, _judge_readings)
