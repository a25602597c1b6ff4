"""Functions that make tensors where C++ needs a real card, or cannot know what the learner said.

`torch.zeros(3, device="cuda")` and most others reach the dispatch mode as they are. Those that take data would have C++ copy it
to a card itself, and for `zeros_like(x, device="cpu")` C++ hides whether the CPU was named by the learner: these get stand-ins.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _device

from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine, SimCard
from devicelab.simgpu.marks.marks import (
    CPU,
    Adoptable,
    Tensor,
    card_of,
    device_of,
    innermost,
    release,
    tag_of,
)
from devicelab.simgpu.rules import sparse
from devicelab.simgpu.run import move
from devicelab.simgpu.run.create import request

from . import legacy_types
from .default_device import in_force
from .functions import builtin

LIKE = ("empty_like", "full_like", "ones_like", "rand_like", "randint_like", "randn_like", "zeros_like")
NEW = ("new_empty", "new_empty_strided", "new_full", "new_ones", "new_zeros")
COPY = (  # torch/csrc/utils/tensor_new.cpp
    "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
    "sourceTensor.detach().clone().requires_grad_(True), rather than {}(sourceTensor)."
)
SPARSE = ("coo", "compressed", "csr", "csc", "bsr", "bsc")


def from_data(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stand-in for torch.tensor and its kin: make the tensor on the CPU, then copy it to the card."""

    @functools.wraps(original)
    def factory(*args: Any, **kwargs: Any) -> Any:
        if state.current is None or kwargs.get("layout") is torch.jagged:  # of Python's making, part by part
            return original(*args, **kwargs)
        kwargs, device = dict(kwargs), kwargs.get("device")
        kwargs.pop("device", None)
        source = args[0] if args else kwargs.get("data", kwargs.get("obj"))
        if kwargs.get("out") is not None:
            return plain(original)(*args, **kwargs, device=device)
        if isinstance(source, Tensor) and original.__name__ in ("tensor", "as_tensor", "asarray"):
            device = in_force() if device is None else device
            return from_tensor(original, source, args, kwargs, device)
        if original.__name__.startswith("sparse_"):
            args = together(original.__name__, args, kwargs, device)
        target, card = move.target_of(device) if device is not None else (None, None)
        if card is None:
            return pinned(original, args, kwargs if target is None else {**kwargs, "device": target})
        return to_card(original, args, kwargs, card)

    return factory


def together(name: str, args: Any, kwargs: dict[str, Any], device: Any) -> Any:
    """Do as torch's sparse constructors: move the parts to where `device` says; else they must lie together."""
    number = 1 if "coo" in name else 2  # of the values
    values = args[number] if len(args) > number else None
    if isinstance(values, Tensor):  # numbers among the indices go there
        args = (
            *(
                new_tensor(values, item, torch.int64) if not isinstance(item, Tensor) else item
                for item in args[:number]
            ),
            *args[number:],
        )
    if device is not None:  # of numbers alone all is made on the CPU, and copied then
        home = move.target_of(device)[0] if isinstance(values, Tensor) else CPU
        return tuple(move.to(item, home) if isinstance(item, Tensor) else item for item in args)
    if number == 2 and values is not None:
        sparse.together(name, args[:3], kwargs)
    return args


def to_card(original: Callable[..., Any], args: Any, kwargs: dict[str, Any], card: SimCard) -> Tensor:
    """Call the function for the CPU and copy its result to `card`."""
    if kwargs.pop("pin_memory", False):
        raise RuntimeError("Only dense CPU tensors can be pinned")
    requires_grad = kwargs.pop("requires_grad", False)
    with torch._C._DisableFuncTorch(), torch.no_grad():
        out = original(*args, **kwargs, device=CPU)  # which refuses what it does not know first
    refuse_alias(kwargs, CPU, card.device)
    out = move.move(out, card.device) if card_of(out) is not card else out
    return out.requires_grad_() if requires_grad else out


def refuse_alias(kwargs: dict[str, Any], source: torch.device, target: torch.device) -> None:
    """Raise what torch.asarray raises where it must not copy and has to (torch/csrc/utils/tensor_new.cpp)."""
    if kwargs.get("copy") is False:
        raise ValueError(f"can't alias tensor from device '{source}' to '{target}'.")


def pinned(original: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Call the function; a tensor asked for in page-locked memory is marked as such."""
    wanted = kwargs.pop("pin_memory", False)
    out = original(*args, **kwargs)
    if wanted and state.current is not None:
        state.current.wake_for_pinning()
        innermost(out).untyped_storage()._simulated_pinned = True  # type: ignore[attr-defined]
    return out


def from_tensor(
    original: Callable[..., Any], source: Tensor, args: Any, kwargs: dict[str, Any], device: Any
) -> Tensor:
    """Do as torch.tensor, as_tensor and asarray of a tensor: a move, and a copy where a new tensor is promised."""
    name = original.__name__
    target = device_of(source) if device is None else move.target_of(device)[0]
    dtype = kwargs.get("dtype") or (args[1] if len(args) > 1 else None) or source.dtype
    if name == "as_tensor":
        return move.to(source, target, dtype)
    if name == "asarray":
        if target == device_of(source):
            return original(*args, **kwargs)
        refuse_alias(kwargs, device_of(source), target)
    else:
        warnings.warn(COPY.format("torch.tensor"), UserWarning, stacklevel=1)
    out = move.to(source.detach(), target, dtype, copy=True)
    return out.requires_grad_() if kwargs.get("requires_grad") else out


def nested(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stand-in for what torch.nested.as_nested_tensor calls: the parts are moved first, to where `device` says."""

    @functools.wraps(original)
    def factory(
        parts: Any, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None
    ) -> Any:
        if state.current is not None and device is not None:
            target, device = move.target_of(device)[0], None
            parts = [move.to(part, target) for part in parts]
        return original(parts, dtype, layout, device, pin_memory)

    return factory


def like(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stand-in for zeros_like, new_zeros and so on: `device="cpu"` said by the learner is meant."""

    @functools.wraps(original)
    def factory(*args: Any, **kwargs: Any) -> Any:
        device = kwargs.get("device")
        if device is None or state.current is None:
            return original(*args, **kwargs)
        target, card = move.target_of(device)
        before, request.target = request.target, card or (target if target.type == "cpu" else None)
        try:
            return original(*args, **{**kwargs, "device": target})
        finally:
            request.target = before

    return factory


def plain(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stand-in for zeros, arange and so on, called by the learner, whose tensor is nobody's to adopt.

    With `out=`, C++ would compare `device=` with where it believes `out` to be.
    """

    @functools.wraps(original)
    def factory(*args: Any, **kwargs: Any) -> Any:
        if state.current is None:
            return original(*args, **kwargs)
        out = kwargs.get("out")
        if isinstance(kwargs.get("device"), int):  # a card's number: C++ would look for a real one
            kwargs["device"] = move.target_of(kwargs["device"])[0]
        if out is not None and kwargs.get("device") is not None:
            target, found = move.target_of(kwargs.pop("device"))[0], device_of(out)
            if target != found:
                raise RuntimeError(
                    f"device type {target.type} does not match device type of out parameter ({found.type})"
                )
        return owned(original(*args, **kwargs))

    return factory


def owned(tensor: Any) -> Any:
    """Return a tensor that Python asked for: if it lies on no card, it is the CPU's."""
    if isinstance(tensor, Tensor) and tag_of(tensor).__class__ is Adoptable:
        release(tensor)
    return tensor


def new_tensor(
    tensor: Tensor,
    data: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **kwargs: Any,
) -> Tensor:
    """Do as Tensor.new_tensor: by default on the device of `tensor`."""
    target = device_of(tensor) if device is None else move.target_of(device)[0]
    if isinstance(data, Tensor):
        warnings.warn(COPY.format("tensor.new_tensor"), UserWarning, stacklevel=1)
        out = move.to(data.detach(), target, dtype or data.dtype, copy=True)
    else:
        out = move.to(_new_tensor(tensor.detach(), data, dtype=dtype, device=CPU, **kwargs), target)
    return out.requires_grad_() if requires_grad else out


_new_tensor = Tensor.new_tensor


def new(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Do as the old Tensor.new: on the device of `tensor`, uninitialized or from data (torch/csrc/utils/tensor_new.cpp)."""
    card, source = card_of(tensor), legacy_types.source_of(args, kwargs)
    if card is not None and kwargs.get("device") is not None:
        target, card = move.target_of(kwargs["device"])
        kwargs = {**kwargs, "device": CPU}  # as which C++ knows the tensor
        if source is None:
            legacy_types.check_device(target)
    elif state.current is not None and tensor.layout is torch.strided and "device" not in kwargs:
        legacy_types.check_source(source, tensor.dtype, device_of(tensor))
    out = _new(tensor, *args, **kwargs)
    return out if card is None or card_of(out) is card else move.move(out, card.device)


_new = Tensor.new  # type: ignore[attr-defined]


@functools.cache
def replacements() -> dict[Any, Any]:
    """Return torch's functions that need one, each with its stand-in.

    _device_constructors keeps the functions that it finds at its first call, so it is called before any is replaced.
    """
    data: list[Any] = [torch.tensor, torch.as_tensor, torch.asarray, torch.nested.nested_tensor]
    data += [getattr(torch, f"sparse_{layout}_tensor") for layout in SPARSE]
    functions = {function: from_data(function) for function in data}
    functions |= {getattr(torch, name): like(getattr(torch, name)) for name in LIKE}
    from_list = torch._nested_tensor_from_tensor_list  # type: ignore[attr-defined]
    functions[from_list] = nested(from_list)
    functions[torch.range] = from_data(torch.range)  # C++ asks for a real card before anybody hears of it
    functions |= {
        function: plain(function)
        for function in _device._device_constructors() | {torch.normal}
        if function not in functions
    }
    return functions


def device_context(original: Any) -> Callable[..., Any]:
    """Return DeviceContext's method with the stand-ins in the place of the functions that it knows."""

    def __torch_function__(self: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = getattr(func, "__wrapped__", func)  # torch.fft's functions arrive as their stand-ins
        if (
            known in replacements()
            and known in _device._device_constructors()
            and (kwargs or {}).get("device") is None
        ):
            return replacements()[known](*args, **{**(kwargs or {}), "device": self.device})
        return original(self, func, types, args, kwargs)

    return __torch_function__


def install(machine: Machine) -> None:
    """Replace the functions under every name that a module has for them, and the methods of Tensor."""
    machine.patches.all_of(replacements())
    for original, stand_in in replacements().items():
        builtin(machine, original, stand_in)
    for name in NEW:
        machine.patches.wrap(f"torch.Tensor.{name}", like)
    machine.patches.replace("torch.Tensor.new_tensor", new_tensor)
    machine.patches.replace("torch.Tensor.new", new)
    machine.patches.wrap("torch.utils._device.DeviceContext.__torch_function__", device_context)
