"""Linear algebra that CUDA does by other libraries than the CPU: least squares, drivers of the SVD, LU without pivoting.

Source: aten/src/ATen/native/BatchLinearAlgebra.cpp and cuda/linalg/BatchLinearAlgebraLib.cpp.
"""

from typing import Any

import torch

from devicelab.simgpu.marks.marks import Tensor
from devicelab.simgpu.marks.place import is_on_card
from devicelab.simgpu.rules.nondeterministic import argument
from devicelab.simgpu.rules.refusals import refuse

from .call import Calls

GELS = "torch.linalg.lstsq: `driver` other than `gels` is not supported on CUDA"
DRIVERS = ("gesvd", "gesvdj", "gesvda")
UNKNOWN = (
    "torch.linalg.svd: unknown svd driver {} in svd_cusolver computation. Check doc at "
    "https://pytorch.org/docs/stable/generated/torch.linalg.svd.html"
)


def plain(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run an operator as it is."""
    return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)


def least_squares(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Solve least squares by `gels`, CUDA's only driver, which says no rank; of a matrix without full rank it makes NaN."""
    if not is_on_card(seen):
        return plain(mode, func, args, kwargs, seen)
    driver = kwargs.get("driver")
    if driver is not None and driver.lower() in ("gelsy", "gelsd", "gelss"):
        refuse(GELS)
    try:
        return mode.run(func, args, {**kwargs, "driver": driver or "gels"}, seen)
    except torch.linalg.LinAlgError:  # cuSOLVER does not look
        out = mode.run(func, args, {**kwargs, "driver": "gelsy"}, seen)
        out[0].fill_(torch.nan)
        out[2].resize_(0)
        return out


def singular_values(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Decompose by the CPU's one driver, whichever of cuSOLVER's is named."""
    driver = kwargs.get("driver")
    if not is_on_card(seen) or driver is None:
        return plain(mode, func, args, kwargs, seen)
    if driver not in DRIVERS:
        refuse(UNKNOWN.format(driver))
    return mode.run(func, args, {**kwargs, "driver": None}, seen)


def factors(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Factor a matrix into L and U, also without pivoting, which only CUDA does."""
    if seen is None or argument(func, args, kwargs, "pivot") is not False:
        return plain(mode, func, args, kwargs, seen)
    card = seen if is_on_card(seen) else mode.settle(func, args, kwargs, seen)
    if card is None:
        return plain(mode, func, args, kwargs, None)
    packed, pivots, info = unpivoted(args[0])
    made = [packed, pivots, info]
    if "linalg_lu_factor" not in func._schema.name:
        count = pivots.shape[-1]
        lower = packed[..., :, :count].tril(-1)
        lower.diagonal(dim1=-2, dim2=-1).fill_(1)
        made = [packed.new_empty(0), lower, packed[..., :count, :].triu()]
    written = [value for value in kwargs.values() if isinstance(value, Tensor)]
    for tensor, value in zip(written, made, strict=False):
        tensor.resize_(value.shape).copy_(value)
    out = tuple(written or made[: len(func._schema.returns)])
    mode.finish(func, args, out, card)
    return out


def unpivoted(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return L and U in one matrix, the rows in their order (from 1 on), and the number of the first pivot that is 0."""
    packed, count = matrix.clone(memory_format=torch.contiguous_format), min(matrix.shape[-2:])
    for at in range(count):
        below, right = packed[..., at + 1 :, at : at + 1], packed[..., at : at + 1, at + 1 :]
        below.div_(packed[..., at : at + 1, at : at + 1])
        packed[..., at + 1 :, at + 1 :].sub_(below @ right)
    order = torch.arange(1, count + 1, dtype=torch.int32).expand(*matrix.shape[:-2], count).contiguous()
    zeros = packed.diagonal(dim1=-2, dim2=-1) == 0
    info = torch.where(zeros, order, count + 1).amin(-1).to(torch.int32) if count else zeros.sum(-1).int()
    return packed, order, info.masked_fill(info == count + 1, 0)


BY_NAME = {
    "aten::linalg_lstsq": least_squares,
    "aten::_linalg_svd": singular_values,
    "aten::linalg_svd": singular_values,
    "aten::linalg_lu_factor_ex": factors,
    "aten::linalg_lu": factors,
}
