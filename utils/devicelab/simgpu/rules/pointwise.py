"""Pointwise operators and losses that do not follow TensorIterator's usual rule."""

import torch

from .refusals import Call, Operand, accelerator, iterate, refuse, shapes_first
from .refusals import pointwise as structured
from .register import Rules

rules = Rules()


@rules.of("where.self", "where.self_out")
def where(call: Call) -> torch.device:
    """TensorCompare.cpp, where_self_out: 0-dim operands are moved to the first device that is not the CPU."""
    inputs = call.of("condition", "self", "other")
    shapes_first(call, inputs)
    device = accelerator(inputs)
    moved = [(tensor, device if tensor.dim() == 0 else old) for tensor, old in inputs]
    return iterate(call.of("out"), moved, scalars=False)


@rules.of("logical_and", "logical_or", "logical_xor")
def logical(call: Call) -> torch.device:
    """BinaryOps.cpp, comparison_op: the result is made where `self` is, so a 0-dim CPU `self` is refused."""
    inputs = call.of("self", "other")
    shapes_first(call, inputs)
    device = iterate(call.of("out") or call.of("self"), inputs)
    if any(tensor.is_complex() for tensor, _ in inputs):  # BinaryLogicalOpsKernels.cu
        assert_on_card(call, device, inputs)
    return device


@rules.of("rsub.Tensor")
def rsub(call: Call) -> torch.device:
    """BinaryOps.cpp: `at::sub(other, self)`."""
    shapes_first(call, call.of("self", "other"))
    return iterate([], call.of("other", "self"))


@rules.of("clamp.Tensor_out", "addcdiv", "addcdiv_", "binomial")
def without_scalars(call: Call) -> torch.device:
    """TensorCompare.cpp (CLAMP_CONFIG), TensorIterator.cpp (build_ternary_op), Distributions.cpp: no CPU scalar allowed."""
    is_inplace = call.func._schema.name.endswith("_")
    inputs = [operand for name, operands in call.tensors.items() if name != "out" for operand in operands]
    return structured(call, call.of("self") if is_inplace else call.of("out"), inputs, scalars=False)


@rules.of("addcmul", "addcmul_")
def addcmul(call: Call) -> torch.device:
    """cuda/PointwiseOpsKernel.cu: of the 0-dim CPU operands that TensorIterator lets pass, only `tensor2` is taken."""
    is_inplace = call.func._schema.name.endswith("_")
    outputs = call.of("self") if is_inplace else call.of("out")
    device = structured(call, outputs, call.of("self", "tensor1", "tensor2"))
    for name, more in (("self", ""), ("tensor1", TENSOR2)):
        if device.type != "cpu" and call.of(name)[0][1].type == "cpu":
            refuse(
                f"CPU Scalar support for {name} argument is not supported when calling addcmul on CUDA tensors.{more}"
            )
    return device


TENSOR2 = " However, CPU Scalar support for tensor2 is supported, please swap your tensor1 and tensor2 terms."


@rules.of("binary_cross_entropy")
def binary_cross_entropy(call: Call) -> torch.device:
    """cuda/Loss.cu: the loss is made where the input is, iterated over input and target, then multiplied by weight."""
    loss: list[Operand] = call.of("self")
    if len({tensor.dtype for tensor, _ in call.all()}) > 1:
        call.run()  # TensorIterator looks at dtypes first
    iterate(loss, call.of("self", "target"), scalars=False)
    return iterate(loss, [*loss, *call.of("weight")])


@rules.of("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(call: Call) -> torch.device:
    """Loss.cpp: the steps of the composite, each a pointwise operator."""
    given, target, positive = call.of("self"), call.of("target"), call.of("pos_weight")
    shapes_first(call, call.of("self", "target"))
    if positive:
        log_weight = [(target[0][0], iterate([], [*positive, *target]))]
        iterate(given, [*given, *log_weight])
    iterate(target, [*target, *given])
    return iterate(target, [*target, *call.of("weight")])


@rules.of("mse_loss", "smooth_l1_loss", "lerp", "lerp_")
def unaware_of_scalars(call: Call) -> torch.device:
    """cuda/BinaryMiscOpsKernels.cu, Lerp.cu: a 0-dim CPU operand passes TensorIterator, but the kernel only as `weight`."""
    outputs = call.of("self") if call.func._schema.name.endswith("_") else call.of("out")
    device = structured(call, outputs, call.of("self", "other", "target", "end", "weight"))
    assert_on_card(call, device, call.of("self", "other", "target", "end"))
    return device


def assert_on_card(call: Call, device: torch.device, inputs: list[Operand]) -> None:
    """cuda/Loops.cuh, gpu_kernel, and JitLoops.cuh, jitted_gpu_kernel, for complex numbers: no operand of the CPU.

    The number of the line in PyTorch's file is left out, and its folder is that of one release.
    """
    is_jitted = any(tensor.is_complex() for tensor, _ in call.all())
    for number, (_, place) in enumerate(inputs, start=1):
        if device.type != "cpu" and place.type == "cpu":
            where = "JitLoops" if is_jitted else "Loops"
            refuse(ASSERTED.format(file=where) + f"argument {number}: expected a CUDA device but found cpu")


ASSERTED = (
    'iter.device(arg).is_cuda() INTERNAL ASSERT FAILED at "/pytorch/aten/src/ATen/native/cuda/{file}.cuh", please report '
    "a bug to PyTorch. "
)


@rules.of("soft_margin_loss")
def soft_margin_loss(call: Call) -> torch.device:
    """Loss.cpp: `neg(target).mul_(input)`."""
    shapes_first(call, call.of("self", "target"))
    return iterate(call.of("target"), call.of("target", "self"))
