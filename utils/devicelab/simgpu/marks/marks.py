"""On which simulated card a tensor lies: an attribute of its storage.

A storage's Python object lives as long as the storage itself, through views, autograd's graph and `.data =`, so the attribute
says for every tensor on that storage where it is. Nothing is stored on tensors.
"""

import ctypes
import gc
from collections.abc import Iterator
from typing import Any

import torch

from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import SimCard

Tensor = torch.Tensor
CPU = torch.device("cpu")
Device = type(CPU)  # torch.device has a stand-in while simulating
ATTRIBUTE = "_simulated_card"
# What tensors without a storage say when asked for it.
UNUSUAL = (RuntimeError, NotImplementedError, AttributeError, ValueError)
real_device = torch._C.TensorBase.device.__get__  # type: ignore[attr-defined]
functorch = torch._C._functorch
transforming = torch._C._are_functorch_transforms_active
COMPRESSED_ROWS = (torch.sparse_csr, torch.sparse_bsr)
COMPRESSED_COLUMNS = (torch.sparse_csc, torch.sparse_bsc)


class Adoptable:
    """The mark of a tensor that C++ made on the way: it becomes a card's at the first contact within the same call.

    CUDA's composite operators make such tensors on the card; here C++ can only make them on the CPU. `place` is the Python
    instruction being executed: a tensor made by another instruction is the learner's own CPU tensor, and stays one.
    """

    __slots__ = ("hint", "place")
    device = CPU

    def __init__(self, place: tuple[int, int], hint: SimCard | None):
        self.place = place
        # The card of the loss, in a backward pass: where a gradient made from nothing belongs.
        self.hint = hint


def card_of(tensor: Tensor) -> SimCard | None:
    """Return the running simulation's card that holds `tensor`, or None."""
    tag = tag_of(tensor)
    if tag.__class__ is Adoptable and tag.hint is not None:
        put(tensor, tag.hint)
        tag = tag.hint
    return tag if tag.__class__ is SimCard and tag.known else None


def tag_of(tensor: Tensor) -> SimCard | Adoptable | None:
    """Return the mark on the tensor's storage, whatever kind of tensor it is."""
    try:
        tag = tensor.untyped_storage()._simulated_card  # type: ignore[attr-defined]
    except UNUSUAL:
        return _tag_of_unusual(tensor)
    # torch.func.functionalize and subclasses such as DTensor wrap tensors in others with storages of their own.
    wrapped = tag is None and (transforming() or hasattr(tensor.__class__, "__tensor_flatten__"))
    return _tag_of_unusual(tensor) if wrapped else tag


def _tag_of_unusual(tensor: Tensor) -> SimCard | Adoptable | None:
    """Look through functorch's wrappers, and into the parts of sparse and nested tensors and of subclasses that wrap others."""
    tensor = _below_vmap(innermost(tensor))
    if hasattr(tensor.__class__, "__tensor_flatten__"):
        with torch._C.DisableTorchFunctionSubclass():
            names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
            return tag_of(getattr(tensor, names[0])) if names else None
    with torch._C.DisableTorchFunctionSubclass():
        part = next(parts(tensor), None)
        try:
            return None if part is None else getattr(part.untyped_storage(), ATTRIBUTE, None)
        except UNUSUAL:
            return None


def innermost(tensor: Tensor) -> Tensor:
    """Return what torch.func's transforms have wrapped, or the tensor itself."""
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor


def _below_vmap(tensor: Tensor) -> Tensor:
    """Return what the older vmap (torch._vmap_internals, for batched gradients) wraps, or the tensor itself."""
    level = torch._C._vmapmode_increment_nesting() - 1  # the only way to ask
    torch._C._vmapmode_decrement_nesting()
    if level and tensor.layout is torch.strided:
        with torch._C._DisableTorchDispatch():
            for inner in range(level, 0, -1):
                tensor = torch._remove_batch_dim(tensor, inner, 1, 0)
    return tensor


def parts(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the tensors that hold the values: the tensor itself, or what a sparse one consists of."""
    layout = tensor.layout
    if layout is torch.strided or layout is torch.jagged:
        yield tensor
    elif layout is torch.sparse_coo:
        yield tensor._values()
        yield tensor._indices()
    elif layout in COMPRESSED_ROWS:
        yield tensor.values()
        yield tensor.crow_indices()
        yield tensor.col_indices()
    elif layout in COMPRESSED_COLUMNS:
        yield tensor.values()
        yield tensor.ccol_indices()
        yield tensor.row_indices()


def device_of(tensor: Tensor) -> torch.device:
    """Return the tensor's device: the simulated one, else the real one."""
    tag: Any = tag_of(tensor)
    if tag.__class__ is Adoptable:
        tag = card_of(tensor)
    return tag.device if tag is not None and tag.known else real_device(tensor)


def index_of(tensor: Tensor) -> int | None:
    """Return the number of the simulated card that holds `tensor`, or None."""
    card = card_of(tensor)
    return None if card is None else card.index


def _forgets_in_cycles() -> bool:
    """Return whether a storage loses its attributes when it was last held by a reference cycle, as in torch 2.8.

    There the garbage collector clears the Python object although C++ still holds the storage.
    """
    storage = torch.UntypedStorage(1)
    setattr(storage, ATTRIBUTE, True)
    tensor = torch.empty(0, dtype=torch.uint8).set_(storage)  # type: ignore[call-overload]
    cycle: list[Any] = [storage]
    cycle.append(cycle)
    del storage, cycle
    gc.collect(0)
    return getattr(tensor.untyped_storage(), ATTRIBUTE, None) is None


# A storage is in no cycle of its own: its attributes hold no tensor.
_untrack = ctypes.pythonapi.PyObject_GC_UnTrack
_untrack.argtypes, _untrack.restype = [ctypes.py_object], None
_FORGETFUL = _forgets_in_cycles()


def mark(storage: torch.UntypedStorage, card: SimCard) -> None:
    """Put a storage on `card` and count its memory there; raises torch.OutOfMemoryError when the card is full."""
    storage._token = card.ledger.take(storage.nbytes())  # type: ignore[attr-defined]
    storage._simulated_card = card  # type: ignore[attr-defined]
    if _FORGETFUL:
        _untrack(storage)


def unmark(storage: torch.UntypedStorage) -> None:
    """Make a storage the CPU's."""
    storage._simulated_card = storage._token = None  # type: ignore[attr-defined]


def put(tensor: Tensor, card: SimCard) -> None:
    """Put a tensor (all parts of a sparse one) on `card`."""
    for part in parts(innermost(tensor)):
        storage = part.untyped_storage()
        if getattr(storage, ATTRIBUTE, None) is not card:
            mark(storage, card)


def release(tensor: Tensor) -> None:
    """Make a tensor (all parts of a sparse one) the CPU's."""
    for part in parts(innermost(tensor)):
        unmark(part.untyped_storage())


def tag(where: Tensor | torch.UntypedStorage, device: torch.device) -> None:
    """Say that a tensor or a storage lies on `device`: a card of the running simulation, or the CPU."""
    simulation = state.current
    card = simulation.card(device) if simulation and device.type == "cuda" else None
    if isinstance(where, torch.UntypedStorage):
        mark(where, card) if card else unmark(where)
    elif card:
        put(where, card)
    else:
        release(where)
