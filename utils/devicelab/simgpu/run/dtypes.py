"""Operators on types for which only one of CUDA and the CPU has a kernel (`rules/dtypes.py`): refused, or computed wider."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map

from devicelab.simgpu.machine.texts import SCALAR_TYPES
from devicelab.simgpu.marks.marks import Tensor
from devicelab.simgpu.marks.place import home, is_on_card
from devicelab.simgpu.rules import dtypes
from devicelab.simgpu.rules.refusals import lacking, refuse

from . import integers, only
from .call import Calls

ALIEN = re.compile(r"\"\w+\" not implemented for '(\w+)'")  # AT_DISPATCH, ATen/Dispatch.h
TYPES = {name: dtype for dtype, name in SCALAR_TYPES.items()}
NONE = (
    "{} is not implemented for '{}' on the simulated GPU: the CPU, which computes its values, has no kernel for this type. "
    "Whether CUDA has one is not known here."
)
SMALL = ("Half", "BFloat16", "ComplexHalf")
cast = torch.ops.aten._to_copy.default


def typed(handler: Callable[..., Any] | None) -> Callable[..., Any]:
    """Have an operator refuse, on a card, the types that CUDA's kernel lacks; what CUDA checks before comes first."""

    def run(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
        promotes = isinstance(args[1], Tensor) if len(args) == 2 else False
        if is_on_card(seen) and func._schema.is_mutable:
            dtypes.check(func, args, kwargs, args[0].dtype)
        if handler is not None:
            out = handler(mode, func, args, kwargs, seen)
        else:
            out = mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)
        first = out if isinstance(out, Tensor) else out[0]
        if seen is not None and first.numel() and home(first) is not None:
            dtypes.check(func, args, kwargs, first.dtype if promotes else args[0].dtype)
        return out

    return run


def nansum(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Sum complex numbers but those that are not numbers, which the CPU refuses."""
    given = args[0]
    if not (is_on_card(seen) and given.is_complex() and func._schema.overload_name == ""):
        return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)
    if given.dtype == torch.complex32:
        return widened(mode, func, args, kwargs, torch.complex64)
    marked = mode.treat(torch.ops.aten.isnan.default, (), (given,), {})
    given = mode.treat(torch.ops.aten.masked_fill.Scalar, (), (given, marked, 0), {})
    if not (args[1:] and args[1]):  # over all dimensions
        args = (given, list(range(given.dim())), *args[2:])
    return mode.treat(torch.ops.aten.sum.dim_IntList, (), (given, *args[1:]), kwargs)


def scaled(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Multiply matrices of eight-bit floats, which only young cards can (cuda/Blas.cpp, _scaled_mm_out_cuda)."""
    if not is_on_card(seen):
        return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)
    if seen.spec.capability < (8, 9):
        refuse(SCALED)
    if args[0].dtype == args[1].dtype == torch.float8_e5m2:
        raise ValueError("Multiplication of two Float8_e5m2 matrices is not supported")
    return mode.run(func, args, kwargs, seen)


def softmax(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Take the softmax of halves into single precision, which only CUDA has (cuda/SoftMax.cu, host_softmax)."""
    if not (is_on_card(seen) and args[2:] and args[2]):
        return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)
    if args[0].dtype != torch.float16:
        refuse("conversion is supported for Half type only")
    wide = mode.treat(cast, (), (args[0],), {"dtype": torch.float32})
    return mode.treat(func, (), (wide, args[1], False), kwargs)


SCALED = (
    "torch._scaled_mm is only supported on CUDA devices with compute capability >= 9.0 or 8.9, or ROCm MI300+"
)
BY_NAME = {
    "aten::nansum": nansum,
    **dict.fromkeys(("aten::_softmax", "aten::_log_softmax"), softmax),
    **dict.fromkeys(("aten::_scaled_mm", "aten::_scaled_mm_v2"), scaled),
}


def retry(mode: Calls, func: Any, args: Any, kwargs: Any, error: NotImplementedError) -> Any:
    """Run an operator in a wider type where the CPU has no kernel and CUDA has one; say so where that is not known."""
    found = ALIEN.match(str(error))
    given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    if hasattr(error, "of_cuda") or not only.on_card(args, kwargs):
        raise error
    if found is None:
        raise only.translated(error, func)
    wide = dtypes.wider(func, found[1], dtypes.by_cusparse(given))
    if wide is None:
        dtypes.check(func, args, kwargs, TYPES[found[1]])
        kernel = dtypes.without(func, found[1]) or integers.KERNELS.get(dtypes.name_of(func))
        if kernel is not None and all(tensor.layout is torch.strided for tensor in given):
            raise lacking(kernel, found[1]) from None
        raise NotImplementedError(NONE.format(func._schema.name, found[1])) from None
    return widened(mode, func, args, kwargs, wide)


def widened(mode: Calls, func: Any, args: Any, kwargs: Any, wide: torch.dtype) -> Any:
    """Run an operator on its tensors in another type, and cast the results, and what it writes to, back."""
    narrow = next(
        t.dtype for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor) and is_narrow(t.dtype, wide)
    )

    def up(value: Any) -> Any:
        if isinstance(value, Tensor) and value.dtype == narrow:
            return mode.treat(cast, (), (value,), {"dtype": wide})
        return wide if value == narrow and isinstance(value, torch.dtype) else value

    def down(value: Any) -> Any:
        if not isinstance(value, Tensor) or (target := BACK.get((value.dtype, narrow))) is None:
            return value
        return mode.treat(cast, (), (value,), {"dtype": target})

    wide_args, wide_kwargs = tree_map(up, args), tree_map(up, kwargs)
    out = mode.treat(func, (), wide_args, wide_kwargs)
    written = [
        argument.name
        for argument in func._schema.arguments
        if argument.alias_info and argument.alias_info.is_write
    ]
    if not written:
        return tree_map(down, out)
    for number, argument in enumerate(func._schema.arguments):
        if argument.name in written:
            mine, theirs = (
                pair[number] if number < len(args) else named[argument.name]
                for pair, named in ((args, kwargs), (wide_args, wide_kwargs))
            )
            if mine is not theirs:
                if mine.layout is torch.strided:
                    mode.treat(torch.ops.aten.resize_.default, (), (mine, list(theirs.shape)), {})
                mode.treat(torch.ops.aten.copy_.default, (), (mine, theirs), {})
    back = {
        id(theirs): mine
        for mine, theirs in zip(
            tree_flatten((args, kwargs))[0], tree_flatten((wide_args, wide_kwargs))[0], strict=True
        )
    }
    return tree_map(lambda value: back.get(id(value), down(value)), out)


def is_narrow(dtype: torch.dtype, wide: torch.dtype) -> bool:
    """Say whether a wider type computes for this one."""
    return dtypes.NARROWER.get(SCALAR_TYPES.get(dtype, "")) == wide


BACK = {  # (type of a wide result, type that was asked for): type of the result
    (torch.float32, torch.float16): torch.float16,
    (torch.complex64, torch.float16): torch.complex32,
    (torch.float32, torch.bfloat16): torch.bfloat16,
    (torch.complex64, torch.complex32): torch.complex32,
    (torch.float32, torch.complex32): torch.float16,
    (torch.uint8, torch.bool): torch.bool,
    **{
        (torch.float64, dtype): dtype
        for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    },
}
