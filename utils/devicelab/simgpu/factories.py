"""Functions that make tensors: `torch.zeros(3, device="cuda")` and its kin.

C++ must never see "cuda" in an argument: it would initialize CUDA, and fail. So the Python names are replaced, and the functions
behind them are called for the CPU, while `special.request` tells the dispatch mode where the result belongs.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _device

from . import moves, rng, state
from .special import request
from .tags import CPU, SimCard, Tensor, card_of, put

if TYPE_CHECKING:
    from .session import Simulation

LIKE = ("empty_like", "full_like", "ones_like", "rand_like", "randint_like", "randn_like", "zeros_like")
OTHERS = ("complex", "from_file", "normal")
METHODS = ("new_empty", "new_empty_strided", "new_full", "new_ones", "new_tensor", "new_zeros", "new")
FROM_DATA = ("as_tensor", "asarray", "tensor", "new_tensor")


def stand_in(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does as `original` does on a machine with the simulated cards."""
    name = original.__name__

    @functools.wraps(original)
    def factory(*args: Any, **kwargs: Any) -> Any:
        if state.current is None:
            return original(*args, **kwargs)
        device = kwargs.get("device")
        if device is None:
            if len(args) > 2 and name in ("as_tensor", "new_tensor"):
                args, kwargs["device"] = args[:2], args[2]
                return factory(*args, **kwargs)
            if (
                name in FROM_DATA
                and args
                and isinstance(args[-1] if name == "new_tensor" else args[0], Tensor)
            ):
                return from_tensor(original, args, kwargs)
            return (
                original(*args, **kwargs) if not kwargs.get("pin_memory") else pinned(original, args, kwargs)
            )
        target, card = moves.target_of(device)
        if card is None and (target.type != "cpu" or not any_on_card(args)):
            return (
                original(*args, **kwargs) if not kwargs.get("pin_memory") else pinned(original, args, kwargs)
            )
        return make(original, args, kwargs, card)

    return factory


def any_on_card(args: Any) -> bool:
    """Say whether one of the arguments lies on a card."""
    return any(isinstance(value, Tensor) and card_of(value) for value in args)


def make(original: Callable[..., Any], args: Any, kwargs: Any, card: SimCard | None) -> Any:
    """Call the function for the CPU and put the result on `card`, or on the CPU where that is None."""
    name = original.__name__
    if name in FROM_DATA:
        at = 1 if name == "new_tensor" else 0
        if len(args) > at and isinstance(args[at], Tensor):
            return from_tensor(original, args, kwargs, card.device if card else CPU)
    if kwargs.pop("pin_memory", False) and card:
        raise RuntimeError("Only dense CPU tensors can be pinned")
    rng.check(kwargs.get("generator"), card)
    before, request.target = request.target, card or CPU
    try:
        out = original(*args, **(kwargs | {"device": CPU}))
    finally:
        request.target = before
    if card:
        put(out, card)
    return out


def from_tensor(
    original: Callable[..., Any], args: Any, kwargs: Any, device: torch.device | None = None
) -> Any:
    """Do as torch.tensor(tensor), as_tensor and asarray: move, and copy where the function promises a new tensor."""
    name = original.__name__
    source = args[1] if name == "new_tensor" else args[0]
    if device is None:
        device = moves.device_of(args[0])
    dtype = kwargs.get("dtype") or (
        args[2 if name == "new_tensor" else 1] if len(args) > (2 if name == "new_tensor" else 1) else None
    )
    if name == "as_tensor" or (name == "asarray" and not kwargs.get("copy")):
        return moves.to(source, device, dtype or source.dtype)
    out = moves.to(source.detach(), device, dtype or source.dtype, copy=True)
    return out.requires_grad_() if kwargs.get("requires_grad") else out


def pinned(original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Make a CPU tensor that counts as page-locked."""
    kwargs = dict(kwargs)
    kwargs.pop("pin_memory")
    out = original(*args, **kwargs)
    out.untyped_storage()._simulated_pinned = True
    return out


@functools.cache
def originals() -> dict[Any, Any]:
    """Return torch's functions that make tensors, each with what stands in for it."""
    functions = set(_device._device_constructors())
    functions |= {getattr(torch, name) for name in (*LIKE, *OTHERS) if hasattr(torch, name)}
    return {function: stand_in(function) for function in functions}


def install(simulation: "Simulation") -> None:
    """Replace the functions everywhere, the methods of Tensor, and the default device's way of naming a device."""
    replacements = originals()
    simulation.patches.everywhere(replacements)
    for name in METHODS:
        simulation.patches.set(Tensor, name, stand_in(getattr(Tensor, name)))
    unmodified = _device.DeviceContext.__torch_function__
    simulation.patches.set(
        _device.DeviceContext, "__torch_function__", device_context(unmodified, replacements)
    )


def device_context(original: Any, replacements: dict[Any, Any]) -> Callable[..., Any]:
    """Return DeviceContext's method that keeps a simulated card's name away from C++."""

    def __torch_function__(self: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.device.type == "cuda" and func in replacements and (kwargs or {}).get("device") is None:
            if func in _device._device_constructors():
                return replacements[func](*args, **{**(kwargs or {}), "device": self.device})
        return original(self, func, types, args, kwargs)

    return __torch_function__
