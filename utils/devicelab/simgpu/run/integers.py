"""Matrix products of integers: the CPU has them, CUDA has not, and says which kernel is missing.

Source: PyTorch, aten/src/ATen/native/cuda/Blas.cpp (the names given to AT_DISPATCH_FLOATING_AND_COMPLEX_TYPES_AND2);
the messages as users meet them: pytorch/pytorch issues 44428 and 138829.
"""

from collections.abc import Callable
from typing import Any

from devicelab.simgpu.machine.texts import SCALAR_TYPES
from devicelab.simgpu.marks.place import home

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


def product(kernel: str) -> Callable[..., Any]:
    """Return what runs a matrix product, on a card only for the types that CUDA's kernel has."""

    def run(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
        if seen is None:
            return mode.host(func, args, kwargs)
        # What CUDA checks before it looks for its kernel comes first.
        out = mode.run(func, args, kwargs, seen)
        is_integer = not (out.is_floating_point() or out.is_complex())
        missing = SCALAR_TYPES.get(out.dtype) if is_integer else None
        if missing and out.numel() and home(out) is not None:
            raise NotImplementedError(f"\"{kernel}\" not implemented for '{missing}'")
        return out

    return run


BY_NAME = {f"aten::{name}{form}": product(kernel) for name, kernel in KERNELS.items() for form in ("", "_")}
