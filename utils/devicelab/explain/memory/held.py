"""Who holds a card's memory: weights, gradients, optimizer state, what backward needs, tensors by the learner's names."""

import gc
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import torch

from devicelab.explain.frames import Frame
from devicelab.explain.names import Named, View, name_of
from devicelab.explain.operands import device_of
from devicelab.explain.result import Held
from devicelab.reach import is_a

from .graph import Graphs

WEIGHTS, GRADIENTS, STATE, BACKWARD, TENSORS = (
    "weights",
    "gradients",
    "optimizer state",
    "kept for backward",
    "tensors",
)
RUNNING, NAMELESS = "the call that failed", "what no name leads to"


def container(text: str) -> str:
    """Return what holds a tensor with others: "history['loss'][3]" and "history['acc'][0]" lie in "history"."""
    return re.split(r"\[", text, maxsplit=1)[0]


@dataclass(frozen=True, eq=False)
class Keeper:
    """Tensors that lie together under one name of the learner's."""

    name: str
    tensors: tuple[torch.Tensor, ...]
    view: View


class Books:
    """Counts the bytes of each storage of one device once, for whoever is asked about first."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.graphs = Graphs()
        self._seen: set[int] = set()

    def copy(self) -> "Books":
        """Return books with the same entries, in which to count on."""
        other = Books(self.device)
        other._seen, other.graphs = set(self._seen), self.graphs.copy()
        return other

    def is_here(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor lies on the device; a device without a number is any of its kind."""
        where = device_of(tensor)
        return where.type == self.device.type and self.device.index in (None, where.index)

    def count(self, tensors: Iterable[torch.Tensor]) -> int:
        """Return the bytes of what was not counted before."""
        return sum(map(self._new, tensors))

    def with_graphs(self, tensors: Iterable[torch.Tensor]) -> int:
        """Return the bytes of tensors and of all that their graphs keep, what was counted before left out."""
        given = list(tensors)
        return self.count(given) + self.count(self.graphs.kept(given))

    def _new(self, tensor: torch.Tensor) -> int:
        try:
            storage = tensor.untyped_storage()
            if storage._cdata in self._seen or not self.is_here(tensor):
                return 0
            self._seen.add(storage._cdata)
            return int(storage.nbytes())
        except Exception:  # a lazy, sparse or wrapped tensor has no storage to ask
            return 0


def named_on(books: Books, views: list[View]) -> list[Named]:
    """Return the tensors of the device that the frames' variables lead to, by the learner's names."""
    found = {id(one.tensor): one for view in views for one in view.tensors if books.is_here(one.tensor)}
    return [name_of(one.tensor, views) or one for one in found.values()]


def of_model(books: Books, named: list[Named]) -> Iterator[Held]:
    """Yield weights with buffers, gradients, and what optimizers keep, by the variable that leads to them."""
    weights = [one for one in named if one.kind.startswith(("parameter", "buffer"))]
    yield from _by_root(books, WEIGHTS, [(one.root, one.tensor) for one in weights])
    yield from _by_root(
        books, GRADIENTS, [(one.root, one.tensor.grad) for one in weights if one.tensor.is_leaf]
    )
    yield from _by_root(
        books, STATE, [(one.root, one.tensor) for one in named if one.kind == "optimizer state"]
    )


def _by_root(books: Books, kind: str, pairs: list[tuple[str, torch.Tensor | None]]) -> Iterator[Held]:
    groups: dict[str, list[torch.Tensor]] = {}
    for root, tensor in pairs:
        if tensor is not None:
            groups.setdefault(root, []).append(tensor)
    for root, tensors in groups.items():
        yield Held(kind, root, books.count(tensors), len(tensors))


def keepers(named: list[Named]) -> list[Keeper]:
    """Return the learner's own tensors, those of a list or dict together."""
    groups: dict[tuple[int, str], list[Named]] = {}
    for one in named:
        if not one.kind.startswith(("parameter", "buffer", "optimizer")):
            groups.setdefault((id(one.view), container(one.text)), []).append(one)
    return [
        Keeper(name, tuple(one.tensor for one in group), group[0].view) for (_, name), group in groups.items()
    ]


class Stock:
    """What lies on a device, as far as it can be reached: of the model first, then by the learner's names, then the rest."""

    def __init__(self, device: torch.device, views: list[View], frames: list[Frame]) -> None:
        self._books, self._frames = Books(device), frames
        named = named_on(self._books, views)
        self.model = list(of_model(self._books, named))
        self.keepers = keepers(named)

    @cache  # noqa: B019  # lives as long as one explanation
    def _counted(self, keeper: Keeper) -> tuple[Books, int, int]:
        """Return books in which a keeper came first, the bytes of its tensors, and what their graphs keep beside."""
        books = self._books.copy()
        own = books.count(keeper.tensors)
        return books, own, books.count(books.graphs.kept(keeper.tensors))

    def of(self, keeper: Keeper) -> int:
        """Return the bytes of some tensors and of what their graphs keep, the model's own left out."""
        return sum(self._counted(keeper)[1:])

    def is_cut(self, keeper: Keeper) -> bool:
        """Whether more is kept than was counted."""
        return self._counted(keeper)[0].graphs.is_full

    def table(self, first: Keeper | None = None) -> list[Held]:
        """Return who holds how much, the largest first; what several hold counts for `first`, then for who comes first."""
        found, books = list(self.model), self._books
        if first is not None:
            books, own, graph = self._counted(first)
            found += [Held(TENSORS, first.name, own, len(first.tensors)), Held(BACKWARD, first.name, graph)]
        locals_ = (value for one in self._frames for value in one.frame.f_locals.values())
        running = [value for value in locals_ if is_a(value, torch.Tensor)]
        rest = [(one.name, list(one.tensors)) for one in self.keepers if one is not first]
        for name, tensors in (*rest, (RUNNING, running)):
            found.append(Held(TENSORS, name, books.count(tensors), len(tensors)))
            found.append(Held(BACKWARD, name, books.count(books.graphs.kept(tensors))))
        nameless = (one for one in gc.get_objects() if is_a(one, torch.Tensor) and is_defined(one))
        found.append(Held(TENSORS, NAMELESS, books.with_graphs(nameless)))
        return sorted((one for one in found if one.nbytes), key=lambda one: -one.nbytes)


def is_defined(tensor: torch.Tensor) -> bool:
    """Say whether a tensor is one: C++ may leave an undefined one behind, which up to PyTorch 2.8 answers nothing."""
    try:
        return tensor.grad_fn is not None or tensor.is_leaf
    except RuntimeError:
        return False
