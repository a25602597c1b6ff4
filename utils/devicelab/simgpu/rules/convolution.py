"""Convolution: which kernel CUDA PyTorch would choose for tensors on different devices, and what that one says.

Source: Convolution.cpp (_select_conv_backend, use_mkldnn, is_depthwise, check_input_same_type_as_parameters).
"""

from dataclasses import dataclass
from typing import Any

import torch

from .refusals import CPU, Call, Operand, generated, iterate, legacy_type, missing, refuse
from .register import Rules


@dataclass(frozen=True)
class Shape:
    """What the choice of the kernel depends on; one-dimensional convolutions are looked at as two-dimensional ones."""

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    strided: bool
    dilated: bool
    transposed: bool
    groups: int
    big_output_padding: bool


rules = Rules()


@rules.of("convolution", "_convolution", "convolution_overrideable")
def convolution(call: Call) -> torch.device:
    """Rule a convolution; its shape errors come first."""
    call.run()
    [given], [weight], bias = call.of("input"), call.of("weight"), call.of("bias")
    shape = shape_of(call.arguments, given[0], weight[0])
    if given[1].type == "cuda":
        return on_card(shape, given, weight, bias)
    if uses_mkldnn(shape, given[0]):
        same_types(given, weight, bias, " or input should be a MKLDNN tensor and {} is a dense tensor")
    name = slow_kernel(shape)
    if name is None:
        missing("slow_conv3d_forward")
    checked = [("self", given[1]), ("weight", weight[1]), *(("bias", device) for _, device in bias)]
    return generated(name, checked) or CPU


def shape_of(arguments: dict[str, Any], given: torch.Tensor, weight: torch.Tensor) -> Shape:
    """Collect what the choice of the kernel depends on."""
    sizes, kernel = tuple(given.shape), tuple(weight.shape)
    if len(sizes) == 3:
        sizes, kernel = (*sizes[:2], 1, sizes[2]), (*kernel[:2], 1, kernel[2])
    stride, padding = list(arguments["stride"]), list(arguments["output_padding"])
    return Shape(
        sizes,
        kernel,
        strided=any(step != 1 for step in stride),
        dilated=any(step != 1 for step in arguments["dilation"]),
        transposed=bool(arguments["transposed"]),
        groups=arguments["groups"],
        big_output_padding=any(
            pad >= step for pad, step in zip(padding, stride * len(padding), strict=False)
        ),
    )


def on_card(shape: Shape, given: Operand, weight: Operand, bias: list[Operand]) -> torch.device:
    """Rule a convolution whose input is on a card: cuDNN, or the kernel for depthwise convolution."""
    depthwise = (
        1 < shape.groups == shape.sizes[1] and shape.kernel[0] % shape.sizes[1] == 0 and not shape.transposed
    )
    channels_last = (
        given[0].is_contiguous(memory_format=torch.channels_last) if given[0].dim() == 4 else False
    )
    if depthwise and len(shape.sizes) == 4 and not channels_last:
        checked = [("self", given[1]), ("weight", weight[1]), *(("bias", device) for _, device in bias)]
        return generated("wrapper_CUDA___conv_depthwise2d", checked) or CPU
    same_types(given, weight, bias, "")
    wrapper = "wrapper_CUDA__cudnn_convolution" + ("_transpose" if shape.transposed else "")
    generated(wrapper, [("self", given[1]), ("weight", weight[1])])
    return iterate([given], [given, *bias])


def same_types(given: Operand, weight: Operand, bias: list[Operand], unless: str) -> None:
    """Raise where weight or bias has another dtype or type of device; two cards are one type."""
    for name, (tensor, device) in [("weight", weight), *(("bias", operand) for operand in bias)]:
        if device.type != given[1].type or tensor.dtype != given[0].dtype:
            refuse(
                f"Input type ({legacy_type(*given)}) and {name} type ({legacy_type(tensor, device)}) should be the same"
                + unless.format(name)
            )


def uses_mkldnn(shape: Shape, given: torch.Tensor) -> bool:
    """Say whether a convolution of a CPU input would be oneDNN's, which every CUDA build has."""
    if not torch._C._get_mkldnn_enabled():
        return False
    if shape.transposed and shape.big_output_padding:
        return False
    if given.dtype in (torch.bfloat16, torch.float16):
        return True
    sizes, kernel = shape.sizes, shape.kernel
    pointwise = kernel[-1] == kernel[-2] == 1 and sizes[0] < 16 and not shape.strided and not shape.dilated
    large = sizes[0] > 1 or sizes[0] * sizes[1] * sizes[2] * sizes[3] > 20480
    worth_it = shape.groups > 1 or (kernel[-1] > 3 and kernel[-2] > 3) or large
    return given.dtype == torch.float32 and worth_it and not (pointwise and torch.get_num_threads() == 1)


def slow_kernel(shape: Shape) -> str | None:
    """Return the wrapper of the kernel for a small CPU input, or None where CUDA has no such kernel."""
    flat = len(shape.sizes) == 4
    if shape.transposed:
        return "wrapper_CUDA_slow_conv_transpose2d" if flat else "wrapper_CUDA__slow_conv_transpose3d"
    if shape.dilated:
        return f"wrapper_CUDA__slow_conv_dilated{2 if flat else 3}d"
    return "wrapper_CUDA___slow_conv2d_forward" if flat else None
