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
from devicelab.simgpu.run import move

NAMES = sorted(CLASSES)


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


class CardTensorType(type):
    """The type of torch.cuda.FloatTensor: makes tensors on the current card, and knows its own."""

    host: Any  # torch.FloatTensor

    def __call__(cls, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        if state.current is None:
            raise TypeError(f"type {cls} not available. Torch not compiled with CUDA enabled.")
        warn_once(NEWER)
        target = move.target_of("cuda" if device is None else device)[0]
        if args and isinstance(args[0], Tensor):
            return cls._alias(args[0])
        if not args or isinstance(args[0], (int, torch.Size)):
            return torch.empty(*(args or (0,)), dtype=cls.host.dtype, device=target)
        return move.cuda(cls.host(*args, **kwargs), target)

    def _alias(cls, tensor: Tensor) -> Tensor:
        """Return the same tensor once more, as C++ does; it converts nothing."""
        if not isinstance(tensor, cls):
            raise TypeError(f"expected {cls} (got {tensor.type()})")
        return tensor.detach()

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.host) and marks.card_of(instance) is not None

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.host, name)

    def __str__(cls) -> str:
        return f"torch.cuda.{cls.__name__}"

    def __repr__(cls) -> str:
        return f"<class '{cls}'>"


@functools.cache
def types() -> dict[str, CardTensorType]:
    """Return the stand-ins by name."""
    return {
        f"{name}Tensor": CardTensorType(
            f"{name}Tensor",
            (),
            {"__module__": "torch.cuda", "host": getattr(torch, f"{name}Tensor"), "is_cuda": True},
        )
        for name in NAMES
    }


def _set_default_tensor_type(kind: Any) -> None:
    """Stand for torch.set_default_tensor_type, with a default device in the place of a default type of the card."""
    name = str(kind).removeprefix("<class '").removesuffix("'>")
    if not name.startswith("torch.cuda."):
        torch.set_default_device(None)
        return _original_set(kind)
    warn_once(DEPRECATED)
    torch.set_default_dtype(types()[name.removeprefix("torch.cuda.")].dtype)
    torch.set_default_device("cuda")


_original_set = torch.set_default_tensor_type


def install(machine: Machine) -> None:
    """Offer the types of the card until the simulation stops."""
    for name, stand_in in types().items():
        machine.patches.replace(f"torch.cuda.{name}", stand_in)
    machine.patches.replace("torch.set_default_tensor_type", _set_default_tensor_type)
