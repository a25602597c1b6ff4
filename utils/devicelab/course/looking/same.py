"""Whether a value lies where it should, and is what it should be, wherever it lies."""

import math

import torch

from devicelab.course.question.outcome import NotYet
from devicelab.placement import placement

from .words import device_kind, short

CLOSE = 1e-4  # relative and absolute: a GPU adds in another order than a CPU


def is_on(value: object, device: str, what: str) -> None:
    """Raise NotYet unless a tensor, module, optimizer or container lies on one kind of device in all its parts."""
    if isinstance(value, torch.Tensor):
        if device_kind(value.device) != device:
            raise NotYet(f"{what} is on {value.device}; {device} was asked for.")
        return
    for place in placement(value).places:
        if device_kind(place.device) != device and not place.expected:
            name = place.name.removeprefix("value").removeprefix(".")  # `value` is the name of it here
            raise NotYet(f"{what}: {name} ({place.why}) is on {place.device}; {device} was asked for.")


def same_values(got: object, wanted: object, what: str) -> None:
    """Raise NotYet unless two values agree, wherever they lie: numbers, tensors, or lists and dicts of them."""
    if isinstance(wanted, torch.Tensor):
        _same_tensor(got, wanted, what)
    elif isinstance(wanted, dict):
        if not isinstance(got, dict) or set(got) != set(wanted):
            raise NotYet(
                f"{what}: a dict with the keys {sorted(wanted)} was asked for, but it is {short(got)}."
            )
        for key, value in wanted.items():
            same_values(got[key], value, f"{what}[{key!r}]")
    elif isinstance(wanted, (list, tuple)):
        if not isinstance(got, (list, tuple)) or len(got) != len(wanted):
            raise NotYet(f"{what}: {len(wanted)} values were asked for, but it is {short(got)}.")
        for place, (mine, right) in enumerate(zip(got, wanted, strict=True)):
            same_values(mine, right, f"{what}[{place}]")
    elif isinstance(wanted, float):
        _same_number(got, wanted, what)
    elif type(got) is not type(wanted) or got != wanted:
        raise NotYet(f"{what} should be {short(wanted)}, but it is {short(got)}.")


def _same_tensor(got: object, wanted: torch.Tensor, what: str) -> None:
    if not isinstance(got, torch.Tensor):
        raise NotYet(f"{what}: a tensor was asked for, but it is {short(got)}.")
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        shapes = f"{list(wanted.shape)} of {wanted.dtype}"
        raise NotYet(f"{what} should have shape {shapes}, but it has {list(got.shape)} of {got.dtype}.")
    mine, right = got.detach().cpu(), wanted.detach().cpu()
    close = torch.isclose(mine, right, rtol=CLOSE, atol=CLOSE, equal_nan=True)
    if not close.all():
        place = (~close).nonzero()[0].tolist()
        found, due = (tensor[tuple(place)].item() for tensor in (mine, right))
        raise NotYet(
            f"{what} lies on {got.device} and has the right shape, but not the right values: at {place} it is {found:.4g}, "
            f"and {due:.4g} is right."
        )


def _same_number(got: object, wanted: float, what: str) -> None:
    if isinstance(got, torch.Tensor):
        raise NotYet(f"{what}: a Python number was asked for, but it is {short(got)}.")
    if not isinstance(got, (int, float)) or not math.isclose(got, wanted, rel_tol=CLOSE, abs_tol=CLOSE):
        raise NotYet(f"{what} should be about {wanted:.4g}, but it is {short(got)}.")
