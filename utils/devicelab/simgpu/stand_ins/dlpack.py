"""Handing a card's memory to another library.

Between torch and torch it works. Others would find only the host's memory there, so they are refused.
"""

import functools
from collections.abc import Callable
from typing import Any

from devicelab.errors import SimulationError
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.marks.marks import Tensor, card_of


class NoDeviceMemory(SimulationError, AttributeError):
    """Raised for __cuda_array_interface__; an AttributeError, so that libraries that merely ask go another way."""


def export(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return Tensor.__dlpack__, which for a card's tensor answers as NumPy does, the consumer that is there without a GPU."""

    @functools.wraps(original)
    def __dlpack__(tensor: Tensor, **kwargs: Any) -> Any:
        if card_of(tensor) is None:
            return original(tensor, **kwargs)
        exportable(tensor)
        raise RuntimeError("Unsupported device in DLTensor.")

    return __dlpack__


def exportable(tensor: Tensor) -> None:
    """Raise torch's own errors for tensors that DLPack cannot describe."""
    if tensor.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if tensor.is_conj():
        raise BufferError("Can't export tensors with the conjugate bit set")


def from_dlpack(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return torch.from_dlpack, which gives a second tensor on the same memory."""

    @functools.wraps(original)
    def load(ext_tensor: Any, **kwargs: Any) -> Tensor:
        if not isinstance(ext_tensor, Tensor) or card_of(ext_tensor) is None:
            return original(ext_tensor, **kwargs)
        exportable(ext_tensor)
        return ext_tensor.detach()

    return load


def to_dlpack(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return torch.utils.dlpack.to_dlpack, which refuses: a capsule does not say that its card is a simulated one."""

    @functools.wraps(original)
    def capsule(tensor: Tensor) -> Any:
        if card_of(tensor) is not None:
            raise SimulationError(
                "The simulated GPU makes no DLPack capsules. Pass the tensor itself to torch.from_dlpack."
            )
        return original(tensor)

    return capsule


def interface(original: property) -> property:
    """Return Tensor.__cuda_array_interface__, which for a simulated card has no address to give."""

    def __cuda_array_interface__(tensor: Tensor) -> Any:
        if card_of(tensor) is not None:
            raise NoDeviceMemory(
                "The simulated GPU has no device memory that another library (CuPy, Numba, ...) could read."
            )
        return original.__get__(tensor)

    return property(__cuda_array_interface__)


def install(machine: Machine) -> None:
    """Replace torch's ways of sharing memory with other libraries."""
    patches = machine.patches
    patches.everywhere("torch.utils.dlpack.from_dlpack", from_dlpack)
    patches.everywhere("torch.utils.dlpack.to_dlpack", to_dlpack)
    patches.wrap("torch.Tensor.__dlpack__", export)
    patches.wrap("torch.Tensor.__cuda_array_interface__", interface)
