"""Normalization on a card: its types are looked at once its shapes are found to be right."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from devicelab.simgpu.marks.place import is_on_card
from devicelab.simgpu.rules import normalization
from devicelab.simgpu.rules.nondeterministic import argument

from .call import Calls

MIXED = "mixed dtype (CPU)"


def checked(check: Callable[[normalization.Given], None], says_so: bool = False) -> Callable[..., Any]:
    """Return what runs a normalization; `says_so`: on CUDA too the words of `MIXED` come (group_norm.cpp serves both)."""

    def run(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
        if not is_on_card(seen):
            return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)
        refused, out = None, None
        try:
            out = mode.run(func, args, kwargs, seen)
        except RuntimeError as error:
            if says_so or MIXED not in str(error):
                raise
            refused = error
        check(partial(argument, func, args, kwargs))
        if refused is not None:
            raise refused
        return out

    return run


def layer(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Normalize halves with single-precision statistics, rounded once (cuda/layer_norm_kernel.cu, `acc_type`)."""
    given = [value for value in args if isinstance(value, Tensor)]
    if not is_on_card(seen) or kwargs or {value.dtype for value in given} not in SMALL:
        return AS_THE_INPUT(mode, func, args, kwargs, seen)
    normalized, *statistics = func(*widened(args))
    out = (cast(normalized, dtype=args[0].dtype), *statistics)
    mode.finish(func, args, out, seen)
    return out


def layer_backward(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Go back through it, with the statistics as they were kept."""
    if not is_on_card(seen) or kwargs or {args[1].dtype} not in SMALL or args[3].dtype != torch.float32:
        return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)
    out = tuple(
        value if value is None else cast(value, dtype=args[1].dtype) for value in func(*widened(args))
    )
    mode.finish(func, args, out, seen)
    return out


def batch(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Normalize halves over a batch with single-precision statistics (cuda/Normalization.cuh, `acc_type`)."""
    given = [value for value in args if isinstance(value, Tensor)]
    if not is_on_card(seen) or kwargs or {value.dtype for value in given} not in SMALL:
        return AS_A_BATCH(mode, func, args, kwargs, seen)
    wide = widened(args)
    normalized, *others = func(*wide)
    for mine, theirs in zip(args[3:5], wide[3:5], strict=True):
        if isinstance(mine, Tensor):  # running means, written to whatever the schema says
            copy_(mine, theirs)
    out = (cast(normalized, dtype=args[0].dtype), *others)
    mode.finish(func, args, out, seen)
    return out


def batch_backward(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Go back through it, with the statistics as they were kept."""
    given = {value.dtype for value in args[:3] if isinstance(value, Tensor)}
    if not is_on_card(seen) or kwargs or given not in SMALL:
        return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)
    small = args[1].dtype
    wide = [
        cast(value, dtype=torch.float32) if isinstance(value, Tensor) and value.dtype == small else value
        for value in args
    ]
    out = tuple(value if value is None else cast(value, dtype=small) for value in func(*wide))
    mode.finish(func, args, out, seen)
    return out


def widened(args: Any) -> list[Any]:
    """Return a call's arguments with its tensors in single precision."""
    return [cast(value, dtype=torch.float32) if isinstance(value, Tensor) else value for value in args]


SMALL = ({torch.float16}, {torch.bfloat16})
AS_THE_INPUT = checked(normalization.as_the_input)
AS_A_BATCH = checked(normalization.batch)
cast = torch.ops.aten._to_copy.default
copy_ = torch.ops.aten.copy_.default
BY_NAME = {
    "aten::native_layer_norm": layer,
    "aten::native_layer_norm_backward": layer_backward,
    "aten::native_group_norm": checked(normalization.as_the_input, says_so=True),
    **dict.fromkeys(
        ("aten::native_batch_norm", "aten::_native_batch_norm_legit", "aten::_batch_norm_with_update"), batch
    ),
    **dict.fromkeys(("aten::native_batch_norm_backward", "aten::batch_norm_backward"), batch_backward),
}
