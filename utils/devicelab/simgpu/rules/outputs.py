"""out= tensors that lie elsewhere: what CUDA PyTorch checks in functions that it then takes apart into operators.

The words are those that PyTorch gives for an output on the meta device, which the same checks refuse.
"""

from typing import Any

import torch

from .functions import CHECKS as CHECKS  # with those of this module
from .functions import before, place
from .indexing import same_as_input
from .refusals import refuse

# By the function's name, as C++ calls it in the error.
BY_NAME = {
    "linalg_cond": "linalg.cond",
    "linalg_matrix_norm": "linalg.matrix_norm",
    "linalg_matrix_power": "matrix_power",
    "linalg_matrix_rank": "torch.linalg.matrix_rank",
    "linalg_norm": "linalg.norm",
    "linalg_pinv": "linalg.pinv",
    "linalg_tensorinv": "tensorinv",
    "linalg_tensorsolve": "tensorsolve",
    "linalg_vecdot": "linalg.vecdot",
    "nuclear_norm": "linalg.matrix_norm",
}
SWAPPED = (
    "linalg.matrix_norm",
    "linalg.norm",
    "linalg.vecdot",
)  # C++ gives the check its arguments the other way round


@before("input", "torch._VF.nuclear_norm", *(f"torch._C._linalg.{n}" for n in BY_NAME if n[:6] == "linalg"))
def same_device(given: dict[str, Any]) -> None:
    """LinearAlgebraUtils.h, checkSameDevice."""
    name, out = BY_NAME[given["function"]], given.get("out")
    if not isinstance(out, torch.Tensor) or place(out) == place(given["input"]):
        return
    pair = [place(out), place(given["input"])]
    result, data = reversed(pair) if name in SWAPPED else pair
    refuse(
        f"{name}: Expected result and input tensors to be on the same device, but got result on {result} and input on {data}"
    )


@before("input other", "torch.inner", "torch.Tensor.inner")
def inner(given: dict[str, Any]) -> None:
    """LinearAlgebra.cpp, inner, by checkDeviceType of ATen/TensorUtils.cpp: the kind of device only."""
    kind = place(given["input"]).type
    for tensor in (given.get("out"), given["input"], given["other"]):
        if isinstance(tensor, torch.Tensor) and place(tensor).type != kind:
            refuse(
                f"Expected tensor to have {kind} DeviceType, but got tensor with {place(tensor).type} DeviceType "
                "(while checking arguments for inner())"
            )


@before("input", "torch._C._special.special_ndtr")
def ndtr(given: dict[str, Any]) -> None:
    """UnaryOps.cpp, special_ndtr_out."""
    device, out = place(given["input"]), given.get("out")
    if isinstance(out, torch.Tensor) and place(out) != device:
        refuse(
            f"Expected all tensors to be on the same device, but found at least two devices, {device} and {place(out)}!"
        )


@before("input n", "torch.diff")
def diff(given: dict[str, Any]) -> None:
    """ReduceOps.cpp, diff_out_helper, by check_scalar_type_device_layout_equal: of the zeroth difference, which is a copy."""
    device, out = place(given["input"]), given.get("out")
    if given["n"] == 0 and isinstance(out, torch.Tensor):
        same_as_input(device, place(out))


@before("input", *(f"torch.{name}" for name in ("combinations", "trapezoid", "trapz", "vander")))
def from_nothing(given: dict[str, Any]) -> None:
    """Nothing is checked: the stand-in says where a result lies that is made of nothing."""
