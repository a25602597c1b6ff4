"""An evaluation that keeps what nobody needs, and a step that needs less at a time."""

import copy
from typing import Any

import torch
from torch import nn, optim

from devicelab.course.looking import is_on, same_values, times, watch
from devicelab.course.looking.room import calls_of, mib, new_alone, room
from devicelab.course.looking.words import device_kind
from devicelab.course.question import NotYet


class _Block(nn.Module):
    """Wide inside, narrow at both ends, as in lesson 09."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(10, wide), nn.Linear(wide, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(torch.relu(self.up(x)))


# --- 2: an evaluation -----------------------------------------------------------------------------------------------

_FEW, _MANY = 3, 12  # batches
_A_ROUND = 64 * 1024  # bytes that may stay from each: its loss and its outputs are small
_SLACK = 1.25  # over what the forward pass needs without a graph


def _three_blocks() -> nn.Sequential:
    return nn.Sequential(*(_Block(3000) for _ in range(3)), nn.Linear(10, 2))


def _batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return batches on the CPU; the last is smaller, as a DataLoader's is."""
    sizes = [200] * (count - 1) + [150]
    return [(x, x[:, 0:2] + x[:, 2:4]) for x in (torch.randn(size, 10) for size in sizes)]


@torch.no_grad()
def _mean_loss(model: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]], device: str) -> float:
    losses = [nn.functional.mse_loss(model(x.to(device)), y.to(device)) for x, y in batches]
    return float(sum(losses) / len(losses))


@new_alone()
def judge_evaluate(evaluate) -> None:
    fullest = {}
    for device, count in (("cuda", _FEW), ("cuda", _MANY), ("cpu", _FEW)):
        model, batches = _three_blocks().to(device), _batches(count)
        wanted = _mean_loss(model, batches, device)
        with room() as needed:
            _mean_loss(model, batches, device)
        calls = calls_of(model)
        with room() as taken:
            seen = watch(evaluate, model, batches, device)
        _computed_on(device, [call.device for call in calls])
        is_on(model, device, "After the evaluation the model")
        same_values(seen.value, wanted, f"With device={device!r} the mean of the losses")
        _left_as_it_was(model)
        if device == "cuda":
            _lets_go([call.held for call in calls], count)
            fullest[count] = taken.fullest, needed.fullest
    _needs_no_graph(fullest)


def _computed_on(device: str, found: list[str]) -> None:
    others = [other for other in found if device_kind(other) != device]
    if others:
        raise NotYet(
            f"The model was given on {device}, but its forward pass ran on {others[0]}. Who moved it?"
        )
    if not found:
        raise NotYet("The model was not called. Whose loss is the value?")


def _left_as_it_was(model: nn.Module) -> None:
    if not torch.is_grad_enabled():
        raise NotYet(
            "The value is right, but after your evaluation gradients are still switched off: the next training would learn "
            "nothing. Where does the switch end?"
        )
    if not all(parameter.requires_grad for parameter in model.parameters()):
        raise NotYet(
            "The value is right, but after your evaluation the model's weights ask for no gradient any more: the next training "
            "would learn nothing. What else could do without a graph?"
        )


def _lets_go(held: list[int], count: int) -> None:
    if len(held) > 2 and held[-1] - held[1] > _A_ROUND * (len(held) - 2):
        raise NotYet(
            f"The value is right; the memory grows. When round 2 of {count} began, {mib(held[1] - held[0])} more were in use on "
            f"the card than in round 1, and in the last {mib(held[-1] - held[0])} more. Which name still holds something of the "
            "first round, and what hangs on that?"
        )


def _needs_no_graph(fullest: dict[int, tuple[int, int]]) -> None:
    (few, _), (many, needed) = fullest[_FEW], fullest[_MANY]
    if many > 2 * few:
        raise NotYet(
            f"The value is right, but with {_FEW} batches the fullest moment takes {mib(few)}, with {_MANY} {mib(many)}. "
            "How many batches have to be on the card at a time?"
        )
    if many > _SLACK * needed:
        raise NotYet(
            f"The value is right and nothing grows, but the fullest moment takes {mib(many)}; {mib(needed)} would do. "
            "Each forward pass still keeps its results. For whom, if nobody calls backward()?"
        )


# --- 3: the same step in fewer bytes --------------------------------------------------------------------------------

_LR = 0.02
_SAME = 1e-3  # relative: parts are added in another order


def _given_step(model: nn.Module, optimizer: optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> float:
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


class _Steps:
    """Notes each step of an optimizer, with the gradient that it finds, in one row of numbers."""

    def __init__(self, model: nn.Module, optimizer: optim.Optimizer) -> None:
        self.model, self.gradients, self.without = model, list[torch.Tensor](), list[str]()
        optimizer.register_step_pre_hook(self._note)

    def _note(self, *_: Any) -> None:
        named = list(self.model.named_parameters())
        self.without = [name for name, parameter in named if parameter.grad is None]
        found = (p.new_zeros(p.shape) if p.grad is None else p.grad for _, p in named)
        self.gradients.append(torch.cat([grad.detach().flatten().cpu() for grad in found]))


@new_alone()
def judge_step(step) -> None:
    for device, rows in (("cuda", 203), ("cuda", 330), ("cpu", 203)):
        twin = nn.Sequential(*(_Block(2000) for _ in range(8))).to(device)
        model = copy.deepcopy(twin)
        x = torch.randn(rows, 10)
        x[-1] *= 3  # the last row counts, and no more than its share
        y = x.flip(1) / 2
        given = optim.SGD(twin.parameters(), lr=_LR)
        yours = optim.SGD(model.parameters(), lr=_LR)
        wanted, found = _Steps(twin, given), _Steps(model, yours)
        for number in range(2):
            with room() as needed:
                loss = _given_step(twin, given, x.to(device), y.to(device))
            with room() as taken:
                seen = watch(step, model, yours, x, y, device)
            _same_step(found, wanted, number)
            seen.trained_on(device)
            is_on(model, device, "After the step the model")
            same_values(seen.value, loss, f"With device={device!r} the loss of the whole batch")
            same_values(nn.utils.parameters_to_vector(model.parameters()), _vector(twin), "The weights")
            if device == "cuda":
                _half_of(needed.fullest, taken.fullest, rows)


def _half_of(given: int, taken: int, rows: int) -> None:
    if taken > given / 2:
        raise NotYet(
            f"The values are right: it is the same gradient. With {rows} rows the fullest moment takes {mib(taken)}, with the "
            f"lines that were given {mib(given)}; half of that was asked for. Does all that is there have to be there at once?"
        )


def _vector(model: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.parameters())


def _same_step(found: _Steps, wanted: _Steps, number: int) -> None:
    taken = len(found.gradients) - number
    if taken != 1:
        how = times(taken) if taken else "not at all"
        raise NotYet(
            f"optimizer.step() ran {how} for one batch; one step was asked for. When is the gradient of the whole batch there?"
        )
    if found.without:
        raise NotYet(
            f"No error, but when the step was taken {len(found.without)} parameters had no gradient, {found.without[0]} among "
            "them. Where does the way back from the loss end?"
        )
    mine, right = found.gradients[number], wanted.gradients[number]
    if _apart(mine, right) <= _SAME:
        return
    factor = float(torch.dot(mine, right) / torch.dot(right, right))
    if _apart(mine, factor * right) <= _SAME:
        raise NotYet(
            f"The gradient points the right way, but it is {factor:.3g} times as long as that of the whole batch. "
            "Each part's loss is a mean of its own: what is its share of the whole?"
        )
    if number and _apart(mine - found.gradients[number - 1], right) <= 2 * _SAME:
        raise NotYet(
            "The first step was right. The second one took the gradient of the first along: when is it put to zero?"
        )
    raise NotYet(
        f"The gradient is not that of the whole batch: they are {_apart(mine, right):.1%} apart. "
        "Does each row count as much as every other, and is what the first rows gave still there at the end?"
    )


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())
