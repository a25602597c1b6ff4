"""Layers: for which kernel CUDA PyTorch decides, and what the composite around it checks first."""

from collections.abc import Iterable

import torch

from devicelab.simgpu.machine.texts import SCALAR_TYPES

from .refusals import CPU, Call, generated, refuse
from .register import Rules

rules = Rules()


@rules.of("embedding")
def embedding(call: Call) -> torch.device:
    """Embedding.cpp: `weight.index_select(0, indices)`."""
    checked = [*call.renamed(weight="self", indices="index")]
    return generated("wrapper_CUDA__index_select", checked) or CPU


@rules.of("native_batch_norm")
def native_batch_norm(call: Call) -> torch.device:
    """Normalization.cpp, _select_batch_norm_backend: cuDNN's kernel for a CUDA input where it can."""
    checked = call.named("input", "weight", "bias", "running_mean", "running_var")
    name = "_cudnn_batch_norm" if cudnn_normalizes(call) else "_native_batch_norm"
    return generated(f"wrapper_CUDA_{name}", checked) or CPU


def cudnn_normalizes(call: Call) -> bool:
    """Say whether batch_norm would choose cuDNN."""
    [(given, device)] = call.of("input")
    weight, bias = call.of("weight"), call.of("bias")
    tracked = len(call.of("running_mean", "running_var"))
    if device.type != "cuda" or not weight or not bias or given.dim() < 3 or not torch.backends.cudnn.enabled:
        return False
    training = bool(call.arguments.get("training"))
    if torch.bfloat16 in (given.dtype, weight[0][0].dtype):
        return False
    if given.dtype == torch.float16 and weight[0][0].dtype != torch.float32:
        return False
    return (tracked == 2 or (tracked == 0 and training)) and given.shape[0] <= (880801 if training else 65535)


@rules.of("grid_sampler_2d", "grid_sampler_3d")
def grid_sampler(call: Call) -> torch.device:
    """GridSamplerUtils.h, check_grid_sampler_common, which the composite grid_sampler calls first."""
    [(_, given)], [(_, grid)] = call.of("input"), call.of("grid")
    if given != grid:
        refuse(
            "grid_sampler(): expected input and grid to be on same device, but input is on "
            f"{given} and grid is on {grid}"
        )
    return given


@rules.of("_weight_norm_interface")
def weight_norm(call: Call) -> torch.device:
    """WeightNorm.cpp, _weight_norm."""
    [(_, v)], [(_, g)] = call.of("v"), call.of("g")
    if v != g:
        refuse(
            "weight_norm: expected v_in and g_in to be on the same device, but v_in is on "
            f"{v} and g_in is on {g}"
        )
    return v


@rules.of("_scaled_dot_product_flash_attention_for_cpu")
def attention(call: Call) -> torch.device:
    """transformers/attention.cpp, validate_sdpa_input; a mask on another device meets the fused kernel's check."""
    [(_, query)], [(_, key)], [(_, value)] = call.of("query"), call.of("key"), call.of("value")
    check_attention(query, key, value)
    name = "_scaled_dot_product_efficient_attention"
    checked = [("query", query), ("key", key), ("value", value), *call.renamed(attn_mask="attn_bias")]
    return generated(f"wrapper_CUDA__{name}", checked) or query


def check_attention(query: torch.device, key: torch.device, value: torch.device) -> None:
    """Raise attention's own error where query, key and value are on different devices."""
    if not query == key == value:
        refuse(
            "Expected query, key, and value to have the same device type, but got query.device: "
            f"{query} key.device: {key} and value.device: {value} instead."
        )


@rules.of("mkldnn_rnn_layer")
def rnn_layer(call: Call) -> torch.device:
    """RNN.h, check_attributes, which CUDA's `lstm` and `_cudnn_rnn` call: hidden states first, then parameters."""
    [(_, given)] = call.of("input")
    hidden = [device for _, device in call.of("hx_", "cx_")]
    check_rnn(given, hidden, [device for _, device in call.of("weight0", "weight1", "weight2", "weight3")])
    return given


def check_rnn(given: torch.device, hidden: list[torch.device], parameters: list[torch.device]) -> None:
    """Raise the recurrent networks' own error for the first tensor that is not where the input is."""
    for name, devices in (("hidden", hidden), ("parameter", parameters)):
        for device in devices:
            if device != given:
                refuse(
                    f"Input and {name} tensors are not at the same device, found input tensor at {given} "
                    f"and {name} tensor at {device}"
                )


def check_rnn_types(
    data: torch.Tensor, hidden: Iterable[torch.Tensor], parameters: Iterable[torch.Tensor]
) -> None:
    """RNN.h, check_attributes, as cudnn/RNN.cpp calls it: with types."""
    for name, tensors in (("hidden", hidden), ("parameter", parameters)):
        for tensor in tensors:
            if tensor.dtype != data.dtype:
                refuse(
                    f"Input and {name} tensors are not the same dtype, found input tensor with {SCALAR_TYPES[data.dtype]} "
                    f"and {name} tensor with {SCALAR_TYPES[tensor.dtype]}"
                )


@rules.of("_pack_padded_sequence")
def pack_padded_sequence(call: Call) -> torch.device:
    """PackedSequence.cpp: lengths must be on the CPU, wherever the input is."""
    [(lengths, device)] = call.of("lengths")
    check_lengths(lengths, device)
    return call.first()


def check_lengths(lengths: torch.Tensor, device: torch.device) -> None:
    """Raise packing's own error unless the lengths are a list in the CPU's memory."""
    if device.type != "cpu" or lengths.dim() != 1 or lengths.dtype != torch.int64:
        kind = SCALAR_TYPES.get(lengths.dtype, "BFloat16")
        refuse(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {lengths.dim()}D {device} {kind} tensor"
        )


@rules.of("conv_tbc")
def conv_tbc(call: Call) -> torch.device:
    """ConvolutionTBC.cpp: the bias is copied, then `addmm_` for each kernel position."""
    return (
        generated("wrapper_CUDA_addmm_", [("self", call.first()), *call.renamed(self="mat1", weight="mat2")])
        or CPU
    )


@rules.of("_trilinear")
def trilinear(call: Call) -> torch.device:
    """Linear.cpp, _trilinear: two batched matrix products (sumproduct_pair), the first two tensors first."""
    device = generated("wrapper_CUDA_bmm", call.renamed(i1="self", i2="mat2"))
    return generated("wrapper_CUDA_bmm", [("self", device or CPU), *call.renamed(i3="mat2")]) or CPU
