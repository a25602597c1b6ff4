"""A step that needs too much: where its batch is made, and what else lets it fit."""

import ast
import re
from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import nn

from devicelab.explain.names import View
from devicelab.explain.operands import look_up
from devicelab.explain.spots import Spot, names, set_by
from devicelab.reach import is_a

from .remedies import Remedy

WHY = "what backward needs of a step grows with its batch; weights, gradients and optimizer state do not"
ACCUMULATION = (
    "the same gradient as of the whole batch: backward on two halves (each loss / 2) before one step()"
)
CHECKPOINT = "torch.utils.checkpoint keeps less for backward and computes it again: slower, the same results"
AUTOCAST = "torch.autocast halves most of what backward needs (with float16 also torch.amp.GradScaler)"
PARTS = 8
_SIZE = re.compile(r"(?:.*_)?(?:batch_?size|bs|bsz)", re.IGNORECASE)
_PLAIN = (ast.Assign, ast.AnnAssign, ast.Expr, ast.Return)


def smaller(views: list[View], every: list[Spot]) -> Remedy | None:
    """Return half the batch where its size can be found, and is more than 1."""
    tell = (ACCUMULATION, CHECKPOINT, AUTOCAST)
    for spot in every:
        found = _halved(spot.statement)
        if found is not None:
            return Remedy(found, f"in place of {spot.place(views[0].frame.path)}", WHY, tell)
    for view in views:
        first = min((one.line for one in every if one.is_in(view)), default=view.frame.line)
        for name, size in view.variables.items():
            if _SIZE.fullmatch(name) and is_a(size, int) and size > 1:
                return Remedy(f"{name} = {size // 2}", f"before line {first}", WHY, tell)
    return None


def _halved(statement: ast.stmt) -> str | None:
    """Return a statement that sets a batch's size, with half of it."""
    if not isinstance(statement, _PLAIN):
        return None
    copy = deepcopy(statement)
    for value in _sizes(copy):
        if isinstance(value, ast.Constant) and is_a(value.value, int) and value.value > 1:
            value.value //= 2
            return ast.unparse(copy)
    return None


def _sizes(statement: ast.stmt) -> Iterator[ast.expr | None]:
    """Yield what a statement makes the size of a batch: of a variable, an argument, or an option of the command line."""
    if isinstance(statement, (ast.Assign, ast.AnnAssign)) and any(
        map(_SIZE.fullmatch, names(set_by(statement)))
    ):
        yield statement.value
    for table in (one for one in ast.walk(statement) if isinstance(one, ast.Dict)):
        pairs = zip(table.keys, table.values, strict=True)
        yield from (value for key, value in pairs if _SIZE.fullmatch(str(getattr(key, "value", ""))))
    for call in (one for one in ast.walk(statement) if isinstance(one, ast.Call)):
        option = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
        is_option = is_a(option, str) and _SIZE.fullmatch(option.lstrip("-").replace("-", "_"))
        for word in call.keywords:
            if _SIZE.fullmatch(word.arg or "") or (is_option and word.arg == "default"):
                yield word.value


def in_half_precision(view: View, every: list[Spot]) -> Remedy:
    """Return the forward pass under autocast: where the batch cannot be halved, or nobody knows where it is made."""
    spot = _forward(view, every)
    why = "most of what backward needs takes half the bytes in float16"
    if spot is None:
        return Remedy('with torch.autocast("cuda"):', "around the forward pass", why, (CHECKPOINT,))
    text = f'with torch.autocast("cuda"): {ast.unparse(spot.statement)}'
    return Remedy(text, f"in place of {spot.place(view.frame.path)}", why, (CHECKPOINT,))


def _forward(view: View, every: list[Spot]) -> Spot | None:
    """Return the statement of a frame's code that calls a model: the one that failed, else the first."""
    here = [one for one in every if isinstance(one.statement, _PLAIN) and one.is_in(view)]
    found = [one for one in here if any(_calls_a_model(node, view) for node in ast.walk(one.statement))]
    return next((one for one in found if one.statement is view.frame.statement), found[0] if found else None)


def _calls_a_model(node: ast.AST, view: View) -> bool:
    return isinstance(node, ast.Call) and is_a(look_up(node.func, view.variables), nn.Module)


def in_chunks(view: View) -> Remedy | None:
    """Return the failing call on parts of its input, one after the other: where no graph is kept, each part is forgotten."""
    node, statement = view.frame.node, view.frame.statement
    if not isinstance(node, ast.Call) or len(node.args) != 1 or node.keywords or statement is None:
        return None
    given = look_up(node.args[0], view.variables)
    if not is_a(given, torch.Tensor) or given.dim() < 2 or len(given) < PARTS:
        return None
    call, function, argument = map(ast.unparse, (node, node.func, node.args[0]))
    parts = f"torch.cat([{function}(part) for part in {argument}.chunk({PARTS})])"
    why = f"{argument} has {len(given):,} rows; what an {PARTS}th of them needs is free again for the next"
    return Remedy(ast.unparse(statement).replace(call, parts, 1), f"in place of line {view.frame.line}", why)
