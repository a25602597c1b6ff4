"""Indexing and masks, whose checks CUDA PyTorch wrote by hand."""

import torch

from .refusals import CPU, IMPROVE, Call, generated, iterate, refuse
from .register import Rules

rules = Rules()


@rules.of("index", "_unsafe_index")
def index(call: Call) -> torch.device:
    """TensorAdvancedIndexing.cpp, check_indices_on_cpu_or_selfdevice."""
    [(_, device)] = call.of("self")
    if any(other.type != "cpu" and other != device for _, other in call.of("indices")):
        refuse(f"indices should be either on cpu or on the same device as the indexed tensor ({device})")
    out = call.of("out")
    return iterate(out, call.of("self"), scalars=False) if out else device


@rules.of("index_put", "index_put_", "_unsafe_index_put", "_index_put_impl_")
def index_put(call: Call) -> torch.device:
    """TensorAdvancedIndexing.cpp, _index_put_impl_: indices are moved; 0-dim values too; other values are not."""
    [(_, device)] = call.of("self")
    [(values, where)] = call.of("values")
    if where == device or values.dim() == 0:
        return device
    if device.type == "cuda" and call.arguments.get("accumulate"):
        refuse(f"expected device {device} but got device {where} for value tensor")
    return iterate(call.of("self"), call.of("values"), scalars=False)


@rules.of("index_fill", "index_fill_")
def index_fill(call: Call) -> torch.device:
    """TensorAdvancedIndexing.cpp, index_fill_: TensorIterator over self and index; a 0-dim value is read by `.item()`."""
    return iterate(call.of("self"), call.of("index"), scalars=False)


@rules.of("masked_fill", "masked_fill_")
def masked_fill(call: Call) -> torch.device:
    """cuda/Indexing.cu, masked_fill__cuda."""
    [(_, device)] = call.of("self")
    [(_, mask)] = call.of("mask")
    if call.of("value") and device == CPU:
        refuse("masked_fill_: Expected inputs to be on same device")
    if mask != device:
        refuse(
            f"expected self and mask to be on the same device, but got mask on {mask} and self on {device}"
        )
    return device


@rules.of("masked_scatter", "put")
def inplace_on_clone(call: Call) -> torch.device:
    """TensorAdvancedIndexing.cpp: `self.clone()`, then the in-place kernel checks."""
    name = call.func._schema.name.split("::")[1]
    return generated(f"wrapper_CUDA__{name}_", call.named(*call.tensors)) or CPU


@rules.of("searchsorted.Tensor", "searchsorted.Scalar")
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


@rules.of("segment_reduce")
def segment_reduce(call: Call) -> torch.device:
    """SegmentReduce.cpp: a check without words."""
    for name in ("lengths", "offsets"):
        if any(device != call.first() for _, device in call.of(name)):
            refuse(
                f"Expected data.get_device() == {name}_value.get_device() to be true, but got false.{IMPROVE}"
            )
    return call.first()


@rules.of("sort.values")
def sort(call: Call) -> torch.device:
    """Sorting.cpp: the stable kernel's out= checks."""
    return generated("wrapper_CUDA_sort_out_values_stable", call.named("values", "indices", "self")) or CPU


@rules.of("max.unary_out", "min.unary_out")
def extreme(call: Call) -> torch.device:
    """ReduceAllOps.cpp: a check without words."""
    if call.of("self")[0][1] != call.of("out")[0][1]:
        refuse(f"Expected self.device() == out.device() to be true, but got false.{IMPROVE}")
    return call.first()


@rules.of("cummax.out", "cummin.out", "logcumsumexp.out")
def cumulative(call: Call) -> torch.device:
    """ReduceOpsUtils.h, check_scalar_type_device_layout_equal; for values, then for indices."""
    [(given, device)] = call.of("self")
    for name in ("values", "out", "indices"):
        for tensor, other in call.of(name):
            if name != "indices" and tensor.dtype != given.dtype:
                call.run()  # types come first
            same_as_input(device, other)
    return device


def same_as_input(expected: torch.device, found: torch.device) -> None:
    """Do as check_scalar_type_device_layout_equal."""
    if found != expected:
        refuse(f"expected device {expected} but found {found}")


@rules.of("mode.values")
def mode(call: Call) -> torch.device:
    """ReduceOps.cpp, mode_out."""
    [(_, device)] = call.of("self")
    for name in ("values", "indices"):
        [(_, other)] = call.of(name)
        if other != device:
            refuse(f"expected device '{device}' but got '{other}' for {name} output")
    return device
