"""A register of rules: functions that look at one call and raise CUDA's error, or return the device of the result."""

from collections.abc import Callable

import torch

from .refusals import Call

Rule = Callable[[Call], torch.device | list[torch.device]]


class Rules(dict[str, Rule]):
    """Rules by the name of the operator in native_functions.yaml: "mv" (every overload) or "fill.Tensor" (this one)."""

    def of(self, *names: str) -> Callable[[Rule], Rule]:
        """Register a function for operators."""

        def register(rule: Rule) -> Rule:
            self.update(dict.fromkeys(names, rule))
            return rule

        return register
