"""Copies and factories: where any mix passes, or the option `device=` decides."""

import torch

from .refusals import CPU, Call, generated, refuse
from .register import Rules

rules = Rules()


@rules.of(
    "copy_",
    "copy",
    "fill_.Tensor",
    "fill.Tensor",
    "resize_as_",
    "is_same_size",
    "_has_same_storage_numel",
    "is_set_to",
)
@rules.of("bernoulli_.Tensor", "_to_copy", "set_data", "resize_as_sparse_")
@rules.of("_nested_view_from_buffer", "_nested_view_from_buffer_copy", "_nested_from_padded")
@rules.of("slice_scatter", "select_scatter", "diagonal_scatter", "as_strided_scatter")
def free(call: Call) -> torch.device:
    """Any mix is allowed.

    Copy.cpp; Fill.cpp (`value.item()`); cuda/Distributions.cpp (`p.to(self.device())`); TensorShape.cpp (scatters copy).
    The sizes of nested tensors are on the CPU, wherever the values are (nested/NestedTensorUtils.h).
    """
    return call.first()


@rules.of("linspace.Tensor_Tensor", "linspace.Tensor_Scalar", "linspace.Scalar_Tensor")
@rules.of("logspace.Tensor_Tensor", "logspace.Tensor_Scalar", "logspace.Scalar_Tensor")
def by_option(call: Call) -> torch.device:
    """RangeFactories.cpp: start and end are read by `.item()`; `device=` decides."""
    return call.arguments.get("device") or CPU


@rules.of("stack", "_stack")
def stack(call: Call) -> torch.device:
    """TensorShape.cpp: `at::cat` of the unsqueezed tensors."""
    return generated("wrapper_CUDA_cat", call.named("out", "tensors")) or CPU


@rules.of("set_.source_Tensor")
def set_source(call: Call) -> torch.device:
    """Resize.h, checkSetStorage."""
    [(_, device)], [(_, source)] = call.of("self"), call.of("source")
    if device != source:
        refuse(
            f'Attempted to set the storage of a tensor on device "{device}" to a storage on different device '
            f'"{source}".  This is no longer allowed; the devices must match.'
        )
    return device
