"""What a result keeps alive for its backward pass, as autograd noted it; nothing is unpacked: nobody's hook runs."""

import sys
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import torch

from devicelab.reach import is_a

MOST_NODES = 20_000  # that one walk visits: about a second


@cache
def _raw(kind: Any) -> tuple[str, ...]:
    """Return the attributes by which a kind of node holds tensors."""
    return tuple(name for name in dir(kind) if name.startswith("_raw_saved_"))


def saved_by(node: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors that one node keeps; none after a backward pass, nor of a checkpoint, which computes them again."""
    for name in _raw(node.__class__):
        try:
            held = getattr(node, name) if _TELLS else _unpacked(node, name.removeprefix("_raw"))
        except (RuntimeError, AttributeError, _HookRan):  # freed, or packed by somebody's hook
            continue
        for one in held if is_a(held, (list, tuple)) else (held,):
            tensor = getattr(one, "data", None) if _TELLS else one
            if is_a(tensor, torch.Tensor):
                yield tensor


_TELLS = hasattr(
    torch._C._autograd.SavedTensor, "data"
)  # not in PyTorch 2.8: what is saved must be unpacked there


class _HookRan(Exception):
    """A hook was about to run."""


def _unpacked(node: Any, name: str) -> Any:
    """Return what a node has saved; raises where a function of Python's, a hook, would be called for it."""
    before = sys.getprofile()
    sys.setprofile(_refuse)
    try:
        return getattr(node, name)
    finally:
        sys.setprofile(before)


def _refuse(frame: Any, event: str, _: Any) -> None:
    if event == "call":
        raise _HookRan


class Graphs:
    """A walk over autograd's graphs that meets each node once, whichever result leads to it."""

    def __init__(self) -> None:
        self._seen: set[Any] = set()

    @property
    def is_full(self) -> bool:
        """Whether there was more than one walk visits, so that sums are too small."""
        return len(self._seen) >= MOST_NODES

    def copy(self) -> "Graphs":
        """Return a walk that has met the same nodes."""
        other = Graphs()
        other._seen = set(self._seen)
        return other

    def kept(self, results: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield what the graphs of some results keep, beyond what was met before."""
        todo = [one.grad_fn for one in results]
        while todo and len(self._seen) < MOST_NODES:
            node = todo.pop()
            if node is None or node in self._seen:
                continue
            self._seen.add(node)
            yield from saved_by(node)
            todo += [following for following, _ in node.next_functions]
