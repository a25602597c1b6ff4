"""Indexing and masks, whose checks CUDA PyTorch wrote by hand."""

import torch

from devicelab.simgpu.families import CPU, Call, iterate, refuse

from .registry import Judges

judges = Judges()


@judges.of("index", "_unsafe_index")
def index(call: Call) -> torch.device:
    """TensorAdvancedIndexing.cpp, check_indices_on_cpu_or_selfdevice."""
    [(_, device)] = call.of("self")
    if any(other.type != "cpu" and other != device for _, other in call.of("indices")):
        refuse(f"indices should be either on cpu or on the same device as the indexed tensor ({device})")
    out = call.of("out")
    return iterate(out, call.of("self"), scalars=False) if out else device


@judges.of("index_put", "index_put_", "_unsafe_index_put", "_index_put_impl_")
def index_put(call: Call) -> torch.device:
    """TensorAdvancedIndexing.cpp, _index_put_impl_: indices are moved; 0-dim values too; other values are not."""
    [(_, device)] = call.of("self")
    [(values, where)] = call.of("values")
    if where == device or values.dim() == 0:
        return device
    if device.type == "cuda" and call.arguments.get("accumulate"):
        refuse(f"expected device {device} but got device {where} for value tensor")
    return iterate(call.of("self"), call.of("values"), scalars=False)


@judges.of("index_fill", "index_fill_")
def index_fill(call: Call) -> torch.device:
    """TensorAdvancedIndexing.cpp, index_fill_: TensorIterator over self and index; a 0-dim value is read by `.item()`."""
    return iterate(call.of("self"), call.of("index"), scalars=False)


@judges.of("masked_fill", "masked_fill_")
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
