"""Subclasses of Tensor that say that they are on a card: wrappers of tensors, and fake tensors.

To C++ they must be the CPU's: autograd ends the process when it meets a CUDA tensor without CUDA.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch

from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.marks.marks import CPU, Device, Tensor
from devicelab.simgpu.run.move import move, target_of

from . import legacy_types


def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return Tensor._make_wrapper_subclass, which marks the new tensor, without memory of its own, instead of telling C++."""

    @functools.wraps(original)
    def make(*args: Any, **kwargs: Any) -> Any:
        named = [
            value
            for value in (*args, kwargs.get("device"))
            if isinstance(value, Device) and value.type == "cuda"
        ]
        if not named:
            return original(*args, **kwargs)
        card = target_of(named[0])[1]
        args = tuple(CPU if value is named[0] else value for value in args)
        out = original(*args, **{**kwargs, "device": CPU} if "device" in kwargs else kwargs)
        with torch._C.DisableTorchFunctionSubclass():
            out.untyped_storage()._simulated_card = card
        return out

    return make


def subclass(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return Tensor._make_subclass, by which FakeTensor tells C++ a device; the fake tensor itself keeps the card in Python."""

    @functools.wraps(original)
    def make(*args: Any, **kwargs: Any) -> Any:
        device = kwargs.get("device_for_backend_keys")
        if device is not None and device.type == "cuda":
            kwargs = {**kwargs, "device_for_backend_keys": CPU, "dispatch_device": False}
        return original(*args, **kwargs)

    return make


def new(cls: Any, *args: Any, **kwargs: Any) -> Any:
    """Do as Tensor.__new__: C++ gives its tensor to a subclass only if no dispatch mode has seen it before."""
    source, home = legacy_types.source_of(args, kwargs), legacy_types.home()
    if source is not None and not isinstance(source, Tensor):
        legacy_types.check_source(source, torch.get_default_dtype(), home)
    if cls is Tensor:
        if source is not None or home == CPU:
            return _new(cls, *args, **kwargs)
        if kwargs.get("device") is not None:
            home = target_of(kwargs["device"])[0]
            legacy_types.check_device(home)
        return move(_new(cls, *args, **{**kwargs, "device": CPU}), home)
    with torch._C._DisableTorchDispatch():
        return _new(cls, *args, **kwargs)


_new = torch._C.TensorBase.__new__


def install(machine: Machine) -> None:
    """Replace the functions by which such tensors are made."""
    machine.patches.replace("torch.Tensor.__new__", staticmethod(new))
    for name, stand_in in (("_make_wrapper_subclass", wrapper), ("_make_subclass", subclass)):
        machine.patches.replace(f"torch.Tensor.{name}", staticmethod(stand_in(getattr(Tensor, name))))
