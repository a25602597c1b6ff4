"""Fourier transforms on a card, and the plans of cuFFT that they leave: aten/src/ATen/native/cuda/SpectralOps.cpp."""

from collections.abc import Hashable, Iterator
from typing import Any

import torch
from torch import Tensor

from devicelab.simgpu.machine.plans import Plans
from devicelab.simgpu.machine.texts import SCALAR_TYPES
from devicelab.simgpu.marks.place import is_on_card
from devicelab.simgpu.rules import dtypes, fourier

from .call import Calls
from .dtypes import SMALL, widened

MOST_DIMENSIONS = 3  # of one plan


def transform(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Transform, halves in a wider type, which the CPU's library refuses."""
    if not is_on_card(seen):
        return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)
    given, dims, last = args[0], list(args[1]), args[3]
    name = func._schema.name.removeprefix("aten::_fft_")
    lengths = {dim % given.dim(): given.shape[dim] for dim in dims}
    if name == "c2r":
        lengths[dims[-1] % given.dim()] = last
    kind = SCALAR_TYPES.get(given.dtype, "")
    if kind in SMALL:
        if given.dtype is not torch.bfloat16:
            fourier.check(list(lengths.values()))
        out = widened(mode, func, args, kwargs, dtypes.NARROWER[kind])
    else:
        out = mode.run(func, args, kwargs, seen)
    for plan in plans(name, given, lengths):
        seen.plans.use(plan)
    return out


def plans(name: str, given: Tensor, lengths: dict[int, int]) -> Iterator[Hashable]:
    """Yield the plans of a transform: one, or for more dimensions than cuFFT takes one for the reals and others."""
    dims = list(lengths)
    at_once = len(dims) <= MOST_DIMENSIONS and dims[:2] != [0, 1]
    if name != "c2c" and at_once:
        yield plan(name, given, lengths, dims)
        return
    if name != "c2c":
        yield plan(name, given, lengths, [dims.pop()])
    dims.sort(key=lambda dim: -given.stride()[dim])
    while dims:
        yield plan("c2c", given, lengths, dims[-MOST_DIMENSIONS:])
        del dims[-MOST_DIMENSIONS:]


def plan(name: str, given: Tensor, lengths: dict[int, int], dims: list[int]) -> Hashable:
    """Return what a plan is known by: kind and precision, the signal's sizes, and how the signals of a batch lie."""
    batch = sorted(set(range(given.dim())) - set(dims), key=lambda dim: -given.stride()[dim])
    laid = torch.empty_strided(given.shape, given.stride(), device="meta").permute(*batch, *dims)
    laid = laid.reshape(-1, *laid.shape[len(batch) :])
    return (
        name,
        given.real.dtype if given.is_complex() else given.dtype,
        laid.shape[0],
        laid.stride(),
        tuple(lengths[dim] for dim in dims),
    )


def of_card(mode: Calls, func: Any, args: Any) -> Plans:
    """Return the plans of the card with this number."""
    cards = mode.machine.cards
    if not 0 <= args[0] < len(cards):
        who = func._schema.name.removeprefix("aten::_")
        raise RuntimeError(
            f"{who}: expected 0 <= device_index < {len(cards)}], but got device_index={args[0]}"
        )
    return cards[args[0]].plans


def size(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> int:
    """Return how many plans are kept."""
    return len(of_card(mode, func, args).kept)


def most(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> int:
    """Return how many plans may be kept."""
    return of_card(mode, func, args).most


def limit(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> None:
    """Keep at most so many."""
    of_card(mode, func, args).limit(args[1])


def clear(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> None:
    """Forget all plans."""
    of_card(mode, func, args).kept.clear()


BY_NAME = {
    **{f"aten::_fft_{kind}": transform for kind in ("r2c", "c2r", "c2c")},
    "aten::_cufft_get_plan_cache_size": size,
    "aten::_cufft_get_plan_cache_max_size": most,
    "aten::_cufft_set_plan_cache_max_size": limit,
    "aten::_cufft_clear_plan_cache": clear,
}
