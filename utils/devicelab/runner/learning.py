"""Optimizers that change nothing: `step()` finds no gradient in any of the parameters that they hold."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from devicelab.reach import is_a
from devicelab.source import USER, Line, line_here, whose

from .advice import Advice, advice


@dataclass
class _Steps:
    count: int = 0
    barren: int = 0
    line: Line | None = None  # of the first step
    where: str = ""  # its parameters are
    frozen: bool = False
    reached: bool = False  # by a backward pass, after the first step
    fix: str = ""

    @property
    def vain(self) -> bool:
        """Whether none of them found a gradient."""
        return self.barren == self.count


class Learning:
    """Watches the steps of all optimizers, and says of which all were in vain."""

    def __init__(self) -> None:
        self._steps: dict[int, _Steps] = {}
        self.advice = Advice()  # of the first step
        self._numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._hooks: list[Any] = []
        self._handle = register_optimizer_step_post_hook(self._step_ends)

    def end(self) -> None:
        """Watch no more."""
        for handle in (self._handle, *self._hooks):
            handle.remove()

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each optimizer that never found a gradient."""
        from devicelab.trace.words import at, plural

        return tuple(
            f"the optimizer found no gradients in {plural(steps.count, 'step')}{at(steps.line)}: {_why(steps)}"
            for steps in self._steps.values()
            if steps.vain
        )

    @property
    def vain(self) -> str:
        """The same in a sentence for all optimizers; empty where each found gradients."""
        count, of = sum(steps.vain for steps in self._steps.values()), len(self._steps)
        if count == of:
            return "Nothing was learned: no step of an optimizer found a gradient" if of else ""
        return f"{count} of {of} optimizers changed nothing" if count else ""

    def _step_ends(self, optimizer: Any, *_: Any) -> None:
        number = self._numbers.setdefault(optimizer, len(self._steps))
        steps = self._steps.setdefault(number, _Steps(line=None))
        steps.count += 1
        if number == 0 and steps.count == 1 and (frame := next(_frames(), None)):
            with suppress(Exception):  # of a user's class; no advice is none
                self.advice = advice(frame)
        if steps.barren == steps.count - 1 and not _has_gradients(optimizer):
            steps.barren += 1
            if steps.barren == 1:
                steps.line = line_here()
                self._look_at(optimizer, steps)

    def _look_at(self, optimizer: Any, steps: _Steps) -> None:
        """Note what an optimizer holds, and hear whether a backward pass reaches any of it."""
        held = [one for group in optimizer.param_groups for one in group["params"]]
        steps.where = ", ".join(sorted({str(one.device) for one in held}))
        steps.frozen = not any(one.requires_grad for one in held)
        steps.fix = _fix(optimizer, held)
        for one in held:
            if one.requires_grad and one.is_leaf:
                self._hooks.append(one.register_post_accumulate_grad_hook(partial(_reached, steps)))


def _reached(steps: _Steps, _: Any) -> None:
    steps.reached = True


def _why(steps: _Steps) -> str:
    if steps.frozen:
        return "the parameters that it holds are frozen (requires_grad=False)"
    if steps.reached:
        return "a backward pass reached the parameters that it holds, and their gradients were cleared before the step"
    return (
        f"no backward pass reached the parameters that it holds (on {steps.where}): those of another copy of the model "
        f"perhaps; or a .detach(), .item() or no_grad() lies between them and the loss{steps.fix}"
    )


def _fix(optimizer: Any, held: list[Any]) -> str:
    """Return how to make the optimizer anew of the model that gradients did reach, as far as the user's variables tell."""
    for variables in ({**frame.f_globals, **frame.f_locals} for frame in _frames()):
        own = next((name for name, value in variables.items() if value is optimizer), None)
        model = next((name for name, value in variables.items() if _is_trained(value, held)), None)
        if own and model:
            kind = type(optimizer)
            home = "torch.optim." if kind.__module__.startswith("torch.optim") else ""
            rate = f", lr={optimizer.param_groups[0]['lr']}" if "lr" in optimizer.param_groups[0] else ""
            made = f"{own} = {home}{kind.__name__}({model}.parameters(){rate})"
            return f"\n    fix: after the last line that makes or copies {model}: {made}"
    return ""


def _frames() -> Iterator[FrameType]:
    """Yield the user's functions that are being run, the innermost first."""
    frame = sys._getframe(1)
    while frame is not None:
        if whose(frame.f_code.co_filename) == USER:
            yield frame
        frame = frame.f_back  # type: ignore[assignment]


def _is_trained(value: Any, held: list[Any]) -> bool:
    """Say whether a value is a model with gradients, and none of its parameters is held."""
    if not is_a(value, torch.nn.Module):
        return False
    own, others = list(value.parameters()), {id(one) for one in held}
    return any(one.grad is not None for one in own) and not any(id(one) in others for one in own)


def _has_gradients(optimizer: Any) -> bool:
    return any(
        parameter.grad is not None for group in optimizer.param_groups for parameter in group["params"]
    )
