"""Copies, factories and linear algebra: where CUDA PyTorch takes another path than the schema says, or lets any mix pass."""

import torch

from devicelab.simgpu import kernels
from devicelab.simgpu.families import CPU, Call, generated, refuse

from .registry import Judges

judges = Judges()


@judges.of(
    "copy_",
    "copy",
    "fill_.Tensor",
    "fill.Tensor",
    "resize_as_",
    "is_same_size",
    "_has_same_storage_numel",
    "is_set_to",
)
@judges.of("bernoulli_.Tensor", "_to_copy", "set_data", "resize_as_sparse_")
@judges.of("slice_scatter", "select_scatter", "diagonal_scatter", "as_strided_scatter")
def free(call: Call) -> torch.device:
    """Any mix is allowed.

    Copy.cpp; Fill.cpp (`value.item()`); cuda/Distributions.cpp (`p.to(self.device())`); TensorShape.cpp (scatters copy).
    """
    return call.first()


@judges.of("linspace.Tensor_Tensor", "linspace.Tensor_Scalar", "linspace.Scalar_Tensor")
@judges.of("logspace.Tensor_Tensor", "logspace.Tensor_Scalar", "logspace.Scalar_Tensor")
def by_option(call: Call) -> torch.device:
    """RangeFactories.cpp: start and end are read by `.item()`; `device=` decides."""
    return call.arguments.get("device") or CPU


@judges.of("mv")
def mv(call: Call) -> torch.device:
    """Blas.cpp: the result is made where `vec` is, then `addmv_(result, self, vec)`."""
    [(_, result)] = call.of("vec")
    checked = [("self", result), *call.renamed(self="mat", vec="vec")]
    return generated("wrapper_CUDA_addmv_", checked) or CPU


@judges.of("stack", "_stack")
def stack(call: Call) -> torch.device:
    """TensorShape.cpp: `at::cat` of the unsqueezed tensors."""
    return generated("wrapper_CUDA_cat", call.named("out", "tensors")) or CPU


@judges.of("complex", "polar", "linalg_lstsq")
def through_out(call: Call) -> torch.device:
    """TensorFactories.cpp, BatchLinearAlgebra.cpp: results are made where the first tensor is, then the out= kernel checks."""
    name = call.func._schema.name.split("::")[1]
    checked = [("out", call.first()), *call.named("real", "imag", "abs", "angle", "self", "b")]
    return generated(f"wrapper_CUDA_out_{name}_out", checked) or CPU


@judges.of("masked_scatter", "put")
def inplace_on_clone(call: Call) -> torch.device:
    """TensorAdvancedIndexing.cpp: `self.clone()`, then the in-place kernel checks."""
    name = call.func._schema.name.split("::")[1]
    return generated(f"wrapper_CUDA__{name}_", call.named(*call.tensors)) or CPU


@judges.of("searchsorted.Tensor", "searchsorted.Scalar")
def searchsorted(call: Call) -> torch.device:
    """BucketizationUtils.h, searchsorted_pre_check: the sorter, which the generated check leaves out."""
    overload = call.func._schema.overload_name
    device = generated(f"wrapper_CUDA_{overload}_searchsorted", call.named("sorted_sequence", "self")) or CPU
    for _, sorter in call.of("sorter"):
        if sorter != device:
            refuse(
                "torch.searchsorted(): sorter and boundary tensors should have same device type, but got sorter tensor "
                f"device type {sorter} and input value tensor device type {device}"
            )
    return device


@judges.of("segment_reduce")
def segment_reduce(call: Call) -> torch.device:
    """SegmentReduce.cpp: a check without words."""
    for name in ("lengths", "offsets"):
        if any(device != call.first() for _, device in call.of(name)):
            refuse(
                f"Expected data.get_device() == {name}_value.get_device() to be true, but got false.  (Could this error "
                "message be improved?  If so, please report an enhancement request to PyTorch.)"
            )
    return call.first()


@judges.of("sort.values")
def sort(call: Call) -> torch.device:
    """Sorting.cpp: the stable kernel's out= checks."""
    return generated("wrapper_CUDA_sort_out_values_stable", call.named("values", "indices", "self")) or CPU


@judges.of("_sparse_addmm")
def sparse_addmm(call: Call) -> torch.device:
    """SparseTensorMath.cpp: `at::addmm`, by the kernel for the first matrix's layout."""
    key = kernels.dispatch_key([tensor for tensor, _ in call.all()])
    return generated(f"wrapper_{key}__addmm", call.named("self", "mat1", "mat2")) or CPU


@judges.of("block_diag")
def block_diag(call: Call) -> torch.device:
    """TensorShape.cpp, block_diag."""
    devices = [device for _, device in call.of("tensors")]
    for number, device in enumerate(devices):
        if device != devices[0]:
            refuse(
                "torch.block_diag: input tensors must all be on the same device. Input 0 is on device "
                f"{devices[0]} and input {number} is on device {device}"
            )
    return devices[0]


@judges.of("cholesky_solve", "_cholesky_solve_helper")
def cholesky_solve(call: Call) -> torch.device:
    """LinearAlgebraUtils.h, linearSolveCheckInputs."""
    [(_, b)], [(_, a)] = call.of("self"), call.of("input2", "A")
    if a != b:
        refuse(f"Expected b and A to be on the same device, but found b on {b} and A on {a} instead.")
    return b


@judges.of("set_.source_Tensor")
def set_source(call: Call) -> torch.device:
    """Resize.h, checkSetStorage."""
    [(_, device)], [(_, source)] = call.of("self"), call.of("source")
    if device != source:
        refuse(
            f'Attempted to set the storage of a tensor on device "{device}" to a storage on different device '
            f'"{source}".  This is no longer allowed; the devices must match.'
        )
    return device


@judges.of(
    "_fused_adam_.tensor_lr", "_fused_adamw_.tensor_lr", "_fused_sgd_.tensor_lr", "_fused_adagrad_.tensor_lr"
)
def fused_with_tensor_lr(call: Call) -> torch.device:
    """cuda/FusedAdamKernel.cu: lr may be on the CPU; the rest is checked by hand."""
    device = call.first()
    for name in ("grad_scale", "found_inf", "lr"):
        for _, other in call.of(name):
            if other != device and not (name == "lr" and other.type == "cpu"):
                refuse(f"{name} must be on the same GPU device as the params")
    lists = [name for name in call.tensors if name not in ("lr", "grad_scale", "found_inf", "state_steps")]
    if any(other != device for _, other in call.of(*lists)):
        refuse("params, grads, exp_avgs, and exp_avg_sqs must have same dtype, device, and layout")
    return device
