"""How many training steps the calls of `optimizer.step()` make up."""

from typing import Any
from weakref import WeakKeyDictionary, ref


class Steps:
    """Counts training steps: optimizers that take turns, as in a GAN, count by their rounds; trainings one after another add up.

    Optimizers whose first and last steps embrace each other's take turns. `calls` is the number of all calls.
    """

    def __init__(self) -> None:
        self.calls = 0
        self._known: WeakKeyDictionary[Any, tuple[int, int]] = WeakKeyDictionary()  # number, steps
        self._trainings: list[list[int]] = []  # the first optimizer's number, most steps of any
        self._newest: Any = None

    def add(self, optimizer: Any) -> None:
        """Note a step."""
        self.calls += 1
        number, before = self._known.get(optimizer, (self.calls, 0))
        self._known[optimizer] = number, before + 1
        if not before and not self._is_first_round():
            self._trainings.append([number, 0])
        most = before + 1
        while self._trainings[-1][0] > number:  # those began after this optimizer, which still goes on
            most = max(most, self._trainings.pop()[1])
        self._trainings[-1][1] = max(self._trainings[-1][1], most)
        self._newest = ref(optimizer)

    def _is_first_round(self) -> bool:
        """Say whether a new optimizer joins one that made a single step and is still there."""
        return bool(self._trainings) and self._trainings[-1][1] == 1 and self._newest() is not None

    @property
    def count(self) -> int:
        """The training steps so far."""
        return sum(most for _, most in self._trainings)
