"""The `_foreach_*` operators, whose operands on different devices go one by one to the plain operator, and fused optimizers.

Source: ForeachUtils.h (can_use_fast_route) and ForeachOpsKernels.cpp, the `foreach_tensor_*_slow` functions.
"""

from collections.abc import Iterable

import torch

from .refusals import CPU, Call, Operand, accelerator, iterate, refuse
from .register import Rules

rules = Rules()

NO_SCALARS = ("_foreach_addcdiv",)
SCALARS_ON_CPU = ("_foreach_addcdiv", "_foreach_addcmul")


def each(call: Call) -> torch.device | list[torch.device]:
    """Judge each element of the lists as the plain operator would; returns a device for each result."""
    name = call.func._schema.name.split("::")[1]
    if name.startswith("_foreach_copy"):
        return call.all()[0][1]
    if name.rstrip("_") in SCALARS_ON_CPU and any(device.type != "cpu" for _, device in call.of("scalars")):
        refuse(f"Expected scalars to be on CPU, got {accelerator(call.of('scalars'))} instead.")
    lists = listed(call)
    whole(call)
    written = lists[0] if name.endswith("_") and lists else []
    singles = [
        operand
        for argument in call.tensors
        if argument in ("other", "weight")
        for operand in one(call, argument)
    ]
    scalars = name.rstrip("_") not in NO_SCALARS
    devices = []
    for number in range(len(lists[0]) if lists else 0):
        inputs = [operands[number] for operands in lists if number < len(operands)] + singles
        devices.append(iterate(written[number : number + 1], inputs, scalars=scalars))
    return devices or CPU


def whole(call: Call) -> None:
    """Refuse a tensor in a number's place that has dimensions: ForeachOpsKernels.cpp looks before it takes the lists apart."""
    for tensor, _ in one(call, "other"):
        if tensor.dim():
            refuse(
                f"scalar tensor expected to be 0 dim but it has {tensor.dim()} dimensions and {tensor.numel()} elements."
            )


def listed(call: Call) -> list[list[Operand]]:
    """Return the lists of tensors among the arguments."""
    is_list = {name for name, value in call.arguments.items() if isinstance(value, (list, tuple))}
    return [operands for name, operands in call.tensors.items() if name in is_list]


def one(call: Call, argument: str) -> list[Operand]:
    """Return an argument that is a single tensor, to be combined with each element."""
    return call.tensors[argument] if isinstance(call.arguments.get(argument), torch.Tensor) else []


def check_same_index(
    first: tuple[torch.device, torch.dtype], others: Iterable[tuple[torch.device, torch.dtype]]
) -> None:
    """Do as _group_tensors_by_first_tensors_device_and_dtype: a state on another card is refused.

    A float32 state on the CPU is let through, since it may be a step count: it fails later, in the operator itself.
    """
    for device, dtype in others:
        is_float = dtype in (torch.float32, torch.float64)
        fits = (dtype == first[1] or is_float) if device == first[0] else (device.type == "cpu" and is_float)
        if not fits:
            refuse(
                "Tensors of the same index must be on the same device and the same dtype except `step` tensors that can be "
                "CPU and float32/64 notwithstanding"
            )


@rules.of("_foreach_add.Tensor", "_foreach_add_.Tensor")
def add(call: Call) -> torch.device | list[torch.device]:
    """cuda/ForeachBinaryOpScalarTensor.cu: one kernel for all takes no CPU scalar; products and quotients read it first."""
    given = call.of("self")
    whole(call)
    [(scalar, where)] = call.of("other")
    kinds = {(device, tensor.dtype) for tensor, device in given}
    [(device, dtype), *others] = kinds
    if not others and device.type == "cuda" and dtype == scalar.dtype and device != where:
        refuse(f"scalar tensor expected to be on {device} but is on {where}")
    return each(call)


@rules.of(
    "_fused_adam_.tensor_lr", "_fused_adamw_.tensor_lr", "_fused_sgd_.tensor_lr", "_fused_adagrad_.tensor_lr"
)
def fused_with_tensor_lr(call: Call) -> torch.device:
    """cuda/FusedAdamKernel.cu: lr may be on the CPU; the rest is checked by hand."""
    device = call.first()
    for name in ("grad_scale", "found_inf", "lr"):
        for _, other in call.of(name):
            if other != device and not (name == "lr" and other.type == "cpu"):
                refuse(f"{name} must be on the same GPU device as the params")
    lists = [name for name in call.tensors if name not in ("lr", "grad_scale", "found_inf", "state_steps")]
    if any(other != device for _, other in call.of(*lists)):
        refuse("params, grads, exp_avgs, and exp_avg_sqs must have same dtype, device, and layout")
    return device
