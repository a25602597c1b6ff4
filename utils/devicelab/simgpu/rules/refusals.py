"""The ways in which CUDA PyTorch refuses operands on different devices, word for word.

Sources: `c10::impl::common_device_check_failure` (ATen/core/adaption.cpp) for the generated check,
`TensorIteratorBase::compute_types` (ATen/TensorIterator.cpp) for TensorIterator, `resize_out` as torchgen writes it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from devicelab.simgpu.machine.texts import LEGACY, SCALAR_TYPES

Operand = tuple[torch.Tensor, torch.device]
CPU = torch.device("cpu")
IMPROVE = (  # what TORCH_CHECK adds where its author gave no words
    "  (Could this error message be improved?  If so, please report an enhancement request to PyTorch.)"
)


@dataclass
class Call:
    """One operator call: its tensors by argument name, in schema order, and all of its arguments."""

    func: torch._ops.OpOverload
    tensors: dict[str, list[Operand]]
    arguments: dict[str, Any]
    run: Callable[[], Any]
    run_aside: Callable[[], Any]

    def all(self) -> list[Operand]:
        """Return every tensor with its device, in schema order."""
        return [operand for operands in self.tensors.values() for operand in operands]

    def of(self, *names: str) -> list[Operand]:
        """Return the tensors of these arguments, in this order."""
        return [operand for name in names for operand in self.tensors.get(name, [])]

    def first(self) -> torch.device:
        """Return the device of the first tensor."""
        return self.all()[0][1]

    def renamed(self, /, **names: str) -> list[tuple[str, torch.device]]:
        """Return (new name, device) for the tensors of the given arguments, in the given order."""
        return [(new, device) for old, new in names.items() for _, device in self.of(old)]

    def named(self, *names: str) -> list[tuple[str, torch.device]]:
        """Return (argument, device) for each tensor of these arguments."""
        return [(name, device) for name in names for _, device in self.tensors.get(name, [])]


def accelerator(operands: Iterable[Operand]) -> torch.device:
    """Return the first device that is not the CPU, else the CPU."""
    return next((device for _, device in operands if device.type != "cpu"), CPU)


def refuse(message: str) -> NoReturn:
    """Raise what TORCH_CHECK raises."""
    raise RuntimeError(message)


def other_storage(here: torch.device, there: torch.device) -> NoReturn:
    """Raise set_'s error for a storage of another device (aten/src/ATen/native/TensorShape.cpp)."""
    refuse(
        f'Attempted to set the storage of a tensor on device "{here}" to a storage on different device "{there}".  This is no '
        "longer allowed; the devices must match."
    )


def missing(name: str, backend: str = "CUDA") -> NoReturn:
    """Raise the dispatcher's error for an operator that CUDA's build lacks (ATen/core/dispatch/OperatorEntry.cpp)."""
    name = name if "::" in name else f"aten::{name}"
    raise NotImplementedError(
        f"Could not run '{name}' with arguments from the '{backend}' backend. This could be because the operator doesn't "
        "exist for this backend, or was omitted during the selective/custom build process (if using custom build). If you "
        "are a Facebook employee using PyTorch on mobile, please visit https://fburl.com/ptmfixes for possible "
        f"resolutions. '{name}' is only available for these backends: [CPU]."
    )


def lacking(kernel: str, dtype: str) -> NotImplementedError:
    """Return the error for a type that CUDA's kernel lacks (AT_DISPATCH, ATen/Dispatch.h)."""
    error = NotImplementedError(f"\"{kernel}\" not implemented for '{dtype}'")
    error.of_cuda = True  # type: ignore[attr-defined]  # and not from the CPU's kernel
    return error


def generated(wrapper: str, checked: Iterable[tuple[str, torch.device]]) -> torch.device | None:
    """Do as torchgen's generated check: refuse the first argument that is not where the first tensor is."""
    common = None
    for name, device in checked:
        common = common or device
        if device != common:
            refuse(
                f"Expected all tensors to be on the same device, but got {name} is on {device}, different from other "
                f"tensors on {common} (when checking argument in method {wrapper})"
            )
    return common


def iterate(outputs: Sequence[Operand], inputs: Sequence[Operand], scalars: bool = True) -> torch.device:
    """Do as TensorIterator: one common device, save for one 0-dim CPU input where the operator allows `scalars`.

    Operators of one input never do (BinaryOps.cpp sets allow_cpu_scalars, UnaryOps.cpp and ReduceOps.cpp do not).
    """
    operands, scalars = [*outputs, *inputs], scalars and len(inputs) > 1
    common = accelerator(operands)
    allowed = 1
    for number, (tensor, device) in enumerate(operands):
        is_input = number >= len(outputs)
        if scalars and is_input and common != CPU and device.type == "cpu" and tensor.dim() == 0:
            if not allowed:
                refuse("Trying to pass too many CPU scalars to non-CPU kernel!")
            allowed = 0
        elif device != common:
            refuse(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{common} and {device}!"
            )
    return common


def resize_out(outputs: Sequence[Operand], common: torch.device) -> torch.device:
    """Do as torchgen's `resize_out`: refuse an out= tensor that is not where the result is computed."""
    for _, device in outputs:
        if device != common:
            refuse(f"Expected out tensor to have device {common}, but got {device} instead")
    return common


def shapes_first(call: Call, inputs: Sequence[Operand], inplace: Sequence[Operand] = ()) -> None:
    """Let the operator itself raise its shape error, which CUDA finds before it looks at devices.

    It is run only where it is bound to fail, so that nothing is written. Nested tensors have no one shape.
    """
    if any(tensor.is_nested for tensor, _ in inputs):
        return
    try:
        shape = torch.broadcast_shapes(*(tensor.shape for tensor, _ in inputs))
    except RuntimeError:
        call.run()
        return
    if any(tensor.shape != shape for tensor, _ in inplace):
        call.run()


def numbers(call: Call) -> list[Operand]:
    """Return the numbers that were given in a tensor's place as what C++ makes of them: 0-dim tensors of the CPU."""
    places = [argument.name for argument in call.func._schema.arguments if str(argument.type) == "Tensor"]
    given = [name for name in places if isinstance(call.arguments.get(name), (int, float, complex))]
    return [(torch.empty(()), CPU) for _ in given]


def pointwise(
    call: Call, outputs: Sequence[Operand], inputs: Sequence[Operand], scalars: bool = True
) -> torch.device:
    """Judge a structured pointwise operator: what TensorIterator finds before the devices (shapes, dtypes) comes first."""
    try:
        return iterate(outputs, [*inputs, *numbers(call)], scalars)
    except RuntimeError as error:
        refused = error
    try:
        call.run_aside()
    except NotImplementedError:
        pass  # a dtype that the kernel lacks, which is found out last
    except RuntimeError as error:
        # the cast to the output's dtype is checked operand by operand, after the output's own device
        if "can't be cast" not in str(error) or outputs[0][1] == accelerator([*outputs, *inputs]):
            raise
    raise refused


def legacy_type(tensor: torch.Tensor, device: torch.device) -> str:
    """Return the tensor's type as PyTorch's older checks write it, e.g. "torch.cuda.FloatTensor"."""
    dtype = tensor.dtype
    name = SCALAR_TYPES.get(dtype, str(dtype).removeprefix("torch."))
    if name in LEGACY:
        return f"torch.{'cuda.' if device.type == 'cuda' else ''}{name}Tensor"
    return f"{device.type.upper()}{name}Type"
