"""What a training takes of a card, counted by hand and estimated before there is a card; the card's own count is the truth."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn, optim

from devicelab.course.looking import same_values, short, watch
from devicelab.course.looking.predict import prediction
from devicelab.course.looking.room import mib, new_alone, room
from devicelab.course.question import NotYet

# --- 1: where the bytes go ------------------------------------------------------------------------------------------

_NEAR = 0.02  # relative: whoever leaves the biases out is right, and the nearest wrong number is half as much again
_WIDE, _NARROW, _ROWS = 4000, 250, 1500


@new_alone()
def _held() -> dict[str, int]:
    """Train a step on the present card and return what its allocator counts, in bytes."""
    counted: dict[str, int] = {}
    for _ in range(2):  # the first turn loads what a real card keeps ready: libraries and their workspaces
        counted = _one_step()
    return counted


def _one_step() -> dict[str, int]:
    data = torch.randn(_ROWS, _NARROW, device="cuda")
    with room() as weights:
        model = nn.Sequential(nn.Linear(_NARROW, _WIDE), nn.ReLU(), nn.Linear(_WIDE, 1)).to("cuda")
    with room() as kept:
        loss = model(data).mean()
    loss.backward()
    del loss
    gradients = sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    adam, sgd = optim.Adam(model.parameters()), optim.SGD(model.parameters(), lr=0.1)
    with room() as of_sgd:
        sgd.step()
    with room() as of_adam:
        adam.step()
    return {
        "weights": weights.left,
        "gradients": gradients,
        "adam": of_adam.left,
        "sgd": of_sgd.left,
        "kept": kept.left,
    }


_HELD_WHY = {
    "weights": "How many numbers has a layer that leads from 250 to 4000, and how many bytes a float32?",
    "gradients": "For each weight there is one gradient. Of which type?",
    "adam": "How many numbers does Adam keep for each weight?",
    "sgd": "Without momentum, what would it have to remember from one step to the next?",
    "kept": "Which result of the forward pass is as large as 1500 rows of 4000 numbers, and kept once?",
}
_SLIPS = (
    (1 / 4, "That is the count of the numbers. How many bytes has each?"),
    (8, "Those are bits. Bytes were asked for."),
    (1e-6, "The right digits, in millions of bytes. Bytes were asked for."),
    (2**-20, "The right digits, in MiB. Bytes were asked for."),
)


def _compare_held(name: str, got: Any, right: int) -> str:
    if isinstance(got, bool) or not isinstance(got, (int, float)):
        return f"For {name} a number of bytes was asked for, but it is {short(got)}."
    if math.isclose(got, right, rel_tol=_NEAR, abs_tol=512):
        return ""
    said = f"For {name} you have {got:,.12g} bytes"
    for factor, words in _SLIPS:
        if right and math.isclose(got, factor * right, rel_tol=_NEAR):
            return f"{said}. {words}"
    more = "more" if got < right else "less"
    return f"{said}; the step was run, and the card counted {more}. {_HELD_WHY[name]}"


judge_held = prediction(_held, _compare_held)

# --- 4: will it fit? ------------------------------------------------------------------------------------------------

_FITS = 0.05  # relative: the allocator counts in blocks of 512 bytes
_HUGE = 2**24  # a layer of 2^24 by 2^24 numbers: a PiB, more than any process can address
_HUGE_NEEDS = 4.0  # PiB: weights, gradients and Adam's state


class _WithTable(nn.Module):
    """A layer with a table that is no parameter."""

    table: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(800, 800)
        self.register_buffer("table", torch.zeros(800, 800))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + (x @ self.table)


def _plain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(800, 1000), nn.ReLU(), nn.Linear(1000, 800))


def _frozen() -> nn.Module:
    model = _plain()
    model[0].requires_grad_(False)
    return model


def _short() -> nn.Module:
    return nn.Linear(800, 1600, dtype=torch.bfloat16)


def _tied() -> nn.Module:
    first, second = nn.Linear(800, 800), nn.Linear(800, 800)
    second.weight = first.weight
    return nn.Sequential(first, nn.ReLU(), second)


_MODELS: tuple[tuple[Callable[[], nn.Module], str, str], ...] = (
    (_plain, "of two layers", "What lies on the card after a first step, for each weight?"),
    (_WithTable, "with a table in a buffer", "Is a buffer trained, and does it take room?"),
    (_frozen, "whose first layer is frozen", "Which weights have a gradient, and which a state in Adam?"),
    (_short, "in bfloat16", "How many bytes has one of its numbers?"),
    (_tied, "that uses one weight in two layers", "How often does that weight lie in memory?"),
)


def _counted(build: Callable[[], nn.Module]) -> int:
    """Build the model on the present card, train a step with Adam, and return what is in use for it then."""
    with room() as found:
        model = build().to("cuda")
        kind = next(model.parameters()).dtype
        adam = optim.Adam([p for p in model.parameters() if p.requires_grad])
        model(torch.ones(1, 800, device="cuda", dtype=kind)).sum().backward()
        adam.step()
    return found.left


def _huge() -> nn.Module:
    return nn.Linear(_HUGE, _HUGE)


@new_alone()
def judge_needs(needs) -> None:
    for build, words, question in _MODELS:
        _counted(build)  # loads what a real card keeps ready
        right = _counted(build)
        with room() as taken:
            got = watch(needs, build).value
        if isinstance(got, (torch.Tensor, bool)) or not isinstance(got, (int, float)):
            raise NotYet(f"A number of bytes was asked for, as a Python number; it is {short(got)}.")
        if not math.isclose(got, right, rel_tol=_FITS):
            slip = " That is the count of the numbers." if math.isclose(got, right / 4, rel_tol=_FITS) else ""
            raise NotYet(
                f"For a model {words} you say {mib(got)}.{slip} It was trained, and the card counted {mib(right)}. {question}"
            )
        if taken.fullest:
            raise NotYet(
                f"For a model {words} the number is right, but to know it you took {mib(taken.fullest)} of the card. "
                "The question is asked before there is one."
            )
    _asks_without_making(needs)


def _asks_without_making(needs: Callable[..., Any]) -> None:
    try:
        got = watch(needs, _huge).value
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and "alloc" not in str(error):
            raise
        raise NotYet(
            "The numbers are right for small models. Then a layer of a million GiB was asked about, and your code tried to "
            "make it. On which device does a tensor have a shape, and no memory?"
        ) from None
    same_values(float(got) / 2**50, _HUGE_NEEDS, "For a layer of 2^24 by 2^24 numbers, the PiB")
