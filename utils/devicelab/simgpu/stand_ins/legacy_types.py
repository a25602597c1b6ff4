"""torch.cuda.FloatTensor and its kin: the way older programs say where tensors go, and of which type."""

import functools
import warnings
from typing import Any

import torch
from torch import Tensor

from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.machine.texts import CLASSES
from devicelab.simgpu.marks import marks
from devicelab.simgpu.rules.refusals import CPU, other_storage, refuse
from devicelab.simgpu.run import move

NAMES = sorted(CLASSES)
HOSTS = {f"{name}Tensor": getattr(torch, f"{name}Tensor") for name in NAMES}


# torch/csrc/tensor/python_tensor.cpp
NEWER = (
    "The torch.cuda.*DtypeTensor constructors are no longer recommended. It's best to use methods such as "
    "torch.tensor(data, dtype=*, device='cuda') to create tensors."
)
DEPRECATED = (
    "torch.set_default_tensor_type() is deprecated as of PyTorch 2.1, please use torch.set_default_dtype() and "
    "torch.set_default_device() as alternatives."
)
warned: set[str] = set()


def warn_once(words: str) -> None:
    """Do as TORCH_WARN_ONCE: warn once in a process, or each time where torch.set_warn_always asks for it."""
    if words not in warned or torch.is_warn_always_enabled():
        warned.add(words)
        warnings.warn(words, UserWarning, stacklevel=3)


def source_of(args: Any, kwargs: dict[str, Any]) -> Any:
    """Return the tensor or storage that a constructor is to make its tensor of, or None."""
    given = (*args[:1], *kwargs.values())
    return next((one for one in given if isinstance(one, (Tensor, *STORAGES))), None)


STORAGES = (torch.UntypedStorage, torch.TypedStorage)


def check_source(source: Any, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse what a constructor for this type and device, which moves nothing, makes no tensor of (utils/tensor_new.cpp)."""
    if isinstance(source, Tensor):
        found = marks.device_of(source)
        if (source.dtype, source.layout, found.type) != (dtype, torch.strided, device.type):
            wanted = options(torch.empty(0, dtype=dtype, device=CPU), torch.device(device.type))
            raise TypeError(f"expected {wanted} (got {options(source, found)})")
    elif source is not None and (isinstance(source, torch.UntypedStorage) or source.dtype == dtype):
        there = getattr(source, "_untyped_storage", source).device
        if there != device:
            other_storage(device, there)


def options(tensor: Tensor, device: torch.device) -> str:
    """Return how C++ writes a tensor's type, layout and device, which it says itself of a tensor that it refuses."""
    try:
        HOSTS["FloatTensor" if tensor.dtype is torch.int64 else "LongTensor"](tensor)
    except TypeError as error:
        said = str(error)
    return said.rpartition("(got ")[2].removesuffix(")").replace("device=cpu", f"device={device}")


def check_device(device: torch.device) -> None:
    """Refuse a constructor's `device=` that is no card, where its type is the card's."""
    if device.type != "cuda":
        refuse(f"legacy constructor expects device type: cuda but device type: {device.type} was passed")


class TensorType(type):
    """The type of the stand-ins, whose `host` is PyTorch's own class of tensors on the CPU (torch.FloatTensor)."""

    host: Any

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.host, name)

    def __str__(cls) -> str:
        return f"{cls.__module__}.{cls.__name__}"

    def __repr__(cls) -> str:
        return f"<class '{cls}'>"


class HostTensorType(TensorType):
    """The type of torch.FloatTensor, which is no type of a card's tensor: PyTorch's own sees the CPU's below the mark."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Tensor:
        if state.current is not None and "device" not in kwargs:
            check_source(source_of(args, kwargs), cls.host.dtype, CPU)
        return cls.host(*args, **kwargs)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.host) and marks.card_of(instance) is None

    def __subclasscheck__(cls, other: type) -> bool:
        return other is cls or other is cls.host


class CardTensorType(TensorType):
    """The type of torch.cuda.FloatTensor: makes tensors on the current card, and knows its own."""

    def __call__(cls, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        if state.current is None:
            raise TypeError(f"type {cls} not available. Torch not compiled with CUDA enabled.")
        warn_once(NEWER)
        target = move.target_of("cuda" if device is None else device)[0]
        source = source_of(args, kwargs)
        if source is not None and device is not None:
            return cls.host(*args, **kwargs, device=CPU)  # which C++ refuses, whatever the device
        check_device(target)
        if source is not None:
            check_source(source, cls.host.dtype, target)
            return cls.host(*args, **kwargs)
        if not args or isinstance(args[0], (int, torch.Size)):
            return torch.empty(*(args or (0,)), dtype=cls.host.dtype, device=target)
        return move.cuda(cls.host(*args, **kwargs), target)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.host) and marks.card_of(instance) is not None


@functools.cache
def types(kind: type[TensorType], module: str) -> dict[str, TensorType]:
    """Return the stand-ins of one kind by name."""
    return {f"{name}Tensor": stand_in(kind, module, f"{name}Tensor") for name in NAMES}


def stand_in(kind: type[TensorType], module: str, name: str) -> TensorType:
    """Return the class that stands for one of PyTorch's."""
    return kind(name, (), {"__module__": module, "host": HOSTS[name], "is_cuda": kind is CardTensorType})


def host_of(kind: Any) -> Any:
    """Return PyTorch's own class for the stand-in of one of the CPU's, and anything else as it is."""
    return kind.host if isinstance(kind, HostTensorType) else kind


def _set_default_tensor_type(kind: Any) -> None:
    """Stand for torch.set_default_tensor_type, with a default device in the place of a default type of the card."""
    name = str(kind).removeprefix("<class '").removesuffix("'>")
    default.clear()
    if not name.startswith("torch.cuda."):
        torch.set_default_device(None)
        return _original_set(HOSTS.get(name.removeprefix("torch."), kind))
    warn_once(DEPRECATED)
    torch.set_default_dtype(HOSTS[name.removeprefix("torch.cuda.")].dtype)
    torch.set_default_device("cuda")
    default.append(torch.device("cuda"))


def home() -> torch.device:
    """Return where torch.Tensor(...) makes its tensors: where the default type says, whatever the default device."""
    return move.target_of(default[0])[0] if default and state.current is not None else CPU


default: list[torch.device] = []  # the device of the default type, where it is the card's
_original_set = torch.set_default_tensor_type


def install(machine: Machine) -> None:
    """Offer the types of the card, and those of the CPU that know a card's tensor, until the simulation stops."""
    for kind, module in ((CardTensorType, "torch.cuda"), (HostTensorType, "torch")):
        for name, made in types(kind, module).items():
            machine.patches.replace(f"{module}.{name}", made)
    machine.on_stop(default.clear)
    machine.patches.replace("torch.set_default_tensor_type", _set_default_tensor_type)
