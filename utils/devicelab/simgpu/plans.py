"""What the dispatch mode must know about an operator, worked out once for each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from . import integers, special

BUILTIN = ("aten", "prims", "quantized", "mkldnn", "profiler")
PLANS: dict[int, "Plan"] = {}  # by the operator's id: its own hash is slow


@dataclass(frozen=True, slots=True)
class Plan:
    """How to run one operator overload: `special` where it needs more than looking and marking."""

    func: Any
    is_view: bool
    special: Callable[..., Any] | None


def plan_of(func: Any) -> Plan:
    """Return the operator's plan, made at its first call."""
    plan = PLANS[id(func)] = Plan(func, bool(getattr(func, "is_view", False)), handler_of(func))
    return plan


def handler_of(func: Any) -> Callable[..., Any] | None:
    """Return what treats the operator, by name, by its schema's arguments, or by its tags."""
    if not isinstance(func, torch._ops.OpOverload):
        return None
    by_name = special.BY_NAME.get(func._schema.name) or integers.BY_NAME.get(func._schema.name)
    if by_name is not None:
        return by_name
    if is_composite(func):
        return special.decompose
    if func.namespace not in BUILTIN:
        return special.custom
    names = {argument.name for argument in func._schema.arguments}
    is_random = torch.Tag.nondeterministic_seeded in func.tags
    if "device" in names or creates(func):
        return special.create_random if is_random else special.create
    if is_random:
        return special.draw if "generator" in names else special.draw_without_generator
    if torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags:
        return special.synchronize
    return None


def is_composite(func: Any) -> bool:
    """Say whether PyTorch would take the operator apart; in inference mode it comes to the dispatch mode whole."""
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    return has_kernel(func.name(), "CompositeImplicitAutograd") and not has_kernel(func.name(), "CPU")


def creates(func: Any) -> bool:
    """Say whether the operator has no tensor argument at all."""
    return not any("Tensor" in str(argument.type) for argument in func._schema.arguments)
