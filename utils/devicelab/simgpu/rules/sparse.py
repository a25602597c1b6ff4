"""Sparse tensors: sums of which one part lies elsewhere, and constructors whose parts lie apart, which no dispatch mode sees.

Which words a constructor has was read from the same calls with parts on the meta device; those of the invariants stand
in PyTorch's own tests (test/test_sparse_csr.py).
"""

from typing import Any

import torch
from torch.sparse import check_sparse_tensor_invariants as invariants

from devicelab.simgpu.marks.marks import COMPRESSED_COLUMNS, device_of

from .refusals import Call, refuse
from .refusals import pointwise as structured
from .register import Rules

rules = Rules()


@rules.of("add.Tensor", "add_.Tensor", "add.out", "sub.Tensor", "sub_.Tensor", "sub.out")
def add(call: Call) -> torch.device:
    """sparse/cuda/SparseCUDATensorMath.cu, add_out_dense_sparse_cuda and add_out_sparse_cuda; else TensorIterator."""
    is_inplace = call.func._schema.name.endswith("_")
    if any(tensor.layout is torch.sparse_coo for tensor, _ in call.of("self", "other")):
        is_dense = call.of("self")[0][0].layout is torch.strided
        words = ("a CUDA tensor", "a CPU tensor") if is_dense else ("CUDA", "CPU")
        for name, device in call.named("self", "other", "out"):
            if device.type == "cpu":
                refuse(f"add: expected '{name}' to be {words[0]}, but got {words[1]}")
    return structured(call, call.of("self") if is_inplace else call.of("out"), call.of("self", "other"))


def together(name: str, parts: Any, kwargs: dict[str, Any]) -> None:
    """SparseCsrTensorImpl.cpp, set_member_tensors; before it, where they are asked for, ValidateCompressedIndicesCommon.h."""
    pointers, plain, values = (
        device_of(part) if isinstance(part, torch.Tensor) else torch.device("cpu") for part in parts
    )
    by_columns = "csc" in name or "bsc" in name or kwargs.get("layout") in COMPRESSED_COLUMNS
    names = NAMES[by_columns]
    if kwargs.get("check_invariants", invariants.is_enabled()):
        valid(names[0], pointers, plain, values)
    for device, kind in zip((pointers, plain), names, strict=True):
        if device != values:
            refuse(f"Values and {kind} need to be on the same device.")


def valid(name: str, pointers: torch.device, plain: torch.device, values: torch.device) -> None:
    """Raise what the check of a compressed tensor's invariants says of devices."""
    if pointers != plain:
        one, other = sorted((pointers, plain), key=lambda device: device.type == "cpu")  # the card first
        refuse(
            f"Expected all tensors to be on the same device, but found at least two devices, {one} and {other}!"
        )
    if pointers != values:
        refuse(f"device of {name} (={pointers}) must match device of values (={values})")


NAMES = (("crow_indices", "col_indices"), ("ccol_indices", "row_indices"))  # by rows, by columns
