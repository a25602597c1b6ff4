"""Causes that the message's sums tell: other programs, a cache in pieces, a single tensor that is larger than all there is."""

import torch

from devicelab import units
from devicelab.explain.names import View

from .figures import Figures
from .remedies import Cause, Remedy

ALLOCATOR = "https://docs.pytorch.org/docs/stable/notes/cuda.html#optimizing-memory-usage-with-pytorch-cuda-alloc-conf"
MUCH = 0.25  # of the card in other programs, of PyTorch's memory in its cache: less is not the cause
SPREAD = 8  # times as many elements as either of two tensors of one size: nobody wants that


def others(figures: Figures) -> Cause | None:
    """Return that another program holds what is missing, where it does."""
    held, wanted, total, free = figures.others, figures.wanted or 0, figures.total, figures.free or 0
    if held is None or total is None or held < MUCH * total or held + free < wanted:
        return None
    what = f"Other programs hold {units.size(held)} of the card's {units.size(total)}."
    why = "an earlier run or notebook that was not shut down, a second training, the screen: no line of this script frees it"
    return Cause(
        what,
        "another program",
        Remedy("nvidia-smi", "", why, ("end the process that is not needed",)),
    )


def in_pieces(figures: Figures) -> Cause | None:
    """Return that the cache has enough, but not in one piece, where it is so."""
    idle, wanted = figures.idle or 0, figures.wanted or 0
    if not wanted or idle < max(wanted, MUCH * (idle + (figures.allocated or 0))):
        return None
    what = (
        f"PyTorch's cache has {units.size(idle)} that no tensor uses, but no piece of {units.size(wanted)}."
    )
    why = "tensors of many sizes leave gaps (fragmentation); segments that can grow leave fewer"
    tell = (
        "batches of one size leave no gaps: pad them alike",
        "expandable segments need torch 2.1 or newer, and are not there on Windows",
    )
    return Cause(
        what, "the cache", Remedy(f"export {figures.setting}", "before Python starts", why, tell), ALLOCATOR
    )


def taken(figures: Figures) -> Cause | None:
    """Return that more was free than was asked for, where the message says so, and no limit was set."""
    wanted, free = figures.wanted, figures.free
    if wanted is None or free is None or free < wanted or figures.allowed is not None:
        return None
    what = f"{units.size(free)} were free when the message was written, more than the {units.size(wanted)} that were asked for."
    why = "it was not to be had a moment before; who takes memory meanwhile, the list of processes shows"
    return Cause(
        what, "what took it meanwhile", Remedy("nvidia-smi -l 1", "in another terminal, while it runs", why)
    )


def too_large(figures: Figures) -> Cause | None:
    """Return that a single tensor is larger than all there is, where it is."""
    if figures.wanted is None or figures.room is None or figures.wanted <= figures.room:
        return None
    what = f"One tensor of {units.size(figures.wanted)} is asked for, and there are {units.size(figures.room)} in all."
    why = "[n, 1] and [n] make [n, n]; a mask of attention grows with the square of the length"
    return Cause(
        what,
        "the size of one tensor",
        Remedy("print(x.shape)", "before the line, for each of its tensors", why),
    )


def spread(view: View) -> tuple[str, Remedy] | None:
    """Return who is to blame where two tensors of one size meet in shapes that together make a far larger one, and the remedy."""
    pair = _broadcast(view)
    return (pair[1], _same_shape(view, *pair)) if pair else None


def _broadcast(view: View) -> tuple[str, str, torch.Size, torch.Size] | None:
    """Return two tensors of the failing line that together make a far larger one, with their shapes."""
    met = [
        (one.text, one.tensor.shape)
        for one in view.operands
        if one.tensor is not None and one.text.isidentifier()
    ]
    for number, (one, shape) in enumerate(met):
        for other, beside in met[number + 1 :]:
            if shape.numel() == beside.numel() and _together(shape, beside) >= SPREAD * shape.numel():
                return one, other, shape, beside
    return None


def _together(one: torch.Size, other: torch.Size) -> int:
    try:
        return torch.broadcast_shapes(one, other).numel()
    except RuntimeError:
        return 0


def _same_shape(view: View, one: str, other: str, shape: torch.Size, beside: torch.Size) -> Remedy:
    whole = list(torch.broadcast_shapes(shape, beside))
    why = f"{one} is {list(shape)} and {other} is {list(beside)}: together they are spread to {whole}"
    return Remedy(f"{other} = {other}.view_as({one})", f"before line {view.frame.line}", why)
