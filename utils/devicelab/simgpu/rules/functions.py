"""What CUDA PyTorch checks in functions before it takes them apart into operators.

Each check says in which of PyTorch's files (aten/src/ATen/native unless another folder is named) it is found.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from devicelab.simgpu.marks.marks import device_of as place

from . import attention as kernels
from . import fourier as fourier_transforms
from . import published
from .layers import check_attention, check_lengths, check_rnn, check_rnn_types
from .refusals import CPU, generated, iterate, legacy_type, missing, refuse

Tensor = torch.Tensor
Check = Callable[[dict[str, Any]], Any]
CHECKS: dict[str, tuple[tuple[str, ...], Check]] = {}


def before(names: str, *functions: str) -> Callable[[Check], Check]:
    """Register a check of functions (named "torch.stft") whose arguments have these names."""

    def register(check: Check) -> Check:
        CHECKS.update(dict.fromkeys(functions, (tuple(names.split()), check)))
        return check

    return register


def located(*named: tuple[str, Any]) -> list[tuple[str, torch.device]]:
    """Return (name, device) for those that are tensors."""
    return [(name, place(value)) for name, value in named if isinstance(value, Tensor)]


def places(values: Iterable[Any]) -> list[torch.device]:
    """Return the devices of those values that are tensors."""
    return [place(value) for value in values if isinstance(value, Tensor)]


@before("input hx params has_biases", *(f"torch.{name}" for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")))
def recurrent(given: dict[str, Any]) -> None:
    """RNN.h, check_attributes. Of a packed sequence (data, batch_sizes, hx, params) only cuDNN checks, on a card."""
    data, hidden, parameters = given["input"], given["hx"], given["params"]
    if not isinstance(given["has_biases"], bool):
        if place(data).type != "cuda":
            return
        hidden, parameters = given["params"], given["has_biases"]
    hidden = [hidden] if isinstance(hidden, Tensor) else hidden
    check_rnn(place(data), places(hidden), places(parameters))
    if place(data).type == "cuda" and torch.backends.cudnn.enabled and not torch.is_autocast_enabled("cuda"):
        check_rnn_types(data, hidden, parameters)


@before("input hx w_ih w_hh b_ih b_hh", "torch.lstm_cell", "torch.gru_cell")
def fused_cell(given: dict[str, Any]) -> None:
    """RNN.cpp: on a card the gates are two matrix products and a fused kernel; on the CPU, two `linear`."""
    data, hx = given["input"], given["hx"]
    if place(data).type != "cuda":
        return
    hidden, last = (hx[0], ("cx", hx[1])) if isinstance(hx, (list, tuple)) else (hx, ("hx", hx))
    generated("wrapper_CUDA_mm", located(("self", data), ("mat2", given["w_ih"])))
    generated("wrapper_CUDA_mm", located(("self", hidden), ("mat2", given["w_hh"])))
    gates = [("input_gates", data), ("hidden_gates", hidden), last]
    biases = [("input_bias", given.get("b_ih")), ("hidden_bias", given.get("b_hh"))]
    kind = "lstm" if last[0] == "cx" else "gru"
    generated(f"wrapper_CUDA___thnn_fused_{kind}_cell", located(*gates, *biases))


@before("query key value attn_mask dropout_p is_causal", "torch._C._nn.scaled_dot_product_attention")
def attention(given: dict[str, Any]) -> None:
    """transformers/attention.cpp, validate_sdpa_input; a mask elsewhere meets the chosen kernel's check."""
    query, mask = given["query"], given.get("attn_mask")
    device = place(query)
    check_attention(device, place(given["key"]), place(given["value"]))
    if not isinstance(mask, Tensor):
        return
    if place(mask) == device:
        if device != CPU and mask.dtype == torch.float32 != query.dtype:
            mask_of_another_type(given)
        return
    if device == CPU:
        missing("_scaled_dot_product_flash_attention_for_cpu")
    kernel = kernels.choose(kernels.params_of(given))
    if kernel == kernels.MATH:
        iterate([(query, device)], [(query, device), (mask, place(mask))])
        return
    name = f"_scaled_dot_product_{'cudnn' if kernel == kernels.CUDNN else 'efficient'}_attention"
    checked = located(("query", query), ("key", given["key"]), ("value", given["value"]), ("attn_bias", mask))
    generated(f"wrapper_CUDA__{name}", checked)


def mask_of_another_type(given: dict[str, Any]) -> None:
    """transformers/cuda/attention.cu, _efficient_attention_forward; cuDNN and the math kernel take a mask in single precision."""
    types = {given[name].dtype for name in ("query", "key", "value")}
    if torch.is_autocast_enabled("cuda"):  # which casts the mask too
        return
    if len(types) == 1 and kernels.choose(kernels.params_of(given)) == kernels.EFFICIENT:
        refuse("invalid dtype for bias - should match query's dtype")


@before("input weight bias", *(f"torch.conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)))
def complex_convolution(given: dict[str, Any]) -> None:
    """Convolution.cpp, complex_convolution and _convolution: types, and with them devices, before numbers are taken apart."""
    data, others = given["input"], {name: given.get(name) for name in ("weight", "bias")}
    tensors = {name: tensor for name, tensor in others.items() if isinstance(tensor, Tensor)}
    if place(data) == CPU or not any(tensor.is_complex() for tensor in (data, *tensors.values())):
        return
    mine = legacy_type(data, place(data))
    for name, tensor in tensors.items():
        if (theirs := legacy_type(tensor, place(tensor))) != mine:
            refuse(f"Input type ({mine}) and {name} type ({theirs}) should be the same")


@before("input normalized_shape weight", "torch.rms_norm")
def rms_norm(given: dict[str, Any]) -> None:
    """layer_norm.cpp: on a card one fused kernel, where this PyTorch has it, else pointwise operators."""
    data, weight = given["input"], given.get("weight")
    has_kernel = "CUDA" in published.dispatch_keys(published.published().get("_fused_rms_norm", {}))
    if has_kernel and isinstance(weight, Tensor) and weight.dtype == data.dtype:
        generated("wrapper_CUDA___fused_rms_norm", located(("input", data), ("weight", weight)))


@before("input n_fft hop_length win_length window", "torch._VF.stft", "torch._VF.istft")
def fourier(given: dict[str, Any]) -> None:
    """SpectralOps.cpp, stft and istft."""
    window = given.get("window")
    if isinstance(window, Tensor) and place(window) != place(given["input"]):
        refuse(
            f"{given['function']} input and window must be on the same device but got self on "
            f"{place(given['input'])} and window on {place(window)}"
        )


@before("input indices", "torch.take_along_dim", "torch.Tensor.take_along_dim")
def take_along_dim(given: dict[str, Any]) -> None:
    """TensorAdvancedIndexing.cpp, by checkDevice of ATen/TensorUtils.cpp."""
    device = place(given["input"])
    if place(given["indices"]) != device:
        refuse(
            f"Expected tensor to have {device} Device, but got tensor with {place(given['indices'])} Device "
            "(while checking arguments for torch.take_along_dim():)"
        )


@before("tensors", "torch._C._linalg.linalg_multi_dot", "torch._VF.chain_matmul")
def multi_dot(given: dict[str, Any]) -> None:
    """LinearAlgebra.cpp, multi_dot_impl."""
    devices = places(given["tensors"])
    for number, device in enumerate(devices):
        if device != devices[0]:
            refuse(
                "multi_dot(): all tensors must be on the same device but tensor 0 is on "
                f"{devices[0]} and tensor {number} on {device}"
            )
    out = given.get("out")
    if isinstance(out, Tensor) and place(out) != devices[0]:
        refuse(f"multi_dot(): expected out tensor to be on device {devices[0]} but got {place(out)}")


@before("tensors", "torch._VF.meshgrid", "torch._VF.cartesian_prod")
def meshgrid(given: dict[str, Any]) -> None:
    """TensorShape.cpp, meshgrid; cartesian_prod begins with it."""
    tensors = given["tensors"] if isinstance(given["tensors"], (list, tuple)) else given["all"]
    if len(set(places(tensors))) > 1:
        refuse("meshgrid expects all tensors to have the same device")


@before("input q", "torch.quantile", "torch.nanquantile", "torch.Tensor.quantile", "torch.Tensor.nanquantile")
def quantile(given: dict[str, Any]) -> None:
    """Sorting.cpp, quantile_checks and quantile_out_impl."""
    for name in ("q", "out"):
        tensor = given.get(name)
        if isinstance(tensor, Tensor) and place(tensor) != place(given["input"]):
            refuse(f"quantile() {name} tensor must be on the same device as the input tensor")


@before("a b", "torch._VF.tensordot")
def tensordot(given: dict[str, Any]) -> None:
    """Linear.cpp, tensordot_out."""
    first, second, out = given["a"], given["b"], given.get("out")
    if isinstance(out, Tensor) and place(first) == place(second) != place(out):
        refuse(
            "tensordot: Expected the output and input tensors to be on the same device, but got the output tensor on "
            f"{place(out)}, input tensor a on {place(first)}, and input tensor b on {place(second)}"
        )


@before("input bins", "torch.histogram", "torch.Tensor.histogram", "torch.histogramdd")
def histogram(given: dict[str, Any]) -> None:
    """native_functions.yaml: only the CPU has these published."""
    edges = "bins_tensor" if isinstance(given["bins"], Tensor) else "bin_ct"
    if place(given["input"]).type == "cuda":
        missing("_histogramdd_bin_edges" if given["function"] == "histogramdd" else f"histogram.{edges}")


@before("input indices_or_sections", "torch.tensor_split", "torch.Tensor.tensor_split")
def tensor_split(given: dict[str, Any]) -> None:
    """TensorShape.cpp, tensor_split: the indices are read by the host."""
    sections = given.get("indices_or_sections", given.get("tensor_indices_or_sections"))
    if isinstance(sections, Tensor) and place(sections) != CPU:
        refuse(
            f"tensor_split expected tensor_indices_or_sections to be on cpu, but it's on {place(sections)}"
        )


@before("input spacing", "torch.gradient")
def gradient(given: dict[str, Any]) -> None:
    """ReduceOps.cpp, gradient_helper."""
    spacing, device = given.get("spacing"), place(given["input"])
    for other in places(spacing if isinstance(spacing, (list, tuple)) else []):
        if other != device:
            refuse(
                f"torch.gradient expected each tensor to be on the same device, but got devices {device} and {other}!"
            )


@before("x1 x2", "torch.cosine_similarity")
def cosine_similarity(given: dict[str, Any]) -> None:
    """Distance.cpp: both norms are limited by a tensor that is made where `x1` is (by a number in older versions)."""
    first, second = given["x1"], given["x2"]
    if place(first) != place(second) and limits_by_tensor() and broadcast(first, second):
        generated("wrapper_CUDA_clamp_min__Tensor", [("self", place(second)), ("min", place(first))])


@functools.cache
def limits_by_tensor() -> bool:
    """Say which cosine_similarity this PyTorch has, by trying it."""
    seen: list[str] = []

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(published.overload_name(func))
            return func(*args, **(kwargs or {}))

    with Record():
        torch._C._VariableFunctions.cosine_similarity(torch.ones(1, 1), torch.ones(1, 1))  # type: ignore[attr-defined]
    return "clamp_min_.Tensor" in seen


def broadcast(first: Tensor, second: Tensor) -> bool:
    """Say whether two shapes fit; where they do not, that error comes first."""
    try:
        torch.broadcast_shapes(first.shape, second.shape)
    except RuntimeError:
        return False
    return True


@before("input lengths", "torch._VF._pack_padded_sequence")
def pack_padded_sequence(given: dict[str, Any]) -> None:
    """PackedSequence.cpp, checkLongTensor: lengths must be on the CPU, wherever the input is."""
    check_lengths(given["lengths"], place(given["lengths"]))


@before("log_probs targets input_lengths target_lengths", "torch.ctc_loss")
def connectionist(given: dict[str, Any]) -> None:
    """LossCTC.cpp: targets are moved to the card and lengths are read by the host, so any mix is allowed."""


@before("input n dim", *(f"torch._C._fft.{name}" for name in fourier_transforms.NAMES))
def transform(given: dict[str, Any]) -> None:
    """SpectralOps.cpp refuses halves on the CPU: the stand-in computes them in single precision."""
