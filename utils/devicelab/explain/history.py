"""What the source tells about a name before the line that failed: where it was set, and what became of its moves."""

import ast
from collections.abc import Iterator

import torch

from .names import View
from .operands import named_device

NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def last_assignment(view: View, name: str) -> ast.expr | None:
    """Return what `name` was last set to above the failing line, or None where something else than `name = ...` set it."""
    nodes = [node for node in own_nodes(view) if getattr(node, "lineno", view.frame.line) < view.frame.line]
    plain = {
        id(target): node.value
        for node in nodes
        if isinstance(node, ast.Assign)
        for target in node.targets
    }  # fmt: skip
    set_at = [
        node for node in nodes if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
    ]  # fmt: skip
    return plain.get(id(max(set_at, key=lambda node: node.lineno))) if set_at else None


def made_at(view: View, name: str) -> int | None:
    """Return the last line above the failing one that set `name`, a part of it, or what it is a part of; None where none did."""
    assigned = (
        one for one in own_nodes(view) if isinstance(one, ast.Assign) and one.lineno < view.frame.line
    )
    targets = (
        (one.end_lineno or one.lineno, ast.unparse(target)) for one in assigned for target in one.targets
    )
    return max(
        (line for line, text in targets if f"{name}.".startswith(f"{text}.") or text.startswith(f"{name}.")),
        default=None,
    )


def dropped_move(view: View, name: str, target: torch.device) -> tuple[int, str] | None:
    """Find a line such as `x.to(device)` whose result nobody keeps."""
    for node in own_nodes(view):
        call = node.value if isinstance(node, ast.Expr) and node.lineno < view.frame.line else None
        if not isinstance(call, ast.Call) or _receiver(call, "to", "cuda") != _plain(name):
            continue
        if _goes_to(call, view, target):
            return call.lineno, ast.unparse(call)
    return None


def brought_back(view: View, name: str) -> tuple[int, str] | None:
    """Find a line such as `h = h.detach().cpu()`, above or below in a loop; returns the line, and what is brought back."""
    for node in own_nodes(view):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            inner = _receiver(node.value, "cpu")
            if inner and name in map(ast.unparse, node.targets):
                return node.lineno, inner
    return None


def own_nodes(view: View) -> Iterator[ast.AST]:
    """Yield the syntax of the frame's own function, or of the file's top level, without nested functions and classes."""
    scope = _scope(view)
    todo = [scope] if scope else []
    while todo:
        node = todo.pop()
        yield node
        todo += [
            child for child in ast.iter_child_nodes(node) if node is scope or not isinstance(node, NESTED)
        ]


def _scope(view: View) -> ast.AST | None:
    tree, line = view.frame.tree, view.frame.line
    if tree is None or view.is_module_level:
        return tree
    around = [
        node for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.lineno <= line <= (node.end_lineno or 0)
    ]  # fmt: skip
    return max(around, key=lambda node: node.lineno, default=tree)


def _receiver(call: ast.Call, *methods: str) -> str:
    """Return "x" of a call `x.to(...)`, "" for other calls."""
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr in methods:
        return ast.unparse(function.value)
    return ""


def _goes_to(call: ast.Call, view: View, target: torch.device) -> bool:
    """Whether a move is one to the target's kind of device, and not to another dtype."""
    if isinstance(call.func, ast.Attribute) and call.func.attr == "cuda":
        return target.type == "cuda"
    device = named_device(call, view.frame.frame.f_globals | view.variables)
    return device is not None and device.type == target.type


def _plain(name: str) -> str:
    try:
        return ast.unparse(ast.parse(name, mode="eval"))
    except SyntaxError:
        return name
