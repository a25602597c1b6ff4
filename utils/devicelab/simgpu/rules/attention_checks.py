"""What CUDA's fused kernels for attention cannot do, each with the words of PyTorch's warning.

Source: aten/src/ATen/native/transformers/cuda/sdp_utils.cpp (main, 2026) and sdp_utils_cpp.h, which every wheel holds: where
releases differ, the installed one's header says which rule it has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from devicelab.simgpu.machine.texts import SCALAR_TYPES
from devicelab.simgpu.marks.marks import device_of

RANGE = ((8, 0), (12, 1))
# The name of a type in C++, as a warning prints it.
CPP_TYPES = {
    torch.float16: "c10::Half",
    torch.bfloat16: "c10::BFloat16",
    torch.float32: "float",
    torch.float64: "double",
}


@dataclass(frozen=True)
class Params:
    """What the choice of the kernel depends on."""

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None
    dropout: float
    is_causal: bool
    enable_gqa: bool
    capability: tuple[int, int]

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value."""
        return self.query, self.key, self.value

    @property
    def trains(self) -> bool:
        """Whether gradients will be asked for."""
        return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in self.tensors)

    @property
    def nested(self) -> bool:
        """Whether an input is a nested tensor."""
        return any(tensor.is_nested for tensor in self.tensors)


Check = Callable[[Params], str | None]  # why not, or None; "" where PyTorch does not say


@cache
def header() -> str:
    """Return the installed PyTorch's sdp_utils_cpp.h."""
    path = Path(torch.__file__).parent / "include/ATen/native/transformers/sdp_utils_cpp.h"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def sm(params: Params) -> str:
    """Return the capability as the warnings print it."""
    return "{}.{}".format(*params.capability)


def each(params: Params, what: str, of: Callable[[Tensor], Any]) -> str:
    """Return "Query dim: 4, Key dim: 4, Value dim: 4" and its kin."""
    names = ("Query", "Key", "Value")
    return ", ".join(f"{name}{what}: {of(t)}" for name, t in zip(names, params.tensors, strict=True))


def enabled(name: str, is_on: Callable[[], bool]) -> Check:
    """Return the check whether a kernel was switched off."""
    return lambda params: None if is_on() else f"{name} attention has been runtime disabled."


def on_card(params: Params) -> str | None:
    """Refuse tensors elsewhere: check_all_tensors_on_device."""
    if device_of(params.query).type == "cuda":
        return None
    places = ", ".join(
        f"{name} on device: {device_of(tensor)}"
        for name, tensor in zip(("query", "key", "value"), params.tensors, strict=True)
    )
    return f"All tensors need to be on cuda device. Got {places}"


def four_dimensions(params: Params) -> str | None:
    """Refuse other numbers of dimensions: check_tensor_shapes."""
    if all(tensor.dim() == 4 for tensor in params.tensors):
        return None
    found = each(params, " dim", lambda tensor: tensor.dim())
    return f"All fused kernels requires query, key and value to be 4 dimensional, but got {found} instead."


def no_mask(params: Params) -> str | None:
    """Refuse a mask: check_for_attn_mask."""
    return "Flash Attention does not support non-null attn_mask." if params.attn_mask is not None else None


def sizes(params: Params) -> str:
    """Return the last sizes as the warnings print them."""
    return "Got " + each(params, ".size(-1)", lambda tensor: tensor.size(-1)) + " instead."


def flash_heads(params: Params) -> str | None:
    """Refuse heads that are too wide: check_head_dim_size_flash, and the one for nested tensors."""
    widths = {tensor.size(-1) for tensor in params.tensors}
    if len(widths) > 1 or max(widths) > 256:
        limit = "requires q,k,v to have the same last dimension and to be less than or equal to 256. "
        return f"Flash attention {limit}{sizes(params)}"
    return None


def nested_heads(params: Params) -> str | None:
    """Refuse heads of nested tensors: check_head_dim_size_flash_nested."""
    if params.query.size(-1) % 8:
        limit = "requires q,k,v to have the same last dimension and to be a multiple of 8 and less than or equal to 256. "
        return f"For NestedTensor inputs, Flash attention {limit}{sizes(params)}"
    return None


def capable(name: str, lowest: tuple[int, int], params: Params) -> str | None:
    """Refuse a card: check_flash_attention_hardware_support and its kin."""
    if lowest <= params.capability <= RANGE[1]:
        return None
    return (
        f"{name} only supports gpu architectures in the range [sm{lowest[0]}{lowest[1]}, sm121]. "
        f"Attempting to run on a sm {sm(params)} gpu."
    )


def wide_heads_train(params: Params) -> str | None:
    """Refuse training wide heads on consumer cards: check_requires_grad_and_head_dim_gt192_..."""
    small = (8, 6) <= params.capability <= (8, 9) or (12, 0) <= params.capability <= (12, 1)
    width = params.query.size(-1)
    if not (params.trains and small) or width <= 192 or (params.dropout == 0 and width > 224):
        return None
    return (
        "Flash attention currently doesn't support training with head_dim ∈ (192, 224] or (head_dim ∈ (224, 256] and "
        "dropout > 0.0) on gpu architectures in the range[sm86, sm89].Attempting to run with dropout set to: "
        f"{params.dropout:g}and head_dim: {width} on a sm {sm(params)} gpu."
    )


def square_if_causal(params: Params) -> str | None:
    """Refuse a causal mask that is not square: check_flash_causal_non_square_seqlens."""
    if not params.is_causal or params.nested or params.query.size(-2) == params.key.size(-2):
        return None
    return (
        "Flash attention does not support the is_causal flag when seqlen_q != seqlen_k. Got seqlen_q: "
        f"{params.query.size(-2)} seqlen_k: {params.key.size(-2)}. If you would like to use causal attention with "
        "non-square masks, please see CausalAttnMask."
    )


def dtypes(
    before_ampere: tuple[torch.dtype, ...], since: tuple[torch.dtype, ...], params: Params
) -> str | None:
    """Refuse a type: check_tensor_dtype."""
    allowed = since if params.capability >= (8, 0) else before_ampere
    if len({tensor.dtype for tensor in params.tensors}) == 1 and params.query.dtype in allowed:
        return None
    found = each(params, " dtype", lambda tensor: CPP_TYPES.get(tensor.dtype, str(tensor.dtype)))
    names = ", ".join(SCALAR_TYPES[dtype] for dtype in allowed)
    found = ", and Value".join(found.rsplit(", Value", 1))
    return f"Expected query, key and value to all be of dtype: {{{names}}}. Got {found} instead."


def batch_and_heads(gqa: bool, params: Params) -> str | None:
    """Refuse other numbers of batches or heads: check_batch_size_and_num_heads_dense."""
    batches, heads = ([tensor.size(at) for tensor in params.tensors] for at in (0, -3))
    later = "supports_mqa" in header()
    if len(set(batches)) > 1:
        words = (
            "For dense inputs, both fused kernels require query, key and value to have the same batch_size. "
        )
        found = (
            "Got " + each(params, " batch_size", lambda t: t.size(0))
            if later
            else each(params, ".sizes()", shape)
        )
        return f"{words}{found} instead. {EXPAND}"
    if params.enable_gqa and gqa:
        return grouped(params, later)
    if len(set(heads)) == 1 or (later and heads[1] == heads[2] == 1):
        return None
    words = "For dense input, both fused kernels require query, key and value to have the same num_heads. "
    found = (
        each(params, ".sizes()", shape)
        .replace("Key.sizes", "Key sizes")
        .replace("Value.sizes", "Value sizes")
    )
    found = "Got " + each(params, " num_heads", lambda t: t.size(-3)) if later else found
    return f"{words}{found} instead. {EXPAND}"


EXPAND = "To broadcast dense inputs, try using unsqueeze and expand_to before passing them into the kernel."


def shape(tensor: Tensor) -> list[int]:
    """Return the sizes, which C++ prints like a list."""
    return list(tensor.shape)


def grouped(params: Params, later: bool) -> str | None:
    """Refuse groups of heads that do not fit: check_grouped_query_attention."""
    query, key, value = (tensor.size(-3) for tensor in params.tensors)
    if key != value:
        return "Both fused kernels require key and value to have the same num_heads" + (
            f". Got Key num_heads: {key}, Value num_heads: {value}, Query num_heads: {query} instead."
            if later
            else " and batch_size but got: "
            f"Key sizes: {shape(params.key)}, Value sizes: {shape(params.value)}, Query sizes: {shape(params.query)} instead."
        )
    if key and query % key == 0:
        return None
    found = (
        f"Got Key num_heads: {key}, Value num_heads: {value}, Query num_heads: {query}"
        if later
        else f"Got input Key sizes(): {key}, Value sizes(): {value}, Query sizes(): {query}"
    )
    return f"The number of heads in key/value must divide number of heads in query.{found} instead."


def nonzero_lengths(params: Params) -> str | None:
    """Refuse empty sequences: check_nonzero_sequence_lengths_dense."""
    empty = 0 in (params.query.size(-2), params.key.size(-2))
    return "All fused kernels do not support zero seq_len_q or seq_len_kv." if empty else None


def last_stride(ignore_single: bool, params: Params) -> str | None:
    """Refuse a last dimension that is not contiguous: check_last_dim_stride_equals_1_dense."""
    close = all(tensor.stride(-1) == 1 for tensor in params.tensors) or (
        ignore_single and params.query.size(-1) == 1
    )
    mask = params.attn_mask
    if close and (mask is None or mask.stride(-1) == 1):
        return None
    found = each(params, ".stride(-1)", lambda tensor: tensor.stride(-1))
    found += "" if mask is None else f", Attn_mask.stride(-1): {mask.stride(-1)}"
    return f"All fused kernels require the last dimension of the input to have stride 1. Got {found} instead."


def alignment(params: Params) -> int:
    """Return to how many values the efficient kernel's heads are aligned: minimum_gemm_alignment."""
    half = params.query.dtype in (torch.float16, torch.bfloat16)
    tensor_cores = params.capability >= (8, 0) or (params.capability >= (7, 0) and half)
    return max(4 if params.capability >= (8, 0) else 1, (8 if half else 4) if tensor_cores else 1)


def efficient_heads(params: Params) -> str | None:
    """Refuse heads that are not aligned: check_head_dim_size_mem_efficient."""
    query, key, value = (tensor.size(-1) for tensor in params.tensors)
    step = alignment(params)
    if query == key and query > 0 and value > 0 and query % step == value % step == 0:
        return None
    return f"Mem efficient attention requires last dimension of inputs to be divisible by {step}. {sizes(params)}"


def pointers(params: Params) -> str | None:
    """Refuse tensors that begin between two aligned places: check_data_ptr_alignment_mem_efficient."""
    step = alignment(params) * params.query.element_size()
    odd = [
        tensor.storage_offset() * tensor.element_size() % step
        for tensor in params.tensors
        if not params.nested
    ]
    if params.capability < (8, 0) or not any(odd) or not all(tensor.numel() for tensor in params.tensors):
        return None
    end = ".storage_offset() * element_size % alignment_bytes: "
    found = ", ".join(f"{name}{end}{rest}" for name, rest in zip(("query", "key", "value"), odd, strict=True))
    return (
        "Mem efficient attention on sm80 or newer requires q, k, and v storage offsets * element_size to be aligned to "
        f"{step} bytes. Got {found}."
    )


def nested_trains(params: Params) -> str | None:
    """Refuse training of nested tensors: check_requires_grad_and_nested."""
    return (
        "Memory efficient attention currently doesn't support training with NT inputs."
        if params.trains
        else None
    )
