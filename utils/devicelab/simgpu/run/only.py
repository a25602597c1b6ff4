"""Operators that only CUDA has, or only the CPU: served by others, or refused, never by a sentence about the other's backend.

Which they are is asked of PyTorch's dispatcher and of native_functions.yaml.
"""

import re
from collections.abc import Callable
from typing import Any

import torch

from devicelab.errors import SimulationError
from devicelab.simgpu.marks.place import home, is_on_card
from devicelab.simgpu.rules import published
from devicelab.simgpu.rules.refusals import missing, refuse

from . import synced
from .call import Calls

REFUSED = (
    "torch.ops.aten.{} is a kernel that only CUDA has, and is not simulated. Call the function of torch, torch.nn or "
    "torch.nn.functional that uses it, or run this part on a real GPU."
)
KEYS = (  # of those who could run an operator in a CPU build
    "CPU",
    "CompositeImplicitAutograd",
    "CompositeExplicitAutograd",
    "CompositeExplicitAutogradNonFunctional",
    "SparseCPU",
    "SparseCsrCPU",
    "QuantizedCPU",
    "NestedTensorCPU",
    "MkldnnCPU",
)
# Operators that only the CPU has, and that no composite calls there in the place of one of CUDA's (native_functions.yaml).
CPU_ONLY = (
    "from_file",
    "to_mkldnn",
    "_add_relu",
    "_add_relu_",
    "_convert_weight_to_int4pack_for_cpu",
    "_weight_int4pack_mm_for_cpu",
    "_dyn_quant_pack_4bit_weight",
    "_dyn_quant_matmul_4bit",
    "_spdiags",
    "_upsample_lanczos2d_aa",
    "_upsample_lanczos2d_aa_backward",
    "histogram",
    "_histogramdd_bin_edges",
    "_histogramdd_from_bin_cts",
    "_histogramdd_from_bin_tensors",
)
QUANTIZED = (
    "Operators of the namespace quantized are not simulated on a card. Run the quantized model on the CPU, as PyTorch's guide "
    "to quantization does."
)


def runs_here(name: str) -> bool:
    """Say whether a CPU build has any kernel for an operator."""
    return any(torch._C._dispatch_has_kernel_for_dispatch_key(name, key) for key in KEYS)


def of_cuda(func: Any) -> bool:
    """Say whether only CUDA has an operator: it, or the one that torchgen derives it from, has no kernel here."""
    if func.namespace != "aten":
        return False
    name, _, overload = func.name().partition(".")
    if not runs_here(func.name()):
        return True
    base = overload.removesuffix("_out") if overload.endswith("_out") else "" if overload == "out" else None
    if base is None or torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CPU"):
        return False
    return exists(name, base) and not runs_here(f"{name}.{base}" if base else name)


def exists(name: str, overload: str) -> bool:
    """Say whether there is such an operator."""
    try:
        torch._C._dispatch_find_schema_or_throw(name, overload)
    except RuntimeError:
        return False
    return True


def handler(func: Any) -> Callable[..., Any] | None:
    """Return what treats an operator that only one of the two has, or None."""
    name = func._schema.name
    if func.namespace == "quantized":
        return quantized
    if name.removeprefix("aten::") in QUANTIZE:
        return quantizing
    if name.removeprefix("aten::") in CPU_ONLY:
        return cpu_only
    if name == "aten::sspaddmm":
        return unwritten
    if of_cuda(func):
        return SERVED.get(name.removeprefix("aten::"), refused)
    return None


def on_card(args: Any, kwargs: Any) -> bool:
    """Say whether a tensor of a call lies on a card, or is to be made there."""
    device = kwargs.get("device")
    if device is not None and device.type == "cuda":
        return True
    values = (*args, *kwargs.values())
    lists = (item for value in values if isinstance(value, (list, tuple)) for item in value)
    return any(home(value) is not None for value in (*values, *lists) if isinstance(value, torch.Tensor))


def refused(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Refuse a kernel of CUDA's; for tensors of the CPU PyTorch does so itself."""
    if on_card(args, kwargs):
        raise SimulationError(REFUSED.format(func.name().removeprefix("aten::")))
    return mode.host(func, args, kwargs)


def cpu_only(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Refuse on a card what CUDA's build has no kernel for."""
    if on_card(args, kwargs):
        missing(func.name().removeprefix("aten::"))
    return mode.host(func, args, kwargs)


def unwritten(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Refuse on a card, as the kernel does to which torch.smm leads (SparseCUDATensorMath.cu, _sspaddmm_out_cuda)."""
    if on_card(args, kwargs):
        refuse("NYI: CUDA sspaddmm is not implemented")
    return mode.host(func, args, kwargs)


def quantized(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Refuse quantized arithmetic on a card; of the dynamic kind CUDA has none, and the dispatcher says so."""
    if on_card(args, kwargs):
        if "dynamic" in func._schema.name:
            missing(func.name())
        raise SimulationError(QUANTIZED)
    return mode.host(func, args, kwargs)


def quantizing(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Make a quantized tensor; from the first one on a card on, those operators are watched that CUDA lacks for them."""
    out = mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)
    watch(out)
    return out


def watch(tensor: torch.Tensor) -> None:
    """Note that there are quantized tensors on a card; operators that are planned from now on are looked at."""
    if not watching and tensor.is_quantized and home(tensor) is not None:
        watching.append(True)
        forget_plans()


def whole(handler: Callable[..., Any] | None) -> Callable[..., Any]:
    """Have an operator refuse quantized tensors on a card."""

    def run(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
        if is_on_card(seen) and any(isinstance(value, torch.Tensor) and value.is_quantized for value in args):
            missing(func.name(), "QuantizedCUDA")
        if handler is not None:
            return handler(mode, func, args, kwargs, seen)
        return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)

    return run


def lacks_quantized(func: Any) -> bool:
    """Say whether the CPU has an operator for quantized tensors, and CUDA has not."""
    keys = published.dispatch_keys(published.published().get(func.name().removeprefix("aten::"), {}))
    return bool(watching) and "QuantizedCPU" in keys and "QuantizedCUDA" not in keys


watching: list[bool] = []
plans: list[dict[int, Any]] = []  # the table of run.handlers, which stands above this module


def forget_plans() -> None:
    """Have every operator planned anew."""
    for table in plans:
        table.clear()


def translated(error: NotImplementedError, func: Any) -> NotImplementedError:
    """Return the dispatcher's error with CUDA's name for the kind of tensor, or our words where CUDA has such a kernel."""
    found = BACKEND.search(str(error))
    if found is None or found[1] not in CUDA_KEYS:
        return error
    key = CUDA_KEYS[found[1]]
    name = func.name().removeprefix("aten::")
    if key in published.dispatch_keys(published.published().get(name, {})):
        return NotImplementedError(
            f"torch.ops.aten.{name} of such tensors is a kernel that only CUDA has, and is not simulated."
        )
    return NotImplementedError(str(error).replace(found[0], f"arguments from the '{key}' backend", 1))


BACKEND = re.compile(r"arguments from the '(\w+)' backend")
CUDA_KEYS = {f"{kind}CPU": f"{kind}CUDA" for kind in ("", "Sparse", "SparseCsr", "Quantized", "NestedTensor")}
QUANTIZE = (
    "quantize_per_tensor",
    "quantize_per_tensor_dynamic",
    "quantize_per_channel",
    "_make_per_tensor_quantized_tensor",
    "_make_per_channel_quantized_tensor",
)


def product(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Multiply matrices of a small type into a wider one: `torch.mm(a, b, out_dtype=torch.float32)`, Blas.cpp."""
    kwargs, names = dict(kwargs), [argument.name for argument in func._schema.arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    wide, narrow = given.pop("out_dtype"), args[0].dtype
    card = seen if is_on_card(seen) else mode.settle(func, args, kwargs, seen)
    if wide != narrow and not (wide == torch.float32 and narrow in (torch.float16, torch.bfloat16)):
        refuse("out_dtype must be the same as input dtype or fp32 for fp16/bf16 inputs")
    out = given.pop("out", None)
    plain = getattr(torch.ops.aten, func._schema.name.removeprefix("aten::"))
    given = {
        name: value.to(wide) if isinstance(value, torch.Tensor) else value for name, value in given.items()
    }
    result = plain(**given) if out is None else plain(**given, out=out)
    mode.finish(func, args, result, card)
    return result


def flatten_weights(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Return the weights in one piece: a build for CUDA asks so for each recurrent layer."""
    flat = [mode.treat(torch.ops.aten.reshape.default, (), (weight, [-1]), {}) for weight in args[0]]
    return mode.treat(torch.ops.aten.cat.default, (), (flat,), {})


def grid_sampler(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Sample by the kernel of cuDNN, which knows one way alone (cudnn/GridSampler.cpp)."""
    return mode.treat(torch.ops.aten.grid_sampler_2d.default, (), (*args, *CUDNNS_WAY), kwargs)


def grid_sampler_backward(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Return the gradients of what cuDNN's kernel sampled."""
    data, grid, gradient = args
    operands = (gradient, data, grid, *CUDNNS_WAY, [True, True])
    return mode.treat(torch.ops.aten.grid_sampler_2d_backward.default, (), operands, kwargs)


CUDNNS_WAY = (0, 0, True)  # bilinear, zeros, align_corners
SERVED = {
    "cudnn_grid_sampler": grid_sampler,
    "cudnn_grid_sampler_backward": grid_sampler_backward,
    **dict.fromkeys(("mm", "bmm", "addmm", "baddbmm"), product),
    "_cudnn_rnn_flatten_weight": flatten_weights,
    **synced.SERVED,
}
