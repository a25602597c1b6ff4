"""The kernels of SyncBatchNorm, which only CUDA has: statistics of one rank, of all, and the gradients.

After aten/src/ATen/native/cuda/Normalization.cu and Normalization.cuh; halves are added in single precision.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from devicelab.simgpu.marks.place import is_on_card

from .call import Calls


def served(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs an operator that `compute` computes, on a card."""

    def run(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
        card = seen if is_on_card(seen) else None if seen is None else mode.settle(func, args, kwargs, seen)
        if card is None:
            return mode.host(func, args, kwargs)
        into = [kwargs[argument.name] for argument in func._schema.arguments if argument.is_out]
        rest = {name: value for name, value in kwargs.items() if not any(value is one for one in into)}
        out = compute(*args, **rest)
        for target, value in zip(into, out if isinstance(out, tuple) else (out,), strict=False):
            target.resize_(value.shape).copy_(value)
        out = out if not into else into[0] if len(into) == 1 else tuple(into)
        mode.finish(func, args, out, card)
        return out

    return run


def _wide(tensor: Tensor) -> Tensor:
    return cast(tensor, dtype=torch.float32) if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _over(tensor: Tensor) -> list[int]:
    """Return all dimensions but that of the channels."""
    return [number for number in range(tensor.dim()) if number != 1]


def _each(values: Tensor, beside: Tensor) -> Tensor:
    """Return a number for each channel in a shape that fits the batch."""
    return values.reshape([-1 if number == 1 else 1 for number in range(beside.dim())])


def stats(data: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return the mean and the inverse deviation of each channel."""
    variance, mean = torch.var_mean(_wide(data), _over(data), correction=0)
    return mean, torch.rsqrt(variance + eps)


def gather_stats(
    data: Tensor,
    means: Tensor,
    inverses: Tensor,
    running_mean: Tensor | None,
    running_variance: Tensor | None,
    momentum: float,
    eps: float,
    counts: Any,
) -> tuple[Tensor, Tensor]:
    """Return the mean and the inverse deviation of all ranks together, and move the running ones on."""
    counts = counts if isinstance(counts, Tensor) else torch.full((len(means),), counts)
    weights = cast(counts, dtype=means.dtype)[:, None]
    count = weights.sum()
    mean = (means * weights).sum(0) / count
    squares = ((inverses**-2 - eps) * weights + (means - mean) ** 2 * weights).sum(0)
    if running_mean is not None:
        running_mean.mul_(1 - momentum).add_(mean, alpha=momentum)
    if running_variance is not None:
        running_variance.mul_(1 - momentum).add_(squares / (count - 1), alpha=momentum)
    return mean, torch.rsqrt(squares / count + eps)


def elements(
    data: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, inverse: Tensor, eps: float
) -> Tensor:
    """Return the normalized batch."""
    out = (_wide(data) - _each(mean, data)) * _each(inverse, data)
    out = out if weight is None else out * _each(weight, data)
    return cast(out if bias is None else out + _each(bias, data), dtype=data.dtype)


def reduce_gradients(
    gradient: Tensor,
    data: Tensor,
    mean: Tensor,
    inverse: Tensor,
    weight: Tensor | None,
    wants_input: bool,
    wants_weight: bool,
    wants_bias: bool,
) -> tuple[Tensor | None, ...]:
    """Return the sums of one rank that the gradient of the batch needs from all, and the gradients of weight and bias."""
    wide = _wide(gradient)
    sums = wide.sum(_over(data))
    products = (wide * (_wide(data) - _each(mean, data))).sum(_over(data))
    kind = sums.dtype if weight is None else weight.dtype
    of_weight = cast(products * inverse, dtype=kind) if wants_weight else None
    of_bias = cast(sums, dtype=kind) if wants_bias else None
    return (sums if wants_input else None, products if wants_input else None, of_weight, of_bias)


def gradients(
    gradient: Tensor,
    data: Tensor,
    mean: Tensor,
    inverse: Tensor,
    weight: Tensor | None,
    sums: Tensor,
    products: Tensor,
    counts: Tensor,
) -> Tensor:
    """Return the gradient of one rank's batch."""
    count = counts.sum()
    away = (_wide(data) - _each(mean, data)) * _each(inverse**2 * products / count, data)
    scale = inverse if weight is None else inverse * weight
    return cast((_wide(gradient) - _each(sums / count, data) - away) * _each(scale, data), dtype=data.dtype)


cast = torch.ops.aten._to_copy.default
SERVED = {
    "batch_norm_stats": served(stats),
    "batch_norm_gather_stats": served(gather_stats),
    "batch_norm_gather_stats_with_counts": served(gather_stats),
    "batch_norm_elemt": served(elements),
    "batch_norm_backward_reduce": served(reduce_gradients),
    "batch_norm_backward_elemt": served(gradients),
}
