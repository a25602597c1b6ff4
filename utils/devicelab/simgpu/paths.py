"""Operators whose device check CUDA PyTorch wrote by hand, and those where CUDA takes another path than the CPU.

Each function below judges one call: it raises CUDA's error or returns the device of the result. It says in which of PyTorch's
files (aten/src/ATen/native unless another is named) the check or the path is found.
"""

from collections.abc import Callable

import torch

from . import convolution, foreach
from .families import (
    CPU,
    LEGACY_NAMES,
    Call,
    Operand,
    accelerator,
    generated,
    iterate,
    refuse,
    shapes_first,
)

Judge = Callable[[Call], torch.device | list[torch.device]]
BY_NAME: dict[str, Judge] = {}


def path(*names: str) -> Callable[[Judge], Judge]:
    """Register a judge for operators: "mv" (every overload) or "fill.Tensor" (this one)."""

    def register(judge: Judge) -> Judge:
        BY_NAME.update(dict.fromkeys(names, judge))
        return judge

    return register


def find(name: str) -> Judge | None:
    """Return the judge of an operator named as in native_functions.yaml, if it has one."""
    base = name.split(".")[0]
    found = BY_NAME.get(name) or BY_NAME.get(base)
    return foreach.judge if found is None and base.startswith("_foreach_") else found


def first(call: Call) -> torch.device:
    """Return the device of the first tensor."""
    return call.all()[0][1]


@path(
    "copy_",
    "copy",
    "fill_.Tensor",
    "fill.Tensor",
    "resize_as_",
    "is_same_size",
    "_has_same_storage_numel",
    "is_set_to",
)
@path("bernoulli_.Tensor", "_to_copy", "set_data", "resize_as_sparse_")
def free(call: Call) -> torch.device:
    """Copy.cpp, Fill.cpp (`value.item()`), cuda/Distributions.cpp (`p.to(self.device())`): any mix is allowed."""
    return first(call)


@path("linspace.Tensor_Tensor", "linspace.Tensor_Scalar", "linspace.Scalar_Tensor")
@path("logspace.Tensor_Tensor", "logspace.Tensor_Scalar", "logspace.Scalar_Tensor")
def by_option(call: Call) -> torch.device:
    """RangeFactories.cpp: start and end are read by `.item()`; `device=` decides."""
    return call.arguments.get("device") or CPU


@path("embedding")
def embedding(call: Call) -> torch.device:
    """Embedding.cpp: `weight.index_select(0, indices)`."""
    checked = [*renamed(call, weight="self", indices="index")]
    return generated("wrapper_CUDA__index_select", checked) or CPU


def renamed(call: Call, **names: str) -> list[tuple[str, torch.device]]:
    """Return (new name, device) for the tensors of the given arguments, in the given order."""
    return [(new, device) for old, new in names.items() for _, device in call.tensors.get(old, [])]


@path("mv")
def mv(call: Call) -> torch.device:
    """Blas.cpp: the result is made where `vec` is, then `addmv_(result, self, vec)`."""
    [(_, result)] = call.of("vec")
    checked = [("self", result), *renamed(call, self="mat", vec="vec")]
    return generated("wrapper_CUDA_addmv_", checked) or CPU


@path("stack", "_stack")
def stack(call: Call) -> torch.device:
    """TensorShape.cpp: `at::cat` of the unsqueezed tensors."""
    return generated("wrapper_CUDA_cat", call.named("out", "tensors")) or CPU


@path("complex", "polar")
def through_out(call: Call) -> torch.device:
    """TensorFactories.cpp: the result is made where the first tensor is, then the out= kernel checks."""
    name = call.func._schema.name.split("::")[1]
    checked = [("out", first(call)), *call.named("real", "imag", "abs", "angle")]
    return generated(f"wrapper_CUDA_out_{name}_out", checked) or CPU


@path("masked_scatter", "put")
def inplace_on_clone(call: Call) -> torch.device:
    """TensorAdvancedIndexing.cpp: `self.clone()`, then the in-place kernel checks."""
    name = call.func._schema.name.split("::")[1]
    return generated(f"wrapper_CUDA__{name}_", call.named(*call.tensors)) or CPU


@path("index", "_unsafe_index")
def index(call: Call) -> torch.device:
    """TensorAdvancedIndexing.cpp, check_indices_on_cpu_or_selfdevice."""
    [(_, device)] = call.of("self")
    if any(other.type != "cpu" and other != device for _, other in call.of("indices")):
        refuse(f"indices should be either on cpu or on the same device as the indexed tensor ({device})")
    out = call.of("out")
    return iterate(out, call.of("self"), scalars=False) if out else device


@path("index_put", "index_put_", "_unsafe_index_put", "_index_put_impl_")
def index_put(call: Call) -> torch.device:
    """TensorAdvancedIndexing.cpp, _index_put_impl_: indices are moved; 0-dim values too; other values are not."""
    [(_, device)] = call.of("self")
    [(values, where)] = call.of("values")
    if where == device or values.dim() == 0:
        return device
    if device.type == "cuda" and call.arguments.get("accumulate"):
        refuse(f"expected device {device} but got device {where} for value tensor")
    return iterate(call.of("self"), call.of("values"), scalars=False)


@path("index_fill", "index_fill_")
def index_fill(call: Call) -> torch.device:
    """TensorAdvancedIndexing.cpp, index_fill_: TensorIterator over self and index; a 0-dim value is read by `.item()`."""
    return iterate(call.of("self"), call.of("index"), scalars=False)


@path("masked_fill", "masked_fill_")
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


@path("where.self", "where.self_out")
def where(call: Call) -> torch.device:
    """TensorCompare.cpp, where_self_out: 0-dim operands are moved to the first device that is not the CPU."""
    inputs = call.of("condition", "self", "other")
    shapes_first(call, inputs)
    device = accelerator(inputs)
    moved = [(tensor, device if tensor.dim() == 0 else old) for tensor, old in inputs]
    return iterate(call.of("out"), moved, scalars=False)


@path("logical_and", "logical_or", "logical_xor")
def logical(call: Call) -> torch.device:
    """BinaryOps.cpp, comparison_op: the result is made where `self` is, so a 0-dim CPU `self` is refused."""
    shapes_first(call, call.of("self", "other"))
    return iterate(call.of("out") or call.of("self"), call.of("self", "other"))


@path("rsub.Tensor")
def rsub(call: Call) -> torch.device:
    """BinaryOps.cpp: `at::sub(other, self)`."""
    shapes_first(call, call.of("self", "other"))
    return iterate([], call.of("other", "self"))


@path("clamp.Tensor", "clamp_.Tensor", "clamp.Tensor_out", "addcdiv", "addcdiv_", "addcdiv.out", "binomial")
def without_scalars(call: Call) -> torch.device:
    """TensorCompare.cpp (CLAMP_CONFIG), TensorIterator.cpp (build_ternary_op), Distributions.cpp: no CPU scalar allowed."""
    outputs = call.of("out") if "out" in call.tensors else []
    if call.func._schema.name.endswith("_"):
        outputs = call.of("self")
    inputs = [operand for name, operands in call.tensors.items() if name != "out" for operand in operands]
    shapes_first(call, inputs, outputs if call.func._schema.name.endswith("_") else ())
    return iterate(outputs, inputs, scalars=False)


@path("binary_cross_entropy")
def binary_cross_entropy(call: Call) -> torch.device:
    """cuda/Loss.cu: the loss is made where the input is, iterated over input and target, then multiplied by weight."""
    loss: list[Operand] = call.of("self")
    iterate(loss, call.of("self", "target"), scalars=False)
    return iterate(loss, [*loss, *call.of("weight")])


@path("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(call: Call) -> torch.device:
    """Loss.cpp: the steps of the composite, each a pointwise operator."""
    given, target, positive = call.of("self"), call.of("target"), call.of("pos_weight")
    shapes_first(call, call.of("self", "target"))
    if positive:
        log_weight = [(target[0][0], iterate([], [*positive, *target]))]
        iterate(given, [*given, *log_weight])
    iterate(target, [*target, *given])
    return iterate(target, [*target, *call.of("weight")])


@path("soft_margin_loss")
def soft_margin_loss(call: Call) -> torch.device:
    """Loss.cpp: `neg(target).mul_(input)`."""
    shapes_first(call, call.of("self", "target"))
    return iterate(call.of("target"), call.of("target", "self"))


@path("native_batch_norm")
def native_batch_norm(call: Call) -> torch.device:
    """Normalization.cpp, _select_batch_norm_backend: cuDNN's kernel for a CUDA input where it can."""
    checked = call.named("input", "weight", "bias", "running_mean", "running_var")
    name = "_cudnn_batch_norm" if cudnn_normalizes(call) else "_native_batch_norm"
    return generated(f"wrapper_CUDA_{name}", checked) or CPU


def cudnn_normalizes(call: Call) -> bool:
    """Say whether batch_norm would choose cuDNN."""
    [(given, device)] = call.of("input")
    weight, bias = call.of("weight"), call.of("bias")
    tracked = len(call.of("running_mean", "running_var"))
    if device.type != "cuda" or not weight or not bias or given.dim() < 3 or not torch.backends.cudnn.enabled:
        return False
    training = bool(call.arguments.get("training"))
    if torch.bfloat16 in (given.dtype, weight[0][0].dtype):
        return False
    if given.dtype == torch.float16 and weight[0][0].dtype != torch.float32:
        return False
    return (tracked == 2 or (tracked == 0 and training)) and given.shape[0] <= (880801 if training else 65535)


@path("grid_sampler_2d", "grid_sampler_3d")
def grid_sampler(call: Call) -> torch.device:
    """GridSamplerUtils.h, check_grid_sampler_common, which the composite grid_sampler calls first."""
    [(_, given)], [(_, grid)] = call.of("input"), call.of("grid")
    if given != grid:
        refuse(
            "grid_sampler(): expected input and grid to be on same device, but input is on "
            f"{given} and grid is on {grid}"
        )
    return given


@path("_weight_norm_interface")
def weight_norm(call: Call) -> torch.device:
    """WeightNorm.cpp, _weight_norm."""
    [(_, v)], [(_, g)] = call.of("v"), call.of("g")
    if v != g:
        refuse(
            "weight_norm: expected v_in and g_in to be on the same device, but v_in is on "
            f"{v} and g_in is on {g}"
        )
    return v


@path("block_diag")
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


@path("_scaled_dot_product_flash_attention_for_cpu")
def attention(call: Call) -> torch.device:
    """transformers/attention.cpp, validate_sdpa_input; a mask on another device meets the fused kernel's check."""
    [(_, query)], [(_, key)], [(_, value)] = call.of("query"), call.of("key"), call.of("value")
    check_attention(query, key, value)
    name = "_scaled_dot_product_efficient_attention"
    checked = [("query", query), ("key", key), ("value", value), *renamed(call, attn_mask="attn_bias")]
    return generated(f"wrapper_CUDA__{name}", checked) or query


def check_attention(query: torch.device, key: torch.device, value: torch.device) -> None:
    """Raise attention's own error where query, key and value are on different devices."""
    if not query == key == value:
        refuse(
            "Expected query, key, and value to have the same device type, but got query.device: "
            f"{query} key.device: {key} and value.device: {value} instead."
        )


@path("mkldnn_rnn_layer")
def rnn_layer(call: Call) -> torch.device:
    """RNN.h, check_attributes, which CUDA's `lstm` and `_cudnn_rnn` call: hidden states first, then parameters."""
    [(_, given)] = call.of("input")
    hidden = [device for _, device in call.of("hx_", "cx_")]
    check_rnn(given, hidden, [device for _, device in call.of("weight0", "weight1", "weight2", "weight3")])
    return given


def check_rnn(given: torch.device, hidden: list[torch.device], parameters: list[torch.device]) -> None:
    """Raise the recurrent networks' own error for the first tensor that is not where the input is."""
    for name, devices in (("hidden", hidden), ("parameter", parameters)):
        for device in devices:
            if device != given:
                refuse(
                    f"Input and {name} tensors are not at the same device, found input tensor at {given} "
                    f"and {name} tensor at {device}"
                )


@path("_pack_padded_sequence")
def pack_padded_sequence(call: Call) -> torch.device:
    """PackedSequence.cpp: lengths must be on the CPU, wherever the input is."""
    [(lengths, device)] = call.of("lengths")
    check_lengths(lengths, device)
    return first(call)


def check_lengths(lengths: torch.Tensor, device: torch.device) -> None:
    """Raise packing's own error unless the lengths are a list in the CPU's memory."""
    if device.type != "cpu" or lengths.dim() != 1 or lengths.dtype != torch.int64:
        kind = LEGACY_NAMES.get(lengths.dtype, "BFloat16")
        refuse(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {lengths.dim()}D {device} {kind} tensor"
        )


@path("_trilinear")
def trilinear(call: Call) -> torch.device:
    """Linear.cpp, _trilinear: two batched matrix products (sumproduct_pair), the first two tensors first."""
    device = generated("wrapper_CUDA_bmm", renamed(call, i1="self", i2="mat2"))
    return generated("wrapper_CUDA_bmm", [("self", device or CPU), *renamed(call, i3="mat2")]) or CPU


@path("cholesky_solve", "_cholesky_solve_helper")
def cholesky_solve(call: Call) -> torch.device:
    """LinearAlgebraUtils.h, linearSolveCheckInputs."""
    [(_, b)], [(_, a)] = call.of("self"), call.of("input2", "A")
    if a != b:
        refuse(f"Expected b and A to be on the same device, but found b on {b} and A on {a} instead.")
    return b


@path("set_.source_Tensor")
def set_source(call: Call) -> torch.device:
    """Resize.h, checkSetStorage."""
    [(_, device)], [(_, source)] = call.of("self"), call.of("source")
    if device != source:
        refuse(
            f'Attempted to set the storage of a tensor on device "{device}" to a storage on different device '
            f'"{source}".  This is no longer allowed; the devices must match.'
        )
    return device


@path(
    "_fused_adam_.tensor_lr", "_fused_adamw_.tensor_lr", "_fused_sgd_.tensor_lr", "_fused_adagrad_.tensor_lr"
)
def fused_with_tensor_lr(call: Call) -> torch.device:
    """cuda/FusedAdamKernel.cu: lr may be on the CPU; the rest is checked by hand."""
    device = first(call)
    for name in ("grad_scale", "found_inf", "lr"):
        for _, other in call.of(name):
            if other != device and not (name == "lr" and other.type == "cpu"):
                refuse(f"{name} must be on the same GPU device as the params")
    lists = [name for name in call.tensors if name not in ("lr", "grad_scale", "found_inf", "state_steps")]
    if any(other != device for _, other in call.of(*lists)):
        refuse("params, grads, exp_avgs, and exp_avg_sqs must have same dtype, device, and layout")
    return device


BY_NAME["convolution"] = BY_NAME["convolution_overrideable"] = convolution.judge
