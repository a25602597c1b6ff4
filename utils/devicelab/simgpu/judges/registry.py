"""A register of judges: functions that judge one call, raising CUDA's error or returning the device of the result."""

from collections.abc import Callable

import torch

from devicelab.simgpu.families import Call

Judge = Callable[[Call], torch.device | list[torch.device]]


class Judges(dict[str, Judge]):
    """Judges by the name of the operator in native_functions.yaml: "mv" (every overload) or "fill.Tensor" (this one)."""

    def of(self, *names: str) -> Callable[[Judge], Judge]:
        """Register a function for operators."""

        def register(judge: Judge) -> Judge:
            self.update(dict.fromkeys(names, judge))
            return judge

        return register
