"""A plain number as a device: 1 means cuda:1, as on a machine with a GPU.

C++ asks which accelerator there is before it reads such a number, and finds none. So the number is turned into a
device before C++ sees it: in torch.device itself, in the factories, and where Module.to reads its arguments.
"""

from typing import Any

import torch

from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.marks.marks import device_of

from .functions import builtin

RealDevice = torch.device


def named(device: Any) -> Any:
    """Return the card's device for a number, anything else as it is."""
    if device.__class__ is int and device >= 0 and state.current is not None:
        return RealDevice("cuda", device)
    return device


class _DeviceType(type):
    """Lets the stand-in be called, compared and asked `isinstance` like torch.device itself."""

    def __call__(cls, *args: Any, **kwargs: Any) -> torch.device:
        return RealDevice(*map(named, args[:1]), *args[1:], **with_named_device(kwargs))

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, RealDevice)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, RealDevice)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is RealDevice

    def __hash__(cls) -> int:
        return hash(RealDevice)

    def __getattr__(cls, name: str) -> Any:
        return getattr(RealDevice, name)


Device = _DeviceType("device", (), {"__module__": "torch", "__doc__": RealDevice.__doc__})


def with_named_device(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return keyword arguments in which `device` is no number."""
    device = kwargs.get("device")
    return {**kwargs, "device": named(device)} if device.__class__ is int else kwargs


_original_parse_to = torch._C._nn._parse_to


def _parse_to(*args: Any, **kwargs: Any) -> Any:
    """Stand for the function that reads the arguments of Module.to: a tensor among them says where it is itself."""
    found = _original_parse_to(*map(named, args[:1]), *args[1:], **with_named_device(kwargs))
    example = args[0] if args else kwargs.get("tensor")
    return (device_of(example), *found[1:]) if isinstance(example, torch.Tensor) else found


def install(machine: Machine) -> None:
    """Accept numbers as devices until the simulation stops."""
    machine.patches.replace("torch._C._nn._parse_to", _parse_to)
    machine.patches.replace("torch.device", Device)
    builtin(machine, RealDevice, Device)
