"""Which memory does a tensor's data lie in? Each memory that was met has a number, for as long as the film looks."""

from typing import Any, NamedTuple
from weakref import ref

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from devicelab.placement.walk import bytes_of

# What tensors without a storage of their own say when asked for it: sparse ones, subclasses, functorch's wrappers.
UNUSUAL = (RuntimeError, NotImplementedError, AttributeError, ValueError, TypeError)


class Memory(NamedTuple):
    """One piece of memory: its number, where it is, the shape it was first met with, and its size in bytes."""

    number: int
    device: str
    shape: str
    nbytes: int


class Memories:
    """The memories that a film met. A weak reference to each tells when it is given back; none is kept alive."""

    def __init__(self) -> None:
        self.all: list[Memory] = []
        self._numbers: dict[Any, int] = {}
        self._refs: list[Any] = []

    def number(self, tensor: torch.Tensor) -> int:
        """Return the number of a tensor's memory; one that was not met before gets the next."""
        key, holder = _identity(tensor)
        known = self._met(key)
        if known is not None:
            return known
        number = self._numbers[key] = len(self.all)
        self._refs.append(StorageWeakRef(holder) if isinstance(holder, torch.UntypedStorage) else ref(holder))
        self.all.append(Memory(number, str(tensor.device), shape_of(tensor), _bytes(tensor, holder)))
        return number

    def known(self, tensor: torch.Tensor) -> int | None:
        """Return the number of a tensor's memory, or None where it was not met before."""
        return self._met(_identity(tensor)[0])

    def _met(self, key: Any) -> int | None:
        """Return the number; an object's address says nothing once the object is gone, for another may have it by now."""
        number = self._numbers.get(key)
        gone = number is not None and isinstance(key, tuple) and not self.is_alive(number)
        return None if gone else number

    def is_alive(self, number: int) -> bool:
        """Whether somebody still holds this memory."""
        held = self._refs[number]
        return not held.expired() if isinstance(held, StorageWeakRef) else held() is not None


def _identity(tensor: torch.Tensor) -> tuple[Any, Any]:
    """Return what tells a memory from others, and the object that lives as long as it does.

    The address of a storage is not used again while a weak reference to it is held; that of a Python object is.
    """
    try:
        storage = (tensor._values() if tensor.layout is torch.sparse_coo else tensor).untyped_storage()
        return storage._cdata, storage
    except UNUSUAL:  # a lazy parameter has none yet, a nested tensor has several
        return ("tensor", id(tensor)), tensor


def _bytes(tensor: torch.Tensor, holder: Any) -> int:
    try:
        if holder is tensor or tensor.layout is not torch.strided:
            return bytes_of(tensor)
        return holder.nbytes()
    except UNUSUAL:  # a lazy parameter, a subclass that refuses
        return 0


def shape_of(tensor: torch.Tensor) -> str:
    """Return a tensor's shape for people: "100 × 10", "one number", with its dtype unless that is float32."""
    try:
        words = " × ".join(map(str, tensor.shape)) if tensor.dim() else "one number"
    except UNUSUAL:  # a lazy parameter has none yet, a nested tensor has several
        return "shape unknown"
    kind = "" if tensor.dtype is torch.float32 else f" {str(tensor.dtype).removeprefix('torch.')}"
    return words + kind
