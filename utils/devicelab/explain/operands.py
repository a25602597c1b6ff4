"""Which tensors a failing expression works on, found by looking at the frame's variables and running nothing."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from devicelab.devices import default, simulated
from devicelab.reach import is_a

from .frames import Frame

MISSING = object()
VIEWS = ("T", "mT", "H", "mH", "data", "real")  # attributes of a tensor that are on its own device
MOVES = ("to", "cuda", "cpu", "type", "numpy", "pin_memory", "to_device")
FACTORIES = (
    "arange", "as_tensor", "empty", "eye", "full", "linspace", "logspace", "ones", "rand", "randint", "randn", "randperm",
    "tensor", "tril_indices", "triu_indices", "zeros", "from_numpy", "FloatTensor", "LongTensor", "Tensor",
)  # fmt: skip
CPU_MAKERS = ("from_numpy", "FloatTensor", "LongTensor", "Tensor")
MOST_ELEMENTS = 4096  # of a list of tensors
CPU = torch.device("cpu")
ENDED = "it belongs to a simulation that has ended or rests: in the one that runs now it counts as the CPU's"


@dataclass(frozen=True)
class Operand:
    """One tensor of an expression: its source text, where it is, and the tensor itself where a variable leads to it.

    `node` is its syntax, `made` tells that the expression itself makes the tensor, which therefore has no name, and
    `made_by_module` that a module's call does.
    """

    text: str
    device: torch.device
    tensor: torch.Tensor | None = None
    node: ast.AST | None = None
    made: bool = False
    made_by_module: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, () where it is not known."""
        if self.tensor is None or self.made or is_lazy(self.tensor):
            return ()
        return tuple(self.tensor.shape)

    def made_by(self, *methods: str) -> bool:
        """Whether a call of one of these methods makes the tensor."""
        function = self.node.func if self.made and isinstance(self.node, ast.Call) else None
        return isinstance(function, ast.Attribute) and function.attr in methods


def device_of(tensor: torch.Tensor) -> torch.device:
    """Return where the tensor is, or was when its simulated GPU was still running; with another one it is on the CPU."""
    card = None if has_ended(tensor) else _card_of(tensor)
    return getattr(card, "device", None) or tensor.device


def has_ended(tensor: torch.Tensor) -> bool:
    """Whether the tensor is of a simulation that has ended, or rests, while another one runs."""
    return simulated() is not None and not getattr(_card_of(tensor), "known", True)


def _card_of(tensor: torch.Tensor) -> object:
    try:
        return getattr(tensor.untyped_storage(), "_simulated_card", None)
    except Exception:  # a lazy parameter, a sparse or a wrapped tensor has no storage to ask
        return None


def operands_of(frame: Frame) -> list[Operand]:
    """Return the tensors of the part of the line that failed; all tensors among the locals where there is no source."""
    node = frame.node
    if node is None:
        return [
            operand for name, value in frame.frame.f_locals.items() for operand in _flat(name, value, None)
        ]
    names = dict(frame.frame.f_globals) | dict(frame.frame.f_locals)
    try:
        found = [_worded(one) for part in _parts(node, frame) for one in _operand(part, names)]
    except RecursionError:  # a sum of some hundred terms
        return []
    return [*{(id(one.tensor), one.text): one for one in found}.values()]


def _worded(operand: Operand) -> Operand:
    """Return an operand with its text; what an expression makes gets it here, once, and not at each depth."""
    if operand.text or operand.node is None:
        return operand
    return replace(operand, text=ast.unparse(operand.node))


def _parts(node: ast.AST, frame: Frame) -> Iterator[ast.AST]:
    """Yield the sub-expressions that one instruction works on."""
    if isinstance(node, ast.BinOp):
        yield from (node.left, node.right)
    elif isinstance(node, ast.Compare):
        yield from (node.left, *node.comparators)
    elif isinstance(node, ast.AugAssign):
        yield from (node.target, node.value)
    elif isinstance(node, ast.Subscript):
        yield from (node.value, node.slice)
        yield from _stored(node, frame)
    elif isinstance(node, ast.Attribute):
        yield node.value
        yield from _stored(node, frame)
    elif isinstance(node, ast.Call):
        yield from _call_parts(node)
    elif isinstance(node, ast.stmt):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                yield from _parts(child, frame)
    elif isinstance(node, ast.expr):
        yield node


def _call_parts(node: ast.Call) -> Iterator[ast.AST]:
    if isinstance(node.func, ast.Attribute):
        yield node.func.value
    for argument in node.args:
        yield argument.value if isinstance(argument, ast.Starred) else argument
    yield from (keyword.value for keyword in node.keywords)


def _stored(node: ast.AST, frame: Frame) -> Iterator[ast.AST]:
    """Yield what is assigned, where the failing part is the target of an assignment."""
    statement = frame.statement
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if any(_same_place(node, target) for target in targets) and isinstance(statement, ast.Assign):
        yield statement.value


def _same_place(one: ast.AST, other: ast.AST) -> bool:
    keys = ("lineno", "col_offset", "end_lineno", "end_col_offset")
    return all(getattr(one, key, None) == getattr(other, key, None) for key in keys)


def _operand(node: ast.AST, names: Mapping[str, object]) -> list[Operand]:
    """Return the tensors that `node` stands for."""
    value = look_up(node, names)
    if value is not MISSING:
        return list(_flat(ast.unparse(node), value, node))
    if isinstance(node, (ast.Tuple, ast.List)):
        return [operand for part in node.elts for operand in _operand(part, names)]
    made = _made(node, names)
    return [made] if made else []


def _flat(text: str, value: object, node: ast.AST | None) -> Iterator[Operand]:
    """Yield the tensors of a value: itself, or those in lists, tuples and dicts."""
    if is_a(value, torch.Tensor):
        yield Operand(text, device_of(value), value, node)
    elif is_a(value, Mapping):
        for key, part in list(value.items())[:MOST_ELEMENTS]:
            yield from _flat(f"{text}[{key!r}]", part, node) if isinstance(key, (str, int)) else ()
    elif is_a(value, (list, tuple)) and not isinstance(value, torch.Size):
        for number, part in enumerate(value[:MOST_ELEMENTS]):
            yield from _flat(f"{text}[{number}]", part, node)


def look_up(node: ast.AST, names: Mapping[str, object]) -> object:
    """Return the value of a name, attribute or element without running any of the learner's code, else MISSING."""
    if isinstance(node, ast.Name):
        return names.get(node.id, MISSING)
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Attribute):
        return attribute(look_up(node.value, names), node.attr)
    if isinstance(node, ast.Subscript):
        return _element(look_up(node.value, names), look_up(node.slice, names))
    return MISSING


def attribute(owner: object, name: str) -> object:
    """Return a stored attribute; properties are not run, apart from a tensor's views of itself."""
    if is_a(owner, torch.Tensor):
        if name in VIEWS:
            return owner
        return owner.grad if name == "grad" and owner.is_leaf and owner.grad is not None else MISSING
    stored = getattr(owner, "__dict__", {}) if owner is not MISSING else {}
    if is_a(owner, nn.Module):
        for table in ("_parameters", "_buffers", "_modules"):
            if name in stored.get(table, {}):
                return stored[table][name]
    if is_a(owner, tuple) and name in getattr(owner, "_fields", ()):
        return owner[owner._fields.index(name)]  # type: ignore[attr-defined]
    if is_a(owner, dict) and name not in stored:
        return owner.get(name, MISSING)  # outputs that are dicts with attributes
    return stored.get(name, MISSING)


def _element(owner: object, key: object) -> object:
    """Return an element of a plain container, a submodule of a container, or a tensor for its own parts."""
    if is_a(owner, torch.Tensor):
        return MISSING if isinstance(key, torch.Tensor) else owner
    if is_a(owner, (nn.Sequential, nn.ModuleList, nn.ParameterList)) and isinstance(key, int):
        values: list[object] = [*owner._modules.values()] or [*owner._parameters.values()]
        return values[key] if -len(values) <= key < len(values) else MISSING
    if is_a(owner, Mapping) and isinstance(key, (str, int)):
        data = owner if isinstance(owner, dict) else getattr(owner, "data", {})
        return data.get(key, MISSING) if isinstance(data, dict) else MISSING
    if is_a(owner, Sequence) and isinstance(key, int) and not isinstance(owner, (str, bytes)):
        return owner[key] if -len(owner) <= key < len(owner) else MISSING
    return MISSING


def _made(node: ast.AST, names: Mapping[str, object]) -> Operand | None:
    """Return the nameless tensor that `node` makes, if its device can be told from what it is made of."""
    if isinstance(node, ast.BinOp):
        inner = [one for part in (node.left, node.right) for one in _operand(part, names)]
        return _like(node, inner)
    if isinstance(node, (ast.UnaryOp, ast.Subscript)):
        return _like(node, _operand(node.operand if isinstance(node, ast.UnaryOp) else node.value, names))
    return _called(node, names) if isinstance(node, ast.Call) else None


def _called(node: ast.Call, names: Mapping[str, object]) -> Operand | None:
    function = look_up(node.func, names)
    if is_a(function, nn.Module):
        return _by_module(function, node, names)
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    owner = look_up(node.func.value, names) if isinstance(node.func, ast.Attribute) else MISSING
    if _torchs_own(owner) or (function is not MISSING and getattr(torch, name, MISSING) is function):
        return _from_torch(name, node, names)
    if not isinstance(node.func, ast.Attribute) or not (owner is MISSING or isinstance(owner, torch.Tensor)):
        return None
    receiver = _operand(node.func.value, names)
    if name in MOVES:
        device = CPU if name == "cpu" else named_device(node, names)
        return Operand("", device, _first(receiver), node, made=True) if device and receiver else None
    return _like(node, receiver)


def _by_module(module: nn.Module, node: ast.Call, names: Mapping[str, object]) -> Operand | None:
    """Return a module's result. The call went well, so an input on an accelerator tells, even if the module was moved since."""
    given = [one for part in node.args for one in _operand(part, names)]
    made = _like(node, [*_flat("", list(module.parameters()), node), *given])
    return replace(made, made_by_module=True) if made else None


def _torchs_own(owner: object) -> bool:
    return isinstance(owner, ModuleType) and owner.__name__.partition(".")[0] == "torch"


def _from_torch(name: str, node: ast.Call, names: Mapping[str, object]) -> Operand | None:
    if name not in FACTORIES:
        return _like(node, [one for part in node.args for one in _operand(part, names)])
    given = given_device(node, names)
    device = _as_device(look_up(given, names)) if given else None
    if given is None:
        device = CPU if name in CPU_MAKERS else default()
    return Operand("", device, None, node, made=True) if device else None


def given_device(node: ast.Call, names: Mapping[str, object]) -> ast.expr | None:
    """Return what a factory is given as its device, or None: `device=None` gives it none."""
    given = next((word.value for word in node.keywords if word.arg == "device"), None)
    return None if given is None or look_up(given, names) is None else given


def named_device(node: ast.Call, names: Mapping[str, object]) -> torch.device | None:
    """Return the device that a call such as `x.to(device)`, or `x.to(torch.device("cpu"))`, names."""
    words = [*node.args, *(word.value for word in node.keywords if word.arg == "device")]
    found = (_as_device(look_up(_plain_device(word), names)) for word in words)
    return next((device for device in found if device), None)


def _plain_device(word: ast.expr) -> ast.expr:
    """Return what `torch.device(...)` is called with, where a word is that call."""
    is_call = isinstance(word, ast.Call) and ast.unparse(word.func) == "torch.device" and word.args
    return word.args[0] if is_call else word  # type: ignore[attr-defined]


def _as_device(value: object) -> torch.device | None:
    if isinstance(value, torch.device):
        return value
    try:
        return torch.device(value) if isinstance(value, str) else None
    except RuntimeError:
        return None


def _like(node: ast.AST, inner: list[Operand]) -> Operand | None:
    """A result is where its operands are; an accelerator wins over a CPU scalar."""
    if not inner:
        return None
    device = next((one.device for one in inner if one.device.type != "cpu"), inner[0].device)
    return Operand("", device, _first(inner), node, made=True)


def _first(operands: list[Operand]) -> torch.Tensor | None:
    return operands[0].tensor if operands else None
