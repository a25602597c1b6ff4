"""Whether CUDA would accept operands on different devices: its own error, or the device of the result.

CUDA PyTorch refuses a mix in three ways: by a check that torchgen generates for each kernel, by TensorIterator, which
drives the pointwise operators, and by checks written by hand.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch

from . import kernels

Operand = tuple[torch.Tensor, torch.device]
CPU = torch.device("cpu")


@dataclass
class Call:
    """One operator call: its tensors by argument name, in schema order, and its other arguments."""

    func: torch._ops.OpOverload
    tensors: dict[str, list[Operand]]
    arguments: dict[str, Any] = field(default_factory=dict)

    def devices(self) -> list[torch.device]:
        """Return the device of each tensor, in schema order."""
        return [device for operands in self.tensors.values() for _, device in operands]

    def device(self, name: str) -> torch.device | None:
        """Return the device of the argument's first tensor, or None where it holds none."""
        operands = self.tensors.get(name)
        return operands[0][1] if operands else None

    def accelerator(self) -> torch.device:
        """Return the first device in schema order that is not the CPU."""
        return next((device for device in self.devices() if device.type != "cpu"), CPU)


def generated(wrapper: str, checked: Iterable[tuple[str, torch.device]]) -> torch.device | None:
    """Do as torchgen's generated check: refuse the first argument that is not where the first tensor is."""
    common = None
    for name, device in checked:
        common = common or device
        if device != common:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but got {name} is on {device}, different from other "
                f"tensors on {common} (when checking argument in method {wrapper})"
            )
    return common


def refuse_two(common: torch.device, other: torch.device) -> NoReturn:
    """Raise TensorIterator's error."""
    raise RuntimeError(
        f"Expected all tensors to be on the same device, but found at least two devices, {common} and {other}!"
    )


def iterate(outputs: list[Operand], inputs: list[Operand], scalars: bool = True) -> torch.device:
    """Do as TensorIterator: one common device, save for one 0-dim CPU input where the operator allows it."""
    common = next((device for _, device in [*outputs, *inputs] if device.type != "cpu"), CPU)
    allowed = 1 if scalars else 0
    for number, (tensor, device) in enumerate([*outputs, *inputs]):
        if scalars and number >= len(outputs) and tensor.dim() == 0 and device.type == "cpu" and common != CPU:
            if not allowed:
                raise RuntimeError("Trying to pass too many CPU scalars to non-CPU kernel!")
            allowed -= 1
        elif device != common:
            refuse_two(common, device)
    return common


def outputs_and_inputs(call: Call) -> tuple[list[Operand], list[Operand]]:
    """Return the operands that the operator writes (out= or in place) and those that it reads."""
    outputs: list[Operand] = []
    inputs: list[Operand] = []
    for argument in call.func._schema.arguments:
        operands = call.tensors.get(argument.name, [])
        if argument.alias_info is not None and argument.alias_info.is_write:
            outputs += operands
        if not argument.is_out:
            inputs += operands
    return outputs, inputs


def resolve(
    func: torch._ops.OpOverload,
    operands: list[tuple[str, torch.Tensor, torch.device]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> torch.device:
    """Raise CUDA's error for a call whose operands are on different devices, or return the device of its result."""
    tensors: dict[str, list[Operand]] = {}
    for name, tensor, device in operands:
        tensors.setdefault(name, []).append((tensor, device))
    names = [argument.name for argument in func._schema.arguments]
    call = Call(func, tensors, {**dict(zip(names, args, strict=False)), **kwargs})
    return judge(call)


def judge(call: Call) -> torch.device:
    """Judge a call by what is published about its kernel."""
    if kernels.overload_name(call.func) in ("copy_", "_foreach_copy_", "_foreach_copy"):
        return call.device("self") or CPU
    kernel = kernels.kernel(call.func)
    if kernel.checked is not None:
        checked = [(name, device) for name in kernel.checked for _, device in call.tensors.get(name, [])]
        return generated(kernel.wrapper, checked) or call.accelerator()
    return iterate(*outputs_and_inputs(call))
