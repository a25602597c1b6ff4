"""What to type against what grows, or against a graph that nobody needs: one line, where, and why."""

import ast
import re
from collections import deque
from dataclasses import dataclass

import torch

from devicelab.explain.names import View
from devicelab.explain.operands import MISSING, look_up
from devicelab.explain.sources import suffixed
from devicelab.explain.spots import Spot, backwards, learned_from, names, returned, set_by
from devicelab.reach import is_a
from devicelab.source import is_cell

from .growth import Growth

NO_GRAD = "nothing is learned in this loop: with torch.no_grad() around it no graph is kept at all"
FAQ = "https://docs.pytorch.org/docs/stable/notes/faq.html"
EVALUATES = re.compile(r"eval|valid|test|predict|infer|generat|sampl|score|embed|encod", re.IGNORECASE)
_PLAIN = re.compile(r"sum|len|float|torch|torch\.\w+|.*\.(?:sum|mean|backward)")  # what only adds up


@dataclass(frozen=True)
class Remedy:
    """One line to type, where, and why it helps; `tell` says what else does, the best first."""

    fix: str
    at: str
    why: str
    tell: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cause:
    """What happened in a sentence, who is to blame, the remedy, and where it was found out."""

    what: str
    culprit: str
    remedy: Remedy
    source: str = FAQ


def against(growth: Growth, failed: str) -> Remedy:
    """Return what to type so that something no longer grows; `failed` is the file of the line that failed."""
    if growth.how == "carried":
        return _cut(growth, failed)
    if growth.is_learned_from and growth.how != "joined":
        return _in_parts(growth, failed)
    has_graph = any(one.grad_fn is not None for one in growth.keeper.tensors)
    numbers = all(one.numel() == 1 for one in growth.keeper.tensors) and growth.how != "joined"
    end = ".item()" if numbers else ".detach().cpu()" if has_graph else ".cpu()"
    tell = () if growth.learns or not has_graph else (NO_GRAD,)
    return Remedy(
        _with(growth, end), f"in place of {growth.spot.place(failed)}", _reason(growth, has_graph), tell
    )


def _reason(growth: Growth, has_graph: bool) -> str:
    if not has_graph:
        return "each round leaves its tensors on the card; what is only kept can lie in the computer's memory"
    what = "a sum of results" if growth.how == "sum" else "a result"
    return f"{what} with its graph keeps everything that a backward pass through it would need"


def _with(growth: Growth, end: str) -> str:
    """Return the statement with each tensor that it keeps read out, or moved to the CPU."""
    view, parts = growth.keeper.view, growth.parts
    if len(parts) == 1 and _keeps_tuples(growth):
        whole = ast.unparse(parts[0])
        each = f"tuple(t{end} if torch.is_tensor(t) else t for t in {whole})"
        return each.join(ast.unparse(growth.spot.statement).rsplit(whole, 1))
    return ended(growth.spot.statement, {id(one) for one in parts if _may_be_tensor(one, view)}, end)


def _keeps_tuples(growth: Growth) -> bool:
    """Whether what is added each time holds several tensors, such as a transition of a replay buffer."""
    try:
        held = look_up(ast.parse(growth.keeper.name, mode="eval").body, growth.keeper.view.variables)
    except SyntaxError:
        return False
    first = next(iter(held), None) if is_a(held, (list, deque)) else None
    return is_a(first, (list, tuple))


def ended(statement: ast.stmt, parts: set[int], end: str) -> str:
    """Return a statement's text with a call behind some of its parts, which are given by their ids."""
    text = ast.unparse(statement)
    for one in ast.walk(statement):
        if id(one) in parts:
            old = ast.unparse(one)
            text = suffixed(old, end).join(text.rsplit(old, 1))
    return text


def _may_be_tensor(part: ast.expr, view: View) -> bool:
    """Whether a part is a tensor, or something that nobody knows before it is computed."""
    value = MISSING if isinstance(part, ast.Constant) else look_up(part, view.variables)
    if value is MISSING:
        return not isinstance(part, (ast.Constant, ast.JoinedStr))
    return is_a(value, torch.Tensor)


def _in_parts(growth: Growth, failed: str) -> Remedy:
    """What is gathered for one backward pass at the end: a pass for each part gives the same gradients."""
    name, scope = growth.keeper.name, growth.spot.scope or growth.spot.statement
    last = [one for one in backwards(scope) if name in _reached(scope, one)]
    line = last[-1].lineno if last else growth.spot.line
    if growth.how == "kept" and not _only_added_up(growth):
        why = f"their graphs are needed until the backward pass in line {line}, and not after it"
        return Remedy(f"{name}.clear()", f"after line {line}", why)
    part = growth.parts[0]
    why = "one backward pass at the end needs the graphs of all rounds; gradients add up, so a pass for each gives the same"
    at = f"in place of {growth.spot.place(failed)}; leave out the backward pass in line {line}"
    return Remedy(f"{suffixed(ast.unparse(part), '.backward()')}; {_with(growth, '.detach()')}", at, why)


def _reached(scope: ast.AST, call: ast.Call) -> set[str]:
    """Return the names that one backward pass is computed from."""
    found = names([call])
    for one in ast.walk(scope):
        if isinstance(one, ast.Assign) and found & names(set_by(one)):
            found = found | names([one.value])
    return found


def _only_added_up(growth: Growth) -> bool:
    """Whether what was gathered is only summed or averaged before the backward pass."""
    scope, name = growth.spot.scope or growth.spot.statement, growth.keeper.name
    uses = [
        one
        for one in ast.walk(scope)
        if isinstance(one, (ast.Assign, ast.Expr)) and one is not growth.spot.statement
    ]
    others = {
        word
        for one in uses
        if name in names([one.value]) and not isinstance(one.value, (ast.List, ast.Dict))
        for word in names([one.value]) - {name}
    }
    return all(_PLAIN.fullmatch(word) for word in others)


def _cut(growth: Growth, failed: str) -> Remedy:
    """A state that each round hands to the next, and with it the graph of all rounds before."""
    name, spot = growth.keeper.name, growth.spot
    if not growth.learns:
        why = "each round builds on the one before, so its graph is that of all rounds; nothing is learned from it here"
        return Remedy(
            f"with torch.no_grad(): {ast.unparse(spot.statement)}", f"in place of {spot.place(failed)}", why
        )
    several = is_a(growth.keeper.view.variables.get(name), (list, tuple))
    cut = f"{name} = tuple(t.detach() for t in {name})" if several else f"{name} = {name}.detach()"
    why = f"{name} comes from the step before, and the graphs of all steps hang on it; cut off, each step learns from itself"
    return Remedy(cut, f"after line {max(one.lineno for one in backwards(spot.unit))}", why)


def without_learning(views: list[View], every: list[Spot]) -> Remedy | None:
    """Return no_grad for a failing line from which nothing is learned, or None where something is or nobody can tell."""
    inner: Spot | None = None
    for view in views:
        spot = None if view.is_method_of_module else _spot_of(view, every)
        if spot is None:
            continue
        inner, scope = inner or spot, spot.scope or spot.statement
        made = names(set_by(spot.statement)) or names([spot.statement])
        if made & learned_from(scope) or backwards(spot.statement):
            return None
        goes_on = isinstance(spot.statement, ast.Return) or made & returned(scope)
        if not (spot.function and goes_on) or EVALUATES.search(spot.function.name):
            return _no_grad(inner, views) if _is_certain(spot, view, views) else None
    return None


def _is_certain(spot: Spot, view: View, views: list[View]) -> bool:
    """Whether no other cell or function can learn from it: the model was told to evaluate, or the whole is at hand."""
    asked = any(not module.training for one in views for _, module in one.modules)
    named = spot.function is not None and EVALUATES.search(spot.function.name) is not None
    return asked or named or bool(spot.loops) or not is_cell(view.frame.path)


def _no_grad(spot: Spot, views: list[View]) -> Remedy:
    why = "nothing is learned from it, yet its graph is kept for a backward pass; model.eval() alone does not prevent that"
    return Remedy(
        f"with torch.no_grad(): {ast.unparse(spot.statement)}",
        f"in place of {spot.place(views[0].frame.path)}",
        why,
    )


def _spot_of(view: View, every: list[Spot]) -> Spot | None:
    statement = view.frame.statement
    return next((one for one in every if one.statement is statement and one.path == view.frame.path), None)
