"""The line that moved a module back to the CPU after it had been moved, or while nobody thought of it."""

import ast
import re
from dataclasses import dataclass

from torch import nn

from .names import View
from .operands import named_device
from .spots import Spot, spots


@dataclass(frozen=True)
class Return:
    """A statement by which a module came to the CPU: the call in it, and where it stands."""

    spot: Spot
    call: ast.Call

    @property
    def assigns(self) -> bool:
        """Whether it put other tensors in place of the module's own."""
        return isinstance(self.call.func, ast.Attribute) and self.call.func.attr == "load_state_dict"


def came_back(name: str, module: nn.Module, view: View) -> Return | None:
    """Return the last statement before a frame's line that moved a module, or what it is a part of, to the CPU."""
    every = spots([view])
    found = [
        Return(spot, call)
        for spot in every
        for call in _own_calls(spot.statement)
        if _is_before(spot, view, every)
        and any(_means(one, name, module, spot, every) for one in _moved(call, view))
    ]
    return found[-1] if found else None


def _own_calls(statement: ast.stmt) -> list[ast.Call]:
    """Return the calls of a statement, without those of the statements in it."""
    todo, found = list[ast.AST]([statement]), list[ast.Call]()
    while todo:
        node = todo.pop()
        found += [node] if isinstance(node, ast.Call) else []
        todo += [
            one for one in ast.iter_child_nodes(node) if not isinstance(one, (ast.stmt, ast.ExceptHandler))
        ]
    return found


def _moved(call: ast.Call, view: View) -> list[ast.expr]:
    """Return what a call moves to the CPU: what `.cpu()` is asked of, what is loaded anew, what is given beside device="cpu"."""
    function, words = call.func, {word.arg: word.value for word in call.keywords}
    names = view.frame.frame.f_globals | view.variables
    if isinstance(function, ast.Attribute) and function.attr == "load_state_dict":
        return [function.value] if ast.unparse(words.get("assign", ast.Constant(False))) == "True" else []
    if isinstance(function, ast.Attribute) and function.attr == "cpu":
        return [function.value]
    device = named_device(call, names)
    if device is None or device.type != "cpu":
        return []
    is_move = isinstance(function, ast.Attribute) and function.attr == "to"
    return [function.value] if is_move else list(call.args) if "device" in words else []  # type: ignore[attr-defined]


def _means(written: ast.expr, name: str, module: nn.Module, spot: Spot, every: list[Spot]) -> bool:
    """Whether an expression is a module or what it is a part of: by its name, or as an argument or as self of a function."""
    text = re.sub(r"\[(\d+)\]", r".\1", ast.unparse(written))  # "net[1]" is called "net.1"
    if _holds(text, name) or (
        text.startswith("self.") and _holds(text.removeprefix("self."), name.partition(".")[2])
    ):
        return True
    if spot.function is None or not isinstance(written, ast.Name):
        return False
    own = getattr(type(module), spot.function.name, None)
    if text == "self":
        return getattr(getattr(own, "__code__", None), "co_filename", None) == spot.path
    given = [one.arg for one in (*spot.function.args.posonlyargs, *spot.function.args.args)]
    return text in given and any(
        _holds(one, name) for one in _given(spot.function.name, given.index(text), text, every)
    )


def _holds(text: str, name: str) -> bool:
    return bool(text) and (name == text or name.startswith(f"{text}."))


def _given(function: str, place: int, word: str, every: list[Spot]) -> list[str]:
    """Return what the calls of a function give for one of its arguments."""
    calls = [call for spot in every for call in _own_calls(spot.statement)]
    there = [call for call in calls if ast.unparse(call.func).rpartition(".")[2] == function]
    found = [call.args[place - ("." in ast.unparse(call.func))] for call in there if len(call.args) > place]
    found += [one.value for call in there for one in call.keywords if one.arg == word]
    return list(map(ast.unparse, found))


def _is_before(spot: Spot, view: View, every: list[Spot]) -> bool:
    """Whether a statement ran before a frame's line: above it, in a loop around both, or in a function that was called there."""
    if spot.is_in(view):
        here = next((one for one in every if one.statement is view.frame.statement), None)
        return spot.line < view.frame.line or bool(here and set(here.loops) & set(spot.loops))
    if spot.function is None:
        return False
    name = spot.function.name
    callers = (
        one
        for one in every
        if one.is_in(view) and any(_calls(call, name) for call in _own_calls(one.statement))
    )
    return any(_is_before(one, view, every) for one in callers)


def _calls(call: ast.Call, name: str) -> bool:
    return ast.unparse(call.func).rpartition(".")[2] == name
