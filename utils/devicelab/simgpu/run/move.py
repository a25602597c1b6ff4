"""Copies between host and card: what `.to`, `.cuda`, `.cpu` and `copy_` do, with autograd.

A move is a genuine `aten::_to_copy` with the target in `device=`, as on a real GPU, so that every trace sees it. Autograd
needs a function of its own, because the C++ one sends gradients to where it believes the tensor is: the CPU.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import handle_torch_function, has_torch_function_unary

from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import SimCard
from devicelab.simgpu.marks.marks import CPU, Device, Tensor, card_of, device_of, functorch, transforming

# The index marks a copy to the host that was asked for; C++ composites say plain "cpu".
HOST = torch.device("cpu", 0)
_to_copy = torch.ops.aten._to_copy.default


def target_of(device: Any) -> tuple[torch.device, SimCard | None]:
    """Return a device with its index and the simulated card, if it is one; an int is a card's number."""
    if device.__class__ is not Device:
        device = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    if device.type != "cuda" or state.current is None:
        return device, None
    card = state.current.card(device)
    return card.device, card


def move(
    tensor: Tensor,
    device: torch.device,
    dtype: torch.dtype | None = None,
    non_blocking: bool = False,
    memory_format: torch.memory_format | None = None,
) -> Tensor:
    """Copy a tensor to `device` (a card's, or the CPU), differentiably; a nested one part by part, as it has no one shape."""
    if (
        tensor.is_nested
        and tensor.layout is torch.strided
        and tensor.requires_grad
        and torch.is_grad_enabled()
    ):
        parts = [move(part, device, dtype, non_blocking, memory_format) for part in tensor.unbind()]
        return torch._nested_tensor_from_tensor_list(parts, None, None, None, None)  # type: ignore[attr-defined]
    if (tensor.requires_grad and torch.is_grad_enabled()) or _differentiating() or _forward_mode():
        return ToCopy.apply(tensor, device, dtype, non_blocking, memory_format)
    return _copy(tensor, device, dtype, non_blocking, memory_format)


def _differentiating() -> bool:
    """Say whether one of torch.func's transforms is at work; functionalize has no rule for functions, and needs none."""
    return (
        transforming() and functorch.peek_interpreter_stack().key() != functorch.TransformType.Functionalize
    )


def _forward_mode() -> bool:
    return torch.autograd.forward_ad._current_level >= 0


def _copy(tensor: Tensor, device: torch.device, dtype: Any, non_blocking: bool, memory_format: Any) -> Tensor:
    device = HOST if device.type == "cpu" else device
    return _to_copy(
        tensor, dtype=dtype, device=device, non_blocking=non_blocking, memory_format=memory_format
    )


class ToCopy(torch.autograd.Function):
    """A copy to another device, whose gradient is copied back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        tensor: Tensor, device: torch.device, dtype: Any, non_blocking: bool, memory_format: Any
    ) -> Tensor:
        return _copy(tensor, device, dtype, non_blocking, memory_format)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        tensor, ctx.device, ctx.dtype, _, _ = inputs
        ctx.source, ctx.source_dtype = device_of(tensor), tensor.dtype

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        if device_of(gradient) != ctx.source or gradient.dtype != ctx.source_dtype:
            gradient = move(gradient, ctx.source, ctx.source_dtype)
        return gradient, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        return move(tangent, ctx.device, ctx.dtype)


ToCopy._backward_cls.__name__ = "ToCopyBackward0"  # type: ignore[attr-defined]  # what a printed tensor shows


def parse(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, bool, Any, bool]:
    """Read the arguments of Tensor.to: device, dtype, non_blocking, memory_format, copy."""
    if args and isinstance(args[0], Tensor):
        return parse((device_of(args[0]), args[0].dtype, *args[1:]), kwargs)
    if isinstance(kwargs.get("other"), Tensor):
        other = kwargs.pop("other")
        return parse((device_of(other), other.dtype, *args), kwargs)
    copy = kwargs.pop("copy", False)
    last = 3 if not args or not isinstance(args[0], torch.dtype) else 2
    if len(args) > last:
        args, copy = args[:last], args[last]
    if args and isinstance(args[0], int):
        args = (torch.device("cuda", args[0]), *args[1:])
    if isinstance(kwargs.get("device"), int):
        kwargs["device"] = torch.device("cuda", kwargs["device"])
    return (*torch._C._nn._parse_to(*args, **kwargs), copy)


def to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Do as Tensor.to does on a machine with these cards."""
    if state.current is None:
        return _original_to(tensor, *args, **kwargs)
    device, dtype, non_blocking, memory_format, copy = parse(args, kwargs)
    if device is None:
        return stay(tensor, dtype, non_blocking, memory_format, copy)
    target, _ = target_of(device)
    source = device_of(tensor)
    if target.type not in ("cpu", "cuda") or source.type not in ("cpu", "cuda"):
        return _original_to(
            tensor, target, dtype or tensor.dtype, non_blocking, copy, memory_format=memory_format
        )
    if target == source or target.type == source.type == "cpu":
        return stay(tensor, dtype, non_blocking, memory_format, copy)
    return move(tensor, target, None if dtype == tensor.dtype else dtype, non_blocking, memory_format)


def stay(tensor: Tensor, dtype: Any, non_blocking: bool, memory_format: Any, copy: bool) -> Tensor:
    """Convert without leaving the device; the same object where nothing changes."""
    return _original_to(tensor, dtype or tensor.dtype, non_blocking, copy, memory_format=memory_format)


def overridable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of Tensor that asks subclasses and function modes first, as torch's own methods do."""

    @functools.wraps(function)
    def method(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if has_torch_function_unary(tensor):
            return handle_torch_function(method, (tensor,), tensor, *args, **kwargs)
        return function(tensor, *args, **kwargs)

    return method


_original_to = torch._C.TensorBase.to  # type: ignore[attr-defined]
_original_copy = torch._C.TensorBase.copy_  # type: ignore[attr-defined]


def cuda(
    tensor: Tensor,
    device: Any = None,
    non_blocking: bool = False,
    memory_format: torch.memory_format = torch.preserve_format,
) -> Tensor:
    """Do as Tensor.cuda does on a machine with these cards."""
    if state.current is None:
        return torch._C.TensorBase.cuda(tensor, device, non_blocking, memory_format=memory_format)  # type: ignore[attr-defined]
    target, card = target_of("cuda" if device is None else device)
    if card is None:
        raise RuntimeError("Invalid device, must be cuda device")
    return tensor if card_of(tensor) is card else move(tensor, target, None, non_blocking, memory_format)


def cpu(tensor: Tensor, memory_format: torch.memory_format = torch.preserve_format) -> Tensor:
    """Do as Tensor.cpu does."""
    if card_of(tensor) is None:
        return torch._C.TensorBase.cpu(tensor, memory_format=memory_format)  # type: ignore[attr-defined]
    return move(tensor, CPU, None, False, memory_format)


def copy_(tensor: Tensor, source: Any, non_blocking: bool = False) -> Tensor:
    """Do as Tensor.copy_ does; where gradients flow, the copy between devices is a move of its own."""
    if isinstance(source, Tensor) and source.requires_grad and torch.is_grad_enabled():
        target = device_of(tensor)
        if device_of(source) != target and target.type in ("cpu", "cuda"):
            source = move(source, target, None, non_blocking)
    return _original_copy(tensor, source, non_blocking)
