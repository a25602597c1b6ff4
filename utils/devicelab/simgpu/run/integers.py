"""What CUDA does otherwise with integers: matrix products, which it lacks, and divisions by zero, which it does not notice.

Products, of eight-bit floats too: PyTorch, aten/src/ATen/native/cuda/Blas.cpp (the names given to AT_DISPATCH); the
messages as users meet them: pytorch/pytorch issues 44428 and 138829. Divisions: the docstring of torch.fmod, "Integer division
by zero on GPU may return any value".
"""

from collections.abc import Callable
from typing import Any

import torch

from devicelab.simgpu.machine.texts import SCALAR_TYPES
from devicelab.simgpu.marks.place import home, is_on_card
from devicelab.simgpu.rules.refusals import lacking, refuse

from .call import Calls

KERNELS = {
    "mm": "addmm_cuda",
    "addmm": "addmm_cuda",
    "_addmm_activation": "addmm_cuda",
    "bmm": "baddbmm_cuda",
    "baddbmm": "baddbmm_cuda",
    "addbmm": "baddbmm_cuda",
    "mv": "addmv_impl_cuda",
    "addmv": "addmv_impl_cuda",
    "dot": "dot",
    "vdot": "dot",
}

BLAS = (  # AT_DISPATCH_FLOATING_AND_COMPLEX_TYPES_AND2(kHalf, kBFloat16, ...)
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
)  # fmt: skip


def product(kernel: str) -> Callable[..., Any]:
    """Return what runs a matrix product, on a card only for the types that CUDA's kernel has."""

    def run(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
        if seen is None:
            return mode.host(func, args, kwargs)
        # What CUDA checks before it looks for its kernel comes first.
        out = mode.run(func, args, kwargs, seen)
        if out.dtype not in BLAS and out.numel() and home(out) is not None:
            raise lacking(kernel, SCALAR_TYPES.get(out.dtype, str(out.dtype)))
        return out

    return run


def bytes_product(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Multiply matrices of bytes (torch._int_mm), on a card of the sizes and the type that cuBLAS takes (cuda/Blas.cpp)."""
    if not is_on_card(seen):
        return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)
    first, second = args[:2]
    for name, tensor in (("self", first), ("mat2", second)):
        if tensor.dim() != 2:
            refuse(f"Expected {name} to be of dimension 2 but got {tensor.dim()}")
    rows, inner = first.shape
    if rows <= 16:
        refuse(f"self.size(0) needs to be greater than 16, but got {rows}")
    check_multiple("self", inner)
    if inner != second.shape[0]:
        refuse(f"self.size(1) needs to match mat2.size(0) but got {inner} and {second.shape[0]}")
    check_multiple("mat2", second.shape[1])
    for tensor in (first, second):
        if tensor.dtype != torch.int8:
            refuse(f"expected scalar type Char but found {SCALAR_TYPES.get(tensor.dtype, str(tensor.dtype))}")
    return mode.run(func, args, kwargs, seen)


def check_multiple(name: str, size: int) -> None:
    """Refuse a size that is no multiple of 8."""
    if size == 0 or size % 8:
        refuse(f"{name}.size(1) needs to be greater than 0 and a multiple of 8, but got {size}")


DIVISIONS = ("floor_divide", "remainder", "fmod")
ROUNDED = ("Tensor_mode", "Scalar_mode", "out_mode")  # the overloads of div that give integers


def divides(func: Any) -> bool:
    """Say whether an operator divides integers into integers."""
    name = func._schema.name.removeprefix("aten::").removesuffix("_")
    return name in DIVISIONS or (name in ("div", "divide") and func._schema.overload_name in ROUNDED)


def division(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a division of integers; by zero it gives -1 (all bits set) on a card, where any value may come."""
    if seen is None:
        return mode.host(func, args, kwargs)
    is_in_place = func._schema.name.endswith("_") and not args[0].is_floating_point()
    before = args[0].clone() if is_in_place else None  # the CPU stops in the middle
    try:
        return mode.run(func, args, kwargs, seen)
    except RuntimeError as error:
        if str(error) != "ZeroDivisionError" or all(
            home(value) is None for value in args if is_tensor(value)
        ):
            raise
    if before is not None:
        args[0].copy_(before)
    divisor = (
        args[1] if is_tensor(args[1]) else torch.ops.aten.scalar_tensor.default(args[1], dtype=torch.int64)
    )
    is_zero = torch.ops.aten.eq.Scalar(divisor, 0)
    one = torch.ops.aten.masked_fill.Scalar(divisor, is_zero, 1)
    out = mode.run(func, (args[0], one if is_tensor(args[1]) else 1, *args[2:]), kwargs, seen)
    torch.ops.aten.masked_fill_.Scalar(
        out, is_zero, -1 if out.dtype.is_signed else 2 ** (8 * out.itemsize) - 1
    )
    return out


def is_tensor(value: Any) -> bool:
    """Say whether an argument is a tensor."""
    return isinstance(value, torch.Tensor)


BY_NAME: dict[str, Callable[..., Any]] = {
    **{f"aten::{name}{form}": product(kernel) for name, kernel in KERNELS.items() for form in ("", "_")},
    "aten::_int_mm": bytes_product,
}
