"""Storages on the simulated card, so that torch.save, torch.load, pickle and deepcopy work with their own code.

All of these ask a storage where it lies, copy it to the host to write it, and make one where the file says. Once
those few questions are answered, PyTorch's own Python code does the rest, error messages included.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from devicelab.errors import SimulationError
from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine, SimCard
from devicelab.simgpu.marks import marks
from devicelab.simgpu.run.dispatch import SimulatedDispatch

HANDLE = 8  # parts of what _share_cuda_ returns: torch/csrc/StorageSharing.cpp
_Storage = torch.UntypedStorage
_BASE = torch._C.StorageBase
_real_device = _BASE.device.__get__  # type: ignore[attr-defined]


def _card(storage: _Storage) -> SimCard | None:
    """Return the card of a running simulation that holds the storage, or None."""
    mark = getattr(storage, marks.ATTRIBUTE, None)
    return mark if isinstance(mark, SimCard) and mark.running else None


def device_of(storage: _Storage) -> torch.device:
    """Return the storage's device: the simulated one, also in a forked child where no kernel runs, else the real one."""
    mark = getattr(storage, marks.ATTRIBUTE, None)
    return mark.device if isinstance(mark, SimCard) and mark.known else _real_device(storage)


def _new(cls: type, *args: Any, device: Any = None, **kwargs: Any) -> _Storage:
    """Stand for UntypedStorage(...): C++ must not be asked for a CUDA device."""
    where = None if device is None else torch.device(device)
    if where is None or where.type != "cuda":
        return _BASE.__new__(cls, *args, **kwargs, **({} if where is None else {"device": where}))
    if state.current:  # C++ starts CUDA without asking whether this is a fork
        state.current.mode.usable(state.current.cards[where.index or 0])  # type: ignore[attr-defined]
    storage: Any = _BASE.__new__(cls, *args, **kwargs)
    marks.tag(storage, where)
    return storage


def _copy(target: _Storage, source: Any, non_blocking: bool | None = None) -> _Storage:
    """Stand for UntypedStorage.copy_, and let a copy that touches a card take its time on the simulated clock."""
    for one in (target, source):
        _readable(one)
    with torch._C._DisableTorchDispatch():  # C++ copies through tensors that are nobody's
        _BASE.copy_(target, source, bool(non_blocking))  # type: ignore[attr-defined]
    origin, destination = device_of(source), device_of(target)
    machine = state.current
    if machine and "cuda" in (origin.type, destination.type):
        machine.clock.copy(origin, destination, target.nbytes(), False, bool(non_blocking))
    return target


def _resize(storage: _Storage, nbytes: int) -> _Storage:
    """Stand for UntypedStorage.resize_, and count the new size on the card."""
    _BASE.resize_(storage, nbytes)  # type: ignore[attr-defined]
    card = _card(storage)
    if card:
        marks.mark(storage, card)
    return storage


def _write_file(storage: _Storage, *args: Any) -> Any:
    """Stand for the writing of pickle and of older files: C++ copies to the host what lies on a card."""
    card = _readable(storage)
    if card and state.current:
        state.current.clock.copy(card.device, marks.CPU, storage.nbytes())
    return _BASE._write_file(storage, *args)  # type: ignore[attr-defined]


def _getitem(storage: _Storage, key: Any) -> Any:
    """Stand for UntypedStorage[...]: a part lies where the whole lies; the host reads one byte by a copy."""
    if device_of(storage).type == "meta":
        raise NotImplementedError("Not available for 'meta' device type")  # torch/storage.py
    card = _readable(storage)
    found = _BASE.__getitem__(storage, key)  # type: ignore[attr-defined, misc]
    if card and isinstance(found, _Storage):
        found._simulated_card = card  # type: ignore[attr-defined]  # the memory is counted with the whole's
    elif card and state.current:
        state.current.clock.copy(card.device, marks.CPU, 1)
    return found


def _setitem(storage: _Storage, key: Any, value: Any) -> None:
    """Stand for UntypedStorage[...] = value."""
    _readable(storage)
    _BASE.__setitem__(storage, key, value)  # type: ignore[attr-defined, index]


def _readable(storage: Any) -> SimCard | None:
    """Return the card that holds a storage; CUDA's error in a forked child."""
    mark = getattr(storage, marks.ATTRIBUTE, None)
    if isinstance(mark, SimCard) and mark.known and state.current:
        state.current.mode.usable(mark)  # type: ignore[attr-defined]
        return mark
    return None


def _new_like(storage: _Storage, *args: Any, **kwargs: Any) -> _Storage:
    """Stand for UntypedStorage.new: an empty one on the same device."""
    return _Storage(*args, **{"device": device_of(storage), **kwargs})


def unset_fake_temporarily(original: Any) -> Any:
    """Stand for the function by which typed storages leave a FakeTensorMode, in whose place the simulation stands."""

    @contextmanager
    def unset() -> Iterator[Any]:
        with nullcontext() if isinstance(_mode(), SimulatedDispatch) else original() as mode:
            yield mode

    return unset


def _mode() -> Any:
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)


def _from_buffer(*args: Any, **kwargs: Any) -> _Storage:
    """Stand for UntypedStorage.from_buffer, which makes a meta storage where it believes that a FakeTensorMode is on."""
    mode = _mode()
    if mode is None:
        return _BASE.from_buffer(*args, **kwargs)  # type: ignore[attr-defined]
    torch._C._unset_dispatch_mode(mode._mode_key)
    try:
        return _BASE.from_buffer(*args, **kwargs)  # type: ignore[attr-defined]
    finally:
        torch._C._set_dispatch_mode(mode)


def _is_shared(storage: _Storage) -> bool:
    """Stand for UntypedStorage.is_shared: what lies on a card counts as shared."""
    return _card(storage) is not None or _BASE.is_shared(storage)  # type: ignore[attr-defined]


def _share_cuda(storage: _Storage, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """Stand for the handle that another process would open, which is refused.

    A queue pickles on a thread of its own, where an error would be lost and the reader wait for ever: there the reader gets it.
    """
    if device_of(storage).type != "cuda":
        raise RuntimeError(
            "_share_cuda_: only available on CUDA"
        )  # torch/csrc/StorageSharing.cpp, as the next two
    if threading.current_thread().name.startswith("QueueFeederThread"):
        return (Refused(),) * HANDLE
    return refuse_sharing()


def _share_on_host(name: str) -> Any:
    """Return the stand-in for a way to share memory of the host, which a card's storage is not."""

    def share(storage: _Storage, *args: Any, **kwargs: Any) -> Any:
        if _card(storage) is not None:
            raise RuntimeError(f"{name.removesuffix('cpu_')}: only available on CPU")
        return getattr(_BASE, name)(storage, *args, **kwargs)

    return share


class Refused:
    """What raises where it is read."""

    def __reduce__(self) -> Any:
        return refuse_sharing, ()


def refuse_sharing() -> Any:
    """Refuse what would need memory that two processes see on one card."""
    raise SimulationError(
        "The simulated GPU cannot share a CUDA tensor with another process. Send tensor.cpu(), and move it to the"
        " GPU on the other side."
    )


def install(machine: Machine) -> None:
    """Let storages say on which simulated card they are, until the simulation stops."""
    replacements = {
        "device": property(device_of),
        "__new__": staticmethod(_new),
        "from_buffer": staticmethod(_from_buffer),
        "copy_": _copy,
        "resize_": _resize,
        "is_shared": _is_shared,
        "__getitem__": _getitem,
        "__setitem__": _setitem,
        "new": _new_like,
        "_write_file": _write_file,
        "_share_cuda_": _share_cuda,
        "_share_fd_cpu_": _share_on_host("_share_fd_cpu_"),
        "_share_filename_cpu_": _share_on_host("_share_filename_cpu_"),
    }
    for name, value in replacements.items():
        machine.patches.replace(f"torch.UntypedStorage.{name}", value)
    machine.patches.everywhere("torch._subclasses.fake_tensor.unset_fake_temporarily", unset_fake_temporarily)
