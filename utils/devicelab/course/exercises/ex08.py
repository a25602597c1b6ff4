"""The checks of exercise 08: one script for every machine."""

import copy
import warnings
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

from devicelab.course.looking import short, watch, without_gpu
from devicelab.course.looking.played import (
    NVIDIA,
    OLDER_NVIDIA,
    OTHERS,
    Machine,
    asked_of_autocast_on_a_mac,
)
from devicelab.course.looking.predict import device_prediction
from devicelab.course.question import NotAttempted, NotYet, exercise

_PLACES_WHY = {
    "weight": "the layer makes its weights while the default holds.",
    "noise": "from which tensor does rand_like take what it is not told?",
    "shared": "from_numpy copies nothing. Where is the array's memory?",
    "copied": "as_tensor may copy, and is one of the functions that ask for the default.",
    "batch": "a loader stacks rows that exist already. When were they made?",
    "late": "in which line does the default end?",
}


def _where_they_are() -> dict[str, torch.Tensor]:
    """Run the lines of the question on the present GPU and return the six tensors."""
    table, array = torch.ones(4, 3), np.ones(3)
    loader = DataLoader(TensorDataset(table), batch_size=2)
    with torch.device("cuda"):
        layer = nn.LSTM(3, 4)
        noise = torch.rand_like(table)
        shared = torch.from_numpy(array)
        copied = torch.as_tensor(array)
        (batch,) = next(iter(loader))
    late = torch.zeros(3)
    return {
        "weight": layer.weight_hh_l0,
        "noise": noise,
        "shared": shared,
        "copied": copied,
        "batch": batch,
        "late": late,
    }


_judge_places = device_prediction(_where_they_are, _PLACES_WHY)


def _judge_pick_device(pick_device) -> None:
    _picks_the_best(pick_device, NVIDIA)
    with without_gpu():
        for machine in OTHERS:
            _picks_the_best(pick_device, machine)
    _picks_the_best(pick_device, OLDER_NVIDIA)


def _picks_the_best(pick_device: Callable[[bool], object], machine: Machine) -> None:
    for float64 in (False, True):
        got = watch(_on, machine, pick_device, float64).value
        wanted = "cpu" if float64 and machine.best == "mps" else machine.best
        if not isinstance(got, torch.device) or got.type != wanted:
            raise NotYet(
                f"On a machine {machine.name} pick_device({float64}) returned {short(got)}; "
                f"a torch.device of type {wanted} was asked for."
            )


def _on(machine: Machine, pick_device: Callable[[bool], object], float64: bool) -> object:
    try:
        with machine.played():
            return pick_device(float64)
    except AttributeError as error:
        if error.obj is not torch:
            raise
        raise NotYet(
            f"On a machine {machine.name} your code asked for torch.{error.name}: {error}."
        ) from error


_SMALL = 1e-7  # the loss's factor: its gradients are below 6e-8, the smallest number of float16 above 0
_LR = 0.1 / _SMALL
_OFF = 0.1  # trained weights may be off by a tenth of the way they went: half precision is not exact


class _Noted(nn.Module):
    """A small network that notes in which dtype it computed."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
        self.dtypes: set[str] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = self.net(x)
        self.dtypes.add(str(outputs.dtype).removeprefix("torch."))
        return outputs


def _small_loss(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return _SMALL * nn.functional.mse_loss(outputs.float(), target)


def _weights(model: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach().cpu()


def _reference_train(model: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    optimizer = optim.SGD(model.parameters(), lr=_LR)
    for rows, target in batches:
        optimizer.zero_grad()
        _small_loss(model(rows), target).backward()
        optimizer.step()


def _judge_train(train) -> None:
    cases = (
        ("cuda", "cuda", True),
        ("cuda:0", "cuda", True),
        (torch.device("cuda", 0), "cuda", True),
        ("cpu", "cpu", True),
        (torch.device("cpu"), "cpu", False),
    )
    for device, kind, has_gpu in cases:
        case = f"With device={device!r}" + ("" if has_gpu else " on a machine without a GPU")
        batches = [(rows := torch.randn(16, 6), rows[:, :2] - rows[:, 2:4]) for _ in range(6)]
        model = _Noted()
        before, twin = _weights(model), copy.deepcopy(model)
        _reference_train(twin, batches)
        with nullcontext() if has_gpu else without_gpu(), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            seen = watch(train, model, batches, _small_loss, device, _LR)
        seen.ran_on(kind, f"{case} the forward pass", "forward")
        _computed_in("float16" if kind == "cuda" else "bfloat16", model, case)
        _learned(case, before, _weights(model), _weights(twin))
        _nothing_disabled(case, [str(one.message) for one in said])
        if not isinstance(seen.value, float):
            raise NotYet(f"{case} the loss should be a Python number, but it is {short(seen.value)}.")
    _asks_for_the_macs_own(train)


def _asks_for_the_macs_own(train) -> None:
    model, device = _Noted(), torch.device("mps")
    with asked_of_autocast_on_a_mac() as asked:
        train(model, [(torch.randn(16, 6), torch.randn(16, 2))], _small_loss, device, _LR)
    if asked - {"mps"}:
        raise NotYet(
            f"With device={device!r}, on a Mac, half precision was asked for on {' and '.join(sorted(asked))}. There that does "
            "nothing, and says nothing. What is the third kind of device called, and who knows?"
        )


def _nothing_disabled(case: str, warned: list[str]) -> None:
    for words in warned:
        if "Disabling" in words:  # what GradScaler and autocast say where their device is not there
            raise NotYet(f"{case} torch warned: {words} Who asked for it there?")


def _computed_in(wanted: str, model: _Noted, case: str) -> None:
    if model.dtypes != {wanted}:
        raise NotYet(
            f"{case} the model computed in {', '.join(sorted(model.dtypes))}; {wanted} was asked for, and nobody "
            "complained. What decides on the dtype, and what does it know of the device?"
        )


def _learned(case: str, before: torch.Tensor, after: torch.Tensor, wanted: torch.Tensor) -> None:
    if torch.equal(before, after):
        raise NotYet(
            f"{case} no weight has changed: the gradients of this loss became 0 on their way back. How small a "
            "number can this dtype hold, and who keeps gradients above it?"
        )
    if (after - wanted).norm() > _OFF * (wanted - before).norm():
        raise NotYet(f"{case} the weights are far from those of a training in float32. Were gradients lost?")


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _follows(model: nn.Module, rows: list[list[float]]) -> torch.Tensor:
    return model(torch.tensor(rows, device=_device_of(model)))


def _sends(model: nn.Module, rows: list[list[float]]) -> torch.Tensor:
    return model(torch.tensor(rows).to(_device_of(model))).detach()


def _sleeps(model: nn.Module, rows: list[list[float]]) -> torch.Tensor:
    return model(torch.tensor(rows))


def _brings_back(model: nn.Module, rows: list[list[float]]) -> torch.Tensor:
    return _follows(model, rows).cpu()


def _moves_the_model(model: nn.Module, rows: list[list[float]]) -> torch.Tensor:
    device = _device_of(model)
    return model.cpu()(torch.tensor(rows)).to(device)


def _always_cuda(model: nn.Module, rows: list[list[float]]) -> torch.Tensor:
    return model.cuda()(torch.tensor(rows).cuda())


def _answers_zero(model: nn.Module, rows: list[list[float]]) -> torch.Tensor:
    return torch.zeros_like(_follows(model, rows))


_RIGHT = (_follows, _sends)
_FAULTY = (
    (_sleeps, "cuda", "that makes its input on the CPU and then stops at the model"),
    (_brings_back, "cuda", "whose answer is on the CPU"),
    (_moves_the_model, "cuda", "that leaves the model on the CPU"),
    (_always_cuda, "cpu", "that takes the model to the GPU"),
    (_answers_zero, "cuda", "that answers 0 to everything"),
    (_answers_zero, "cpu", "that answers 0 to everything"),
)


def _judge_check(check) -> None:
    for predict in _RIGHT:
        for device in ("cpu", "cuda", "cuda:0"):
            refusal = _refusal(check, predict, device)
            if refusal is not None:
                words = f"{type(refusal).__name__}: {refusal}".rstrip(": ")
                raise NotYet(
                    f"With device={device!r} your check refused a predict that does all as it should ({words})."
                )
    for predict, device, fault in _FAULTY:
        if _refusal(check, predict, device) is None:
            raise NotYet(f"With device={device!r} your check let a predict pass {fault}.")


def _refusal(check: Callable[..., object], predict: Callable[..., object], device: str) -> Exception | None:
    """Return what the learner's check raised: any exception fails a test, as in pytest."""
    try:
        watch(check, predict, device)
    except (NotAttempted, NotYet):
        raise
    except Exception as error:
        return error
    return None


questions = q1, q2, q3, q4 = exercise(8, _judge_places, _judge_pick_device, _judge_train, _judge_check)
