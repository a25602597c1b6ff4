"""Optimizers that change nothing: `step()` finds no gradient in any of the parameters that they hold."""

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from torch.optim.optimizer import register_optimizer_step_post_hook

from devicelab.source import Line, line_here


@dataclass
class _Steps:
    count: int = 0
    barren: int = 0
    line: Line | None = None  # of the first step


class Learning:
    """Watches the steps of all optimizers, and says of which all were in vain."""

    def __init__(self) -> None:
        self._steps: dict[int, _Steps] = {}
        self._numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._handle = register_optimizer_step_post_hook(self._step_ends)

    def end(self) -> None:
        """Watch no more."""
        self._handle.remove()

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each optimizer that never found a gradient."""
        from devicelab.trace.words import at, plural

        return tuple(
            f"the optimizer found no gradients in {plural(steps.count, 'step')}{at(steps.line)}: no backward pass reached the "
            "parameters that it holds; they may be those of another copy of the model"
            for steps in self._steps.values()
            if steps.barren == steps.count
        )

    def _step_ends(self, optimizer: Any, *_: Any) -> None:
        number = self._numbers.setdefault(optimizer, len(self._steps))
        steps = self._steps.setdefault(number, _Steps(line=None))
        steps.count += 1
        if steps.barren == steps.count - 1 and not _has_gradients(optimizer):
            steps.barren += 1
            steps.line = steps.line or line_here()


def _has_gradients(optimizer: Any) -> bool:
    return any(
        parameter.grad is not None for group in optimizer.param_groups for parameter in group["params"]
    )
