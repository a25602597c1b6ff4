"""What to type where a training ran on the CPU beside a GPU: read from the user's function at an optimizer's first step."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType, SimpleNamespace
from typing import Any

import torch

from devicelab.reach import is_a
from devicelab.source import Line, line_at, lines_of
from devicelab.trace.words import listed

_NOBODY = SimpleNamespace()
Loop = ast.For | ast.AsyncFor | ast.While
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef)
DEVICE = "{device}"  # stands for the card's kind, which is asked for at the end


@dataclass(frozen=True)
class Advice:
    """Where the model and the batch come from, and lines to type: each with the number of the line that it comes before."""

    made: tuple[tuple[str, Line], ...] = ()  # the models, each with its line
    comes_in: tuple[tuple[str, Line], ...] = ()  # the batch
    typed: tuple[tuple[int, str], ...] = ()
    replaced: tuple[int, str] | None = None  # instead of them: the line that chose the CPU

    def lines(self, device: str) -> tuple[str, ...]:
        """Return it in words, for a card such as "cuda"."""
        said = [f"{_names(names)} made at {line}" for line, names in _by_line(self.made)]
        said += [f"{_names(names, 'comes', 'come')} in at {line}" for line, names in _by_line(self.comes_in)]
        if self.replaced:
            number, text = self.replaced
            return (*said, f"fix: in place of line {number}: {text.replace(DEVICE, device)}")
        return (*said, *(f"fix: before line {at}: {text.replace(DEVICE, device)}" for at, text in self.typed))


def _by_line(named: tuple[tuple[str, Line], ...]) -> list[tuple[Line, list[str]]]:
    lines = dict.fromkeys(line for _, line in named)
    return [(one, [name for name, line in named if line == one]) for one in lines]


def _names(names: list[str], one: str = "is", many: str = "are") -> str:
    return f"{listed(names)} {one if len(names) == 1 else many}"


def advice(frame: FrameType) -> Advice:
    """Read the function of a frame that trains; empty where its source is not at hand, or its model has no name there."""
    filename = frame.f_code.co_filename
    try:
        tree = ast.parse("\n".join(lines_of(filename)))
    except (SyntaxError, ValueError, RecursionError):
        return Advice()
    return _Reading(frame, tree).advice


def _scope(tree: ast.Module, frame: FrameType) -> ast.Module | ast.FunctionDef | ast.AsyncFunctionDef:
    """Return the function that a frame runs, or the whole file."""
    first, name = frame.f_code.co_firstlineno, frame.f_code.co_name
    inside = (node for node in ast.walk(tree) if isinstance(node, _SCOPES) and node.name == name)
    found = (node for node in inside if first in (node.lineno, *(one.lineno for one in node.decorator_list)))
    return next(found, tree)


class _Reading:
    """The statements around the line that a frame is at, and what their names hold."""

    def __init__(self, frame: FrameType, tree: ast.Module):
        scope, own = _scope(tree, frame), vars(frame.f_locals.get("self", _NOBODY))
        self._file, self._scope, self._tree = frame.f_code.co_filename, scope, tree
        self._held = {**frame.f_locals, **{f"self.{name}": value for name, value in own.items()}}
        self._variables = {**frame.f_globals, **frame.f_locals}
        around = [node for node in ast.walk(scope) if isinstance(node, Loop) and _spans(node, frame.f_lineno)]
        self._body = around[-1].body if around else scope.body
        self._start = around[0].lineno if around else 0

    @property
    def advice(self) -> Advice:
        models = [name for name in self._names() if _has_state(self._held[name])]
        data = [name for name in self._names() if _moved(name, self._held[name])]
        forward = next((one for one in self._body if _called(one) & set(models)), None)
        made, comes_in = self._lines(models), self._lines(data)
        if chosen := self._chosen():
            return Advice(made, comes_in, replaced=chosen)
        if (
            forward is None or self._moves()
        ):  # to a device that it was given: a line before that changes nothing
            return Advice(made, comes_in)
        typed = [(self._start or forward.lineno, f'{name} = {name}.to("{DEVICE}")') for name in models]
        if data:
            moved = ", ".join(_moved(name, self._held[name]) for name in data)
            typed.append((forward.lineno, f"{', '.join(data)} = {moved}"))
        return Advice(made, comes_in, tuple(typed))

    def _lines(self, names: list[str]) -> tuple[tuple[str, Line], ...]:
        return tuple((name, line) for name in names if (line := self._line(name)))

    def _moves(self) -> bool:
        """Say whether the statements move anything by themselves."""
        calls = (node.func for one in self._body for node in ast.walk(one) if isinstance(node, ast.Call))
        return any(isinstance(one, ast.Attribute) and one.attr in ("to", "cpu", "cuda") for one in calls)

    def _names(self) -> list[str]:
        """Return the names that the statements read, in turn, as far as they are the function's own."""
        nodes = [
            node
            for one in self._body
            for node in ast.walk(one)
            if isinstance(node, (ast.Name, ast.Attribute))
        ]
        nodes.sort(key=lambda node: (node.lineno, node.col_offset))
        read = (ast.unparse(node) for node in nodes if isinstance(node.ctx, ast.Load))
        return [name for name in dict.fromkeys(read) if name in self._held]

    def _chosen(self) -> tuple[int, str] | None:
        """Return the line that chose the CPU by a variable which others are moved to, and what to write there."""
        for name, value in self._variables.items():
            chosen = isinstance(value, (str, torch.device)) and str(value) == "cpu"
            line = self._line(name) or self._line(name, self._tree) if chosen else None
            if line is not None:
                return line.number, f'{name} = torch.device("{DEVICE}")'
        return None

    def _line(self, name: str, scope: ast.AST | None = None) -> Line | None:
        """Return the line that gives a name its first value: an assignment, or a loop over batches."""
        nodes = (
            node for node in _own(scope or self._scope) if isinstance(node, ast.Name) and node.id == name
        )
        numbers = [node.lineno for node in nodes if isinstance(node.ctx, ast.Store)]
        return line_at(self._file, min(numbers)) if numbers else None


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield the syntax of a scope without the functions and classes inside it."""
    for node in ast.iter_child_nodes(scope):
        if not isinstance(node, (*_SCOPES, ast.ClassDef, ast.Lambda)):
            yield node
            yield from _own(node)


def _spans(node: ast.stmt, number: int) -> bool:
    return node.lineno <= number <= (node.end_lineno or 0)


def _called(statement: ast.stmt) -> set[str]:
    calls = (node.func for node in ast.walk(statement) if isinstance(node, ast.Call))
    return {ast.unparse(function) for function in calls}


def _has_state(value: Any) -> bool:
    return is_a(value, torch.nn.Module) and bool(value.state_dict())


def _is_data(value: Any) -> bool:
    return is_a(value, torch.Tensor) and value.device.type == "cpu" and not value.requires_grad


def _moved(name: str, value: Any) -> str:
    """Return how to move a batch, or "" for what is none."""
    if _is_data(value):
        return f'{name}.to("{DEVICE}")'
    if is_a(value, dict) and value and all(map(_is_data, value.values())):
        return f'{{key: one.to("{DEVICE}") for key, one in {name}.items()}}'
    if type(value) in (list, tuple) and value and all(map(_is_data, value)):
        return f'[one.to("{DEVICE}") for one in {name}]'
    return ""
