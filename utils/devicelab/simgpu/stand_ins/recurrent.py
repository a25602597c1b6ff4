"""Recurrent layers as cuDNN has them: what it keeps serves one backward pass, and in training mode alone."""

from collections.abc import Callable
from typing import Any

import torch

from devicelab.simgpu.marks import marks
from devicelab.simgpu.rules.refusals import refuse

Tensor = torch.Tensor
UNTRAINED = "cudnn RNN backward can only be called in training mode"
# torch/csrc/autograd/FunctionsManual.cpp, kCudnnDoubleBackwardMsg
TWICE = (
    "the derivative for '_cudnn_rnn_backward' is not implemented. Double backwards is not supported for CuDNN RNNs due to "
    "limitations in the CuDNN API. To run double backwards, please disable the CuDNN backend temporarily while running the "
    "forward pass of your RNN. For example: \nwith torch.backends.cudnn.flags(enabled=False):\n    output = model(inputs)"
)


def by_cudnn(original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a recurrent layer; `lstm`, `gru`, `rnn_tanh` and `rnn_relu` of torch._VF."""
    if not is_cudnns(args[0]):
        return original(*args, **kwargs)
    # The arguments end in `train, bidirectional, batch_first`; where the data are packed there is no last one.
    is_packed = isinstance(args[1], Tensor) and not isinstance(args[3], bool)
    if args[7 if is_packed else 6]:
        return original(*gated(args, is_packed), **kwargs)
    out = original(*args, **kwargs)
    for node in {value.grad_fn for value in out if value.grad_fn is not None}:
        node.register_prehook(untrained)
    return out


def is_cudnns(data: Tensor) -> bool:
    """Say whether cuDNN would compute the layer, and gradients may be asked for: at::cudnn_is_acceptable."""
    if not torch.backends.cudnn.enabled or not torch.is_grad_enabled():
        return False
    if torch._C._are_functorch_transforms_active() or torch._C._is_tracing():
        return False
    return type(data) is Tensor and marks.card_of(data) is not None and data.numel() > 0


def untrained(gradients: Any) -> None:
    """Refuse to go back through a layer that did not train."""
    refuse(UNTRAINED)


class Gate(torch.autograd.Function):
    """Passes tensors on into a layer, and their gradients back; of those no further gradient is to be had."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Any:  # type: ignore[override]
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        if not torch.is_grad_enabled():
            return gradients
        return tuple(None if gradient is None else End.apply(gradient) for gradient in gradients)


class End(torch.autograd.Function):
    """Has no gradient."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError(TWICE)


def gated(args: Any, is_packed: bool) -> list[Any]:
    """Return the arguments of a layer with its data, hidden states and parameters behind a gate."""
    places = (0, 2, 3) if is_packed else (0, 1, 2)
    given = [args[place] for place in places]
    flat = [value for one in given for value in (one if isinstance(one, (list, tuple)) else (one,))]
    if not any(value.requires_grad for value in flat):
        return list(args)
    passed = iter(Gate.apply(*flat))
    out = list(args)
    for place, one in zip(places, given, strict=True):
        out[place] = [next(passed) for _ in one] if isinstance(one, (list, tuple)) else next(passed)
    return out
