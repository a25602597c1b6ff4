"""What cuDNN's kernel for attention cannot do, each with the words of PyTorch's warning (sources: `attention_checks`)."""

import torch

from .attention_checks import Params


def nested_to_cudnn(params: Params) -> str | None:
    """Refuse nested tensors: check_for_nested_inputs."""
    return "Experimental cuDNN SDPA nested tensor support is not enabled." if params.nested else None


def mask_shape(params: Params) -> str | None:
    """Refuse masks of other shapes: check_attn_mask_shape, which is silent about most."""
    mask = params.attn_mask
    if mask is None:
        return None
    wanted = (params.query.size(0), params.query.size(1), params.query.size(2), params.key.size(2))
    fits = [one in (1, size) for one, size in zip(reversed(mask.shape), reversed(wanted), strict=False)]
    if mask.requires_grad or not all(fits[:2]):
        return ""
    if mask.dim() == 2 or (mask.dim() == 4 and all(fits)):
        return None
    return (
        "Please use the following attn mask shapes: 2d - ({Q_seq_len, 1}  x {KV_seq_len, 1}); "
        "4d - ({Batch, 1} x {Num_heads, 1} x {Q_seq_len, 1}  x {KV_seq_len, 1})"
    )


def deterministic(params: Params) -> str | None:
    """Refuse where determinism is asked for: check_cudnn_deterministic."""
    strict = (
        torch.are_deterministic_algorithms_enabled()
        and not torch.is_deterministic_algorithms_warn_only_enabled()
    )
    return "cuDNN SDPA is not deterministic." if strict else None


def cudnn_dropout(params: Params) -> str | None:
    """Refuse a fine probability: check_cudnn_dropout."""
    if params.dropout * 16 == int(params.dropout * 16):
        return None
    return (
        "cuDNN dropout probability resolution is limited to 1/16.Use a dropout probability that is a multiple of 1/16 to "
        "select the cuDNN backend"
    )


def cudnn_heads(params: Params) -> str | None:
    """Refuse other heads and lengths of one: check_cudnn_tensor_shapes, for the cuDNN that wheels require."""
    widths = params.query.size(-1), params.value.size(-1)
    hopper = params.capability[0] in (9, 10)
    limit = 192 if hopper and widths == (192, 128) else 128
    if max(widths) > limit:
        return f"head_dim should be no more than {limit}"
    if any(width % 8 for width in widths):
        return "head_dim should be a multiple of 8"
    if params.key.size(2) == 1:
        return "cudnn SDPA does not support key/value sequence length 1."
    if params.dropout and params.query.size(2) == 1:
        return "cudnn SDPA does not support query sequence length 1 with dropout."
    return None
