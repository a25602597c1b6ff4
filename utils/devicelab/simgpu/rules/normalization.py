"""Normalization with a weight of another type than the input: what CUDA's kernels say, which the CPU's often compute."""

from collections.abc import Callable
from typing import Any

import torch

from devicelab.simgpu.machine.texts import SCALAR_TYPES

from .refusals import legacy_type, refuse

Given = Callable[[str], Any]  # an argument by its name
CARD = torch.device("cuda")


def as_the_input(given: Given) -> None:
    """cuda/layer_norm_kernel.cu and group_norm_kernel.cu read all operands as the input's type (`const_data_ptr<T>`)."""
    dtype = given("input").dtype
    for tensor in (given("weight"), given("bias")):
        if tensor is not None and tensor.dtype != dtype and given("input").numel():
            refuse(f"expected scalar type {SCALAR_TYPES[dtype]} but found {SCALAR_TYPES[tensor.dtype]}")


def batch(given: Given) -> None:
    """Normalization.cpp, _select_batch_norm_backend; cudnn/BatchNorm.cpp; cuda/Normalization.cuh, get_packed_accessor."""
    data, weight = given("input"), given("weight")
    if weight is not None and by_cudnn(data, weight, given("bias")):
        if data.dtype not in (torch.float16, weight.dtype):
            refuse(
                "Expected tensor for argument #1 'input' to have the same type as tensor for argument #2 'weight'; but type "
                f"{legacy_type(data, CARD)} does not equal {legacy_type(weight, CARD)} (while checking arguments for "
                "cudnn_batch_norm)"
            )
        return
    own = data.dtype if weight is None or weight.dtype == data.dtype else accumulated(data.dtype)
    for name in ("weight", "bias"):
        tensor = given(name)
        if tensor is not None and tensor.dtype != own:
            refuse(f"Expected {name} to have type {SCALAR_TYPES[own]} but got {SCALAR_TYPES[tensor.dtype]}")


def by_cudnn(data: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> bool:
    """Say whether cuDNN normalizes a batch, as far as types and dimensions decide."""
    types = torch.bfloat16 not in (data.dtype, weight.dtype)
    halves = data.dtype != torch.float16 or weight.dtype == torch.float32
    return types and halves and bias is not None and data.dim() >= 3 and torch.backends.cudnn.enabled


def accumulated(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which CUDA's kernels add (ATen/AccumulateType.h)."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
