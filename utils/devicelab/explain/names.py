"""The learner's own names for tensors, frame by frame."""

import ast
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from weakref import WeakSet

import torch
from torch import nn

from devicelab.placement.walk import At, Walk
from devicelab.reach import is_a

from .frames import Frame
from .operands import MISSING, Operand, operands_of

MOST_KEYS = 100  # of a checkpoint
NOT_THE_LEARNERS = {"In", "Out", "exit", "quit", "get_ipython", "__builtins__"}
MOST_OBJECTS = (
    20_000  # looked into in one frame, less far than placement does: a learner waits for the answer
)


@dataclass(frozen=True)
class Named:
    """A tensor under a name that leads to it in one frame; `kind` is what placement calls it."""

    text: str
    tensor: torch.Tensor
    kind: str
    view: "View"
    expected: bool = False

    @property
    def root(self) -> str:
        """The variable that the name begins with."""
        return self.text.replace("[", ".").partition(".")[0]

    @property
    def owner(self) -> object:
        """What that variable holds."""
        return self.view.variables.get(self.root, MISSING)


class _Collect(Walk):
    """Placement's walk, keeping the tensors themselves while the error is looked at."""

    def __init__(self, view: "View") -> None:
        super().__init__(MOST_OBJECTS)
        self.view = view
        self.modules: list[tuple[str, nn.Module]] = []

    @property
    def named(self) -> list[Named]:
        """The tensors that were found, with their names."""
        return [Named(at.name, tensor, at.kind, self.view, at.expects(tensor)) for at, tensor in self.found]

    def _module(self, at: At, module: nn.Module) -> Iterator[tuple[At, object]]:
        self.modules.append((at.name, module))
        return super()._module(at, module)


class _Looked(threading.local):
    """The views of one thread, which hold their names as the names hold them."""

    def __init__(self) -> None:
        self.views = WeakSet[View]()


class View:
    """What one frame can see; looked through once, when it is first asked."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        _looked.views.add(self)

    @cached_property
    def variables(self) -> dict[str, object]:
        """The frame's variables, without Python's and IPython's own; in the order in which they are looked into."""
        names = {
            name: value
            for name, value in self.frame.names().items()
            if not name.startswith("_") and name not in NOT_THE_LEARNERS
        }
        return dict(sorted(names.items(), key=lambda pair: _turn(pair[1])))

    @cached_property
    def operands(self) -> list[Operand]:
        """The tensors of the part of the line that failed."""
        return operands_of(self.frame)

    @cached_property
    def _walk(self) -> _Collect:
        walk = _Collect(self)
        walk.look(self.variables.items())
        return walk

    @property
    def tensors(self) -> list[Named]:
        """Every tensor that the frame's variables lead to, with its name."""
        return self._walk.named

    @property
    def modules(self) -> list[tuple[str, nn.Module]]:
        """The outermost modules that the frame's variables lead to."""
        return self._walk.modules

    @property
    def is_method_of_module(self) -> bool:
        """Whether the code belongs to a model, as forward does."""
        return is_a(self.frame.frame.f_locals.get("self"), nn.Module)

    @property
    def is_module_level(self) -> bool:
        """Whether the code is outside of functions."""
        return self.frame.frame.f_locals is self.frame.frame.f_globals

    @property
    def is_within_a_line(self) -> bool:
        """Whether the code is a comprehension's or a lambda's, whose names are set anew for each element."""
        name = self.frame.frame.f_code.co_name
        return name.startswith("<") and name != "<module>"

    def is_argument(self, name: str) -> bool:
        """Whether the function got `name` from its caller."""
        code = self.frame.frame.f_code
        return name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    def is_own(self, name: str) -> bool:
        """Whether the variable can be set here: it is no argument, and neither a global nor a variable of an outer function."""
        code = self.frame.frame.f_code
        own = name in code.co_varnames or name in code.co_cellvars
        return self.is_module_level or (own and not self.is_argument(name))

    def name(self, tensor: torch.Tensor) -> Named | None:
        """Return the frame's name of a tensor: of the very object, else of one that shares its memory."""
        variable = self._variable_of.get(id(tensor))
        if variable is not None:
            return Named(variable, tensor, "tensor", self)
        same = self._names_of.get(id(tensor))
        near = self._sharing.get(_storage(tensor), ())
        return same or _simplest(named for named in near if _shares(named.tensor, tensor))

    @cached_property
    def mentioned(self) -> set[str]:
        """The names that the failing statement mentions; all variables where there is no source."""
        statement = self.frame.statement
        names = (
            {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)} if statement else set()
        )
        return names or set(self.variables)

    @cached_property
    def submodules(self) -> dict[str, nn.Module]:
        """Every module that the frame's variables lead to, by its name."""
        found: dict[str, nn.Module] = {}
        for root, outer in self.modules:
            for path, part in outer.named_modules():
                found.setdefault(f"{root}.{path}" if path else root, part)
        return found

    @cached_property
    def _variable_of(self) -> dict[int, str]:
        """The first variable that holds a tensor itself, by the tensor's id."""
        plain = [
            (id(value), name)
            for name, value in self.variables.items()
            if is_a(value, torch.Tensor) and not isinstance(value, nn.Parameter)
        ]
        return dict(reversed(plain))

    @cached_property
    def _names_of(self) -> dict[int, Named | None]:
        """The simplest name of each tensor, by the tensor's id."""
        groups: dict[int, list[Named]] = {}
        for named in self.tensors:
            groups.setdefault(id(named.tensor), []).append(named)
        return {key: _simplest(group) for key, group in groups.items()}

    @cached_property
    def _sharing(self) -> dict[int | None, list[Named]]:
        """The tensors by the memory that they lie in."""
        groups: dict[int | None, list[Named]] = {}
        for named in self.tensors:
            groups.setdefault(_storage(named.tensor), []).append(named)
        groups.pop(None, None)
        return groups


_looked = _Looked()


def forget() -> None:
    """Let go of all that this thread's views have found: else it lived until Python collects its garbage, tensors too."""
    for view in [*_looked.views]:
        vars(view).clear()


def _turn(value: object) -> int:
    """Optimizers after the modules whose parameters they hold; checkpoints, whose state they hold, and long containers last."""
    if is_a(value, torch.optim.Optimizer):
        return 1
    if is_a(value, dict) and any(map(_is_optimizers, (value, *islice(dict.values(value), MOST_KEYS)))):
        return 2
    return 2 if is_a(value, (list, tuple, set, dict)) and len(value) > 1000 else 0


def _is_optimizers(value: object) -> bool:
    """Whether a value is what `optimizer.state_dict()` returns."""
    return is_a(value, dict) and dict.__contains__(value, "param_groups")


def _simplest(found: Iterable[Named]) -> Named | None:
    return min(
        found,
        key=lambda named: (named.text.count(".") + named.text.count("["), len(named.text)),
        default=None,
    )


def _storage(tensor: torch.Tensor) -> int | None:
    try:
        return tensor.untyped_storage()._cdata
    except Exception:  # a lazy parameter, a sparse or a wrapped tensor has no storage to compare
        return None


def _shares(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors in the same memory are the same, or a view and what it is a view of."""
    return one.storage_offset() == other.storage_offset() or one._base is other._base is None


def name_of(tensor: torch.Tensor, views: list[View]) -> Named | None:
    """Return the learner's name of a tensor; `views` are the learner's frames, innermost first.

    What a function was given is followed outwards, to the code that gave it; so is what belongs to a model.
    """
    best: Named | None = None
    for view in views:
        named = view.name(tensor)
        if named is None:
            if best is not None:
                break
            continue
        # What a comprehension calls a layer is one name of many; where the layer is kept is what can be changed.
        is_passing = best is not None and best.view.is_within_a_line and best.kind in ("parameter", "buffer")
        if best is None or is_passing or not ("[" in named.text and "[" not in best.text):
            best = named
        if view.is_within_a_line and named.kind in ("parameter", "buffer"):
            continue
        if view.is_own(named.root) or (named.root == "self" and not view.is_method_of_module):
            break
    return best
