"""A checkpoint that goes to the card of its rank, and a model that lies on two."""

import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn, optim

from devicelab.course.looking import Seen, same_values, watch, without_gpu
from devicelab.course.looking.played import two_cards
from devicelab.course.looking.room import mib
from devicelab.course.looking.words import short
from devicelab.course.question import NotYet
from devicelab.placement import placement

# --- 3: a checkpoint ------------------------------------------------------------------------------------------------

_EPOCH = 7


def _build() -> nn.Module:
    return nn.Linear(400, 400)


def _step(model: nn.Module, optimizer: optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.ones(2, 400, device=next(model.parameters()).device)).sum().backward()
    optimizer.step()


def judge_resume(resume) -> None:
    with tempfile.TemporaryDirectory() as folder, two_cards():
        path = Path(folder) / "checkpoint.pt"
        model = _build().to("cuda:0")
        optimizer = optim.Adam(model.parameters())
        _step(model, optimizer)
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": _EPOCH}, path)
        wanted = {name: value.cpu() for name, value in model.state_dict().items()}
        moments = [value.cpu() for value in _moments(optimizer)]
        del model, optimizer
        for device in ("cuda:1", "cuda:0"):
            _resumed(resume, path, device, wanted, moments)
        with without_gpu():
            _resumed(resume, path, "cpu", wanted, moments)


def _resumed(resume: Any, path: Path, device: str, wanted: dict[str, Any], moments: list[Any]) -> None:
    case = f"With device={device!r}"
    with _others_untouched(device):
        value = watch(resume, _build, path, torch.device(device)).value
    if not isinstance(value, (tuple, list)) or len(value) != 3 or not isinstance(value[0], nn.Module):
        raise NotYet(f"{case}: model, optimizer and epoch were asked for, but it is {short(value)}.")
    model, optimizer, epoch = value
    if epoch != _EPOCH or isinstance(epoch, bool):
        raise NotYet(f"{case} the epoch in the file is {_EPOCH}, but your function returned {short(epoch)}.")
    _lies_on(model, device, f"{case} the model")
    same_values(dict(model.state_dict()), wanted, f"{case} the weights")
    found = _moments(optimizer)
    if not found:
        raise NotYet(f"{case} the optimizer has no state afterwards. Its next step would begin from nothing.")
    same_values(found, moments, f"{case} Adam's moments")
    for moment in found:
        if str(moment.device) != device:
            raise NotYet(f"{case} Adam's moments are on {moment.device}.")
    before = [p.detach().clone() for p in model.parameters()]
    _step(model, optimizer)
    if all(map(torch.equal, before, model.parameters())):
        raise NotYet(
            f"{case} a step of the optimizer changes nothing of the model. Whose weights does it know?"
        )


def _moments(optimizer: optim.Optimizer) -> list[torch.Tensor]:
    """Return what Adam remembers of each weight, its counters of steps left out."""
    states = optimizer.state_dict()["state"].values()
    return [state[name] for state in states for name in ("exp_avg", "exp_avg_sq")]


@contextmanager
def _others_untouched(device: str) -> Iterator[None]:
    """Raise NotYet where the block takes memory of another card, or leaves another card current."""
    if device == "cpu":
        yield
        return
    current = torch.cuda.current_device()
    other = 1 - torch.device(device).index
    before = torch.cuda.memory_allocated(other)
    torch.cuda.reset_peak_memory_stats(other)
    yield
    taken = torch.cuda.max_memory_allocated(other) - before
    if taken > 0:
        raise NotYet(
            f"With device={device!r}, {mib(taken)} of cuda:{other} were taken, the card of another rank. Eight ranks would "
            "do so at once. Which line went there, and how did it know of that card?"
        )
    if torch.cuda.current_device() != current:
        raise NotYet(
            f"Your function was called with cuda:{current} as the current card, and left another one current. Is that its "
            "business?"
        )


def _lies_on(value: Any, device: str, what: str) -> None:
    """Raise NotYet unless all parts of a module lie on this very card."""
    for place in placement(value).places:
        if str(place.device) != device:
            name = place.name.removeprefix("value").removeprefix(".")
            raise NotYet(f"{what}: {name} ({place.why}) is on {place.device}; {device} was asked for.")


# --- 4: a model on two cards ------------------------------------------------------------------------------------------

_ROWS = 6
_PLACES = (("cuda:0", "cuda:1"), ("cuda:1", "cuda:0"), ("cpu", "cpu"))


def _halves() -> tuple[nn.Module, nn.Module]:
    return nn.Sequential(nn.Linear(10, 20), nn.ReLU()), nn.Linear(20, 2)


def judge_split(split) -> None:
    with two_cards():
        for one, other in _PLACES:
            first, second = _halves()
            whole = copy.deepcopy(nn.Sequential(first, second))
            model = watch(split, first, second, torch.device(one), torch.device(other)).value
            if not isinstance(model, nn.Module):
                raise NotYet(f"A module was asked for, but it is {short(model)}.")
            case = f"With one={one!r} and other={other!r}"
            _placed(model, one, other, case)
            x = torch.randn(_ROWS, 10)
            seen = _forward(model, x, case)
            expected = whole(x)
            if str(seen.value.device) != other:
                raise NotYet(f"{case} the answer is on {seen.value.device}; {other} was asked for.")
            same_values(seen.value, expected, f"{case} the answer")
            _crossed(seen, one, other, case)
            _trains(model, whole, seen.value, expected, case)


def _placed(model: nn.Module, one: str, other: str, case: str) -> None:
    found = [(tuple(p.shape), str(p.device)) for p in model.parameters()]
    shapes = [(20, 10), (20,), (2, 20), (2,)]
    if sorted(shape for shape, _ in found) != sorted(shapes):
        raise NotYet(
            f"{case} model.parameters() finds {len(found)} tensors; the two halves have {len(shapes)}. Which would the "
            "optimizer never see?"
        )
    for shape, device in found:
        half, due = ("first", one) if shape in shapes[:2] else ("second", other)
        if device != due:
            raise NotYet(f"{case} a weight of the {half} half is on {device}; {due} was asked for.")


def _forward(model: nn.Module, x: torch.Tensor, case: str) -> Seen:
    seen = watch(model, x)
    if not isinstance(seen.value, torch.Tensor):
        raise NotYet(f"{case} the model's answer is {short(seen.value)}; a tensor was asked for.")
    return seen


def _crossed(seen: Seen, one: str, other: str, case: str) -> None:
    """Expect the batch to go to the first card once, what comes of it to the second, and nothing else to move."""
    if one == other:
        return
    due = {("cpu", one): _ROWS * 10 * 4, (one, other): _ROWS * 20 * 4}
    for pair in sorted({(copied.source, copied.target) for copied in seen.trace.copies}):
        copies = [copied for copied in seen.trace.copies if (copied.source, copied.target) == pair]
        count, nbytes = sum(copied.count for copied in copies), sum(copied.nbytes for copied in copies)
        line = copies[0].line
        where = f" ({line})" if line else ""
        if pair not in due:
            raise NotYet(
                f"{case} the forward pass copied {nbytes} bytes from {pair[0]} to {pair[1]}{where}. Who needs them there?"
            )
        if nbytes > due[pair]:
            raise NotYet(
                f"{case} {nbytes} bytes went from {pair[0]} to {pair[1]} in {count} copies{where}; {due[pair]} would do. "
                "What has to go over for the second half?"
            )


def _trains(model: nn.Module, whole: nn.Module, value: Any, expected: Any, case: str) -> None:
    if not value.requires_grad:
        raise NotYet(f"{case} no gradient leads back from the answer. Where did the way end?")
    value.square().mean().backward()
    expected.square().mean().backward()
    wanted = {tuple(p.shape): p.grad for p in whole.parameters()}
    for parameter in model.parameters():
        if parameter.grad is None:
            raise NotYet(
                f"{case} backward() gave a weight on {parameter.device} no gradient. Where does the way back end?"
            )
        same_values(parameter.grad, wanted[tuple(parameter.shape)], f"{case} a gradient")
