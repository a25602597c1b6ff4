"""Which of CUDA's kernels for attention a call gets, by the card's compute capability; and why not, in PyTorch's words.

Source: aten/src/ATen/native/transformers/cuda/sdp_utils.cpp (main, 2026), select_sdp_backend and can_use_...
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from devicelab import versions
from devicelab.simgpu.marks.marks import card_of

from . import attention_checks as checks
from . import attention_cudnn as for_cudnn
from .attention_checks import Check, Params, header
from .refusals import refuse

MATH, FLASH, EFFICIENT, CUDNN = 0, 1, 2, 3  # ATen/SDPBackend.h
HALVES = (torch.float16, torch.bfloat16)
# cuDNN that the wheels of PyPI require, from each release of PyTorch on (their requirement nvidia-cudnn-cu12 or -cu13).
CUDNN_VERSIONS = {(2, 8): 91002, (2, 11): 91900, (2, 12): 92000, (2, 14): 92400}
CUDNN_BEFORE_TURING = 91002  # later ones refuse such cards (torch/backends/cudnn/__init__.py)


def cudnn_version(capability: tuple[int, int]) -> int:
    """Return the number that torch.backends.cudnn.version() gives."""
    here = versions.release(torch.__version__)
    newest = [number for since, number in CUDNN_VERSIONS.items() if since <= here or since == (2, 8)][-1]
    return newest if capability >= (7, 5) else min(newest, CUDNN_BEFORE_TURING)


def enabled(name: str, is_on: Callable[[], bool]) -> Check:
    """Return the check whether a kernel was switched off."""
    return lambda params: None if is_on() else f"{name} attention has been runtime disabled."


AMPERE = (8, 0)
EFFICIENT_TYPES = ((torch.float16, torch.float32), (torch.float16, torch.float32, torch.bfloat16))
FLASH_CHECKS: list[Check] = [
    enabled("Flash", torch._C._get_flash_sdp_enabled),
    checks.on_card,
    checks.four_dimensions,
    checks.no_mask,
    checks.flash_heads,
    partial(checks.capable, "Flash attention", AMPERE),
    checks.wide_heads_train,
    checks.square_if_causal,
    partial(checks.dtypes, (torch.float16,), HALVES),
]
FLASH_DENSE: list[Check] = [
    partial(checks.batch_and_heads, True),
    checks.nonzero_lengths,
    partial(checks.last_stride, True),
]
EFFICIENT_CHECKS: list[Check] = [
    enabled("Memory Efficient", torch._C._get_mem_efficient_sdp_enabled),
    checks.on_card,
    partial(checks.capable, "Mem Efficient Attention", (5, 0)),
    checks.four_dimensions,
    checks.efficient_heads,
    checks.pointers,
]
EFFICIENT_DENSE: list[Check] = [
    checks.nonzero_lengths,
    partial(checks.last_stride, False),
    # Grouped heads came to this kernel with those of the header's supports_mqa.
    lambda params: checks.batch_and_heads("supports_mqa" in header(), params),
]
CUDNN_CHECKS: list[Check] = [
    enabled("cuDNN", torch._C._get_cudnn_sdp_enabled),
    for_cudnn.nested_to_cudnn,
    checks.on_card,
    checks.four_dimensions,
    for_cudnn.deterministic,
    partial(checks.dtypes, (torch.float16,), HALVES),
    for_cudnn.mask_shape,
    partial(checks.capable, "cuDNN MHA", AMPERE),
    for_cudnn.cudnn_dropout,
]
CUDNN_DENSE: list[Check] = [
    checks.nonzero_lengths,
    partial(checks.last_stride, True),
    partial(checks.batch_and_heads, True),
    for_cudnn.cudnn_heads,
]


def flash(params: Params) -> str | None:
    """Say why FlashAttention cannot be used, or None."""
    return first(params, FLASH_CHECKS, FLASH_DENSE, [checks.nested_heads])


def efficient(params: Params) -> str | None:
    """Say why the memory-efficient kernel cannot be used, or None."""
    types = partial(checks.dtypes, *EFFICIENT_TYPES)
    return first(params, EFFICIENT_CHECKS, [*EFFICIENT_DENSE, types], [checks.nested_trains, types])


def cudnn(params: Params) -> str | None:
    """Say why cuDNN's kernel cannot be used, or None."""
    if params.dropout > 0 and 91100 < (number := cudnn_version(params.capability)) < 91400:
        return f"{number} cuDNN version does not support droppout in SDPA (9.11 - 9.13)."
    return first(params, CUDNN_CHECKS, CUDNN_DENSE, [])


def first(params: Params, general: list[Check], dense: list[Check], nested: list[Check]) -> str | None:
    """Return what the first check says that refuses."""
    for check in (*general, *(nested if params.nested else dense)):
        reason = check(params)
        if reason is not None:
            return reason
    return None


REASONS = {FLASH: flash, EFFICIENT: efficient, CUDNN: cudnn}
TITLES = {EFFICIENT: "Memory efficient", FLASH: "Flash attention", CUDNN: "cuDNN attention"}


def choose(params: Params) -> int | None:
    """Return the kernel that CUDA would take, None where all are switched off; refuse where none can be used."""
    params = batched(params)
    math = torch._C._get_math_sdp_enabled()
    on = (
        torch._C._get_flash_sdp_enabled,
        torch._C._get_mem_efficient_sdp_enabled,
        torch._C._get_cudnn_sdp_enabled,
    )
    if not math and not any(is_on() for is_on in on):
        return None
    for backend in order(params.capability):
        if backend == MATH and math:
            return MATH
        if backend in REASONS and REASONS[backend](params) is None:
            return backend
    for backend, title in TITLES.items():
        warn(f"{title} kernel not used because:")
        warn(REASONS[backend](params) or "")
    refuse("No available kernel. Aborting execution.")


def order(capability: tuple[int, int]) -> list[int]:
    """Return the kernels, the preferred one first: on Hopper and later that of a new cuDNN (check_prefer_cudnn_attention)."""
    set_by_user = list(torch._C._get_sdp_priority_order())
    if (
        set_by_user[:3] == [FLASH, EFFICIENT, MATH]
        and capability[0] in (9, 10)
        and cudnn_version(capability) > 91500
    ):
        return [CUDNN, *(backend for backend in set_by_user if backend != CUDNN)]
    return set_by_user


def batched(params: Params) -> Params:
    """Give unbatched inputs a batch, where this PyTorch does (normalize_unbatched_input)."""
    if (
        "normalize_unbatched_input" not in header()
        or params.nested
        or any(t.dim() != 3 for t in params.tensors)
    ):
        return params
    query, key, value = (tensor.unsqueeze(0) for tensor in params.tensors)
    mask = params.attn_mask
    while mask is not None and mask.dim() < 4:
        mask = mask.unsqueeze(0)
    return replace(params, query=query, key=key, value=value, attn_mask=mask)


def params_of(given: dict[str, Any]) -> Params:
    """Read the arguments of scaled_dot_product_attention, whose query lies on a card."""
    query = given["query"]
    return Params(
        query,
        given["key"],
        given["value"],
        given.get("attn_mask"),
        given.get("dropout_p", 0.0),
        given.get("is_causal", False),
        given.get("enable_gqa", False),
        card_of(query).spec.capability,  # type: ignore[union-attr]
    )


@contextmanager
def computed(kernel: int) -> Iterator[None]:
    """Have the CPU compute what a kernel of the card would: in parts where that is `math`, else at once."""
    now = torch._C._get_flash_sdp_enabled(), torch._C._get_math_sdp_enabled()
    wanted = kernel != MATH, True
    if now == wanted:
        yield
        return
    switch(*wanted)
    try:
        yield
    finally:
        switch(*now)


def switch(fused: bool, math: bool) -> None:
    """Switch the CPU's two kernels."""
    torch._C._set_sdp_use_flash(fused)
    torch._C._set_sdp_use_math(math)


def can_use(backend: int, params: Params, debug: bool) -> bool:
    """Answer torch.backends.cuda.can_use_flash_attention and its kin."""
    reason = REASONS[backend](batched(params))
    if debug and reason:
        warn(reason)
    return reason is None


def warn(text: str) -> None:
    """Warn as C++ does."""
    if text:
        warnings.warn(text, UserWarning, stacklevel=4)
