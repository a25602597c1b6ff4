"""Linear algebra: where CUDA PyTorch takes another path than the schema says."""

import torch

from . import published
from .refusals import CPU, Call, generated, refuse
from .register import Rules

rules = Rules()


@rules.of("mv")
def mv(call: Call) -> torch.device:
    """Blas.cpp: the result is made where `vec` is, then `addmv_(result, self, vec)`, or `addmv_out` with out= as both."""
    [(_, result)] = call.of("vec")
    if out := call.of("out"):
        wrapper = published.kernel(torch.ops.aten.addmv.out, "CUDA").wrapper
        checked = [("out", out[0][1]), ("self", out[0][1]), *call.renamed(self="mat", vec="vec")]
        return generated(wrapper, checked) or CPU
    checked = [("self", result), *call.renamed(self="mat", vec="vec")]
    return generated("wrapper_CUDA_addmv_", checked) or CPU


@rules.of("complex", "polar", "linalg_lstsq")
def through_out(call: Call) -> torch.device:
    """TensorFactories.cpp, BatchLinearAlgebra.cpp: results are made where the first tensor is, then the out= kernel checks."""
    name = call.func._schema.name.split("::")[1]
    checked = [("out", call.first()), *call.named("real", "imag", "abs", "angle", "self", "b")]
    return generated(f"wrapper_CUDA_out_{name}_out", checked) or CPU


@rules.of("_sparse_addmm")
def sparse_addmm(call: Call) -> torch.device:
    """SparseTensorMath.cpp: `at::addmm`, by the kernel for the first matrix's layout."""
    key = published.dispatch_key([tensor for tensor, _ in call.all()])
    return generated(f"wrapper_{key}__addmm", call.named("self", "mat1", "mat2")) or CPU


@rules.of("dot.out", "vdot.out")
def dot(call: Call) -> torch.device:
    """LinearAlgebra.cpp, dot_out and vdot_out."""
    name = call.func._schema.name.split("::")[1]
    [out], [first], [second] = (
        [device for _, device in call.of(*names)] for names in (("out",), ("self",), ("tensor", "other"))
    )
    if not first == second == out:
        refuse(
            f"{name}: Expected the output and input tensors to be on the same device, but got "
            f"the output tensor on {out}, the 'input' tensor on {first}, and the 'other' tensor on {second}"
        )
    return first


@rules.of("block_diag")
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


@rules.of("cholesky_solve", "_cholesky_solve_helper")
def cholesky_solve(call: Call) -> torch.device:
    """LinearAlgebraUtils.h, linearSolveCheckInputs."""
    [(_, b)], [(_, a)] = call.of("self"), call.of("input2", "A")
    for _, out in call.of("out"):
        if out != b:
            refuse(
                "cholesky_solve: Expected result and input tensors to be on the same device, but got result on "
                f"{out} and input on {b}"
            )
    if a != b:
        refuse(f"Expected b and A to be on the same device, but found b on {b} and A on {a} instead.")
    return b
