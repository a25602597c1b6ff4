"""The statements of the learner's files, each with the loops and the function that it stands in."""

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import FunctionType

from devicelab.source import USER, lines_of, name_of, whose

from .frames import parsed
from .names import View

MOST_FILES = 50
LOOPS = (ast.For, ast.AsyncFor, ast.While)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
ASSIGNS = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.NamedExpr)
BACKWARDS = ("backward", "manual_backward", "grad")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Spot:
    """A statement in its file; `loops` are those around it in its own function, the innermost last."""

    statement: ast.stmt
    path: str
    loops: tuple[ast.stmt, ...] = ()
    function: Function | None = None
    scope: ast.AST | None = None  # the function, or the whole file

    @property
    def line(self) -> int:
        """The line on which it begins."""
        return self.statement.lineno

    @property
    def unit(self) -> ast.AST:
        """What is done once a step: the innermost loop around it, else its function or file."""
        return self.loops[-1] if self.loops else self.scope or self.statement

    def is_in(self, view: View) -> bool:
        """Whether it stands in the code that a frame runs."""
        if view.frame.path != self.path:
            return False
        if self.function is None:
            return view.is_module_level
        first = min([self.function.lineno, *(one.lineno for one in self.function.decorator_list)])
        return view.frame.frame.f_code.co_firstlineno == first

    def place(self, failed: str) -> str:
        """Say where it stands, for who looks at the file that failed."""
        end = self.statement.end_lineno or self.line
        where = f"line {self.line}" if end == self.line else f"lines {self.line} to {end}"
        return where + (f" of {name_of(self.path)}" if self.path != failed else "")


def spots(views: list[View]) -> list[Spot]:
    """Return the statements of all files that the frames, and the functions and objects in them, come from."""
    found = []
    for path in _files(views):
        tree = parsed("\n".join(lines_of(path))).tree
        found += list(_below(tree, Spot(ast.Pass(), path, scope=tree))) if tree else []
    return found


def _files(views: list[View]) -> list[str]:
    paths = dict.fromkeys(view.frame.path for view in views)
    for view in views:
        for value in view.variables.values():
            path = _file_of(value)
            if path and whose(path) == USER:
                paths[path] = None
    return [*paths][:MOST_FILES]


def _file_of(value: object) -> str | None:
    if isinstance(value, FunctionType):
        return value.__code__.co_filename
    kind = value if inspect.isclass(value) else type(value)
    return getattr(sys.modules.get(kind.__module__), "__file__", None)


def _below(node: ast.AST, around: Spot) -> Iterator[Spot]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTIONS):
            yield from _below(child, Spot(child, around.path, (), child, child))
        elif isinstance(child, ast.stmt):
            yield Spot(child, around.path, around.loops, around.function, around.scope)
            loops = (*around.loops, child) if isinstance(child, LOOPS) else around.loops
            yield from _below(child, Spot(child, around.path, loops, around.function, around.scope))
        elif isinstance(child, (ast.ExceptHandler, ast.match_case)):
            yield from _below(child, around)


def names(nodes: Iterable[ast.AST]) -> set[str]:
    """Return what is read or set below some nodes: names and attributes, as they are written."""
    return {
        ast.unparse(one)
        for node in nodes
        for one in ast.walk(node)
        if isinstance(one, (ast.Name, ast.Attribute))
    }


def backwards(scope: ast.AST) -> list[ast.Call]:
    """Return the calls below a node that run a backward pass: torch's, and those of accelerate, Lightning and DeepSpeed."""
    found = (one for one in ast.walk(scope) if isinstance(one, ast.Call))
    return [one for one in found if isinstance(one.func, ast.Attribute) and one.func.attr in BACKWARDS]


def learned_from(scope: ast.AST) -> set[str]:
    """Return the names in a function or file from which a backward pass is computed there, directly or by way of others."""
    return _sources(scope, names(backwards(scope)))


def returned(scope: ast.AST) -> set[str]:
    """Return the names from which a function's result is computed."""
    return _sources(scope, names(one for one in ast.walk(scope) if isinstance(one, (ast.Return, ast.Yield))))


def _sources(scope: ast.AST, wanted: set[str]) -> set[str]:
    pairs = [
        (names(set_by(one)), names([one.value]))
        for one in ast.walk(scope)
        if isinstance(one, ASSIGNS) and one.value
    ]
    before = -1
    while before < len(wanted):
        before = len(wanted)
        wanted = wanted.union(*(sources for targets, sources in pairs if wanted & targets))
    return wanted


def set_by(statement: ast.AST) -> list[ast.expr]:
    """Return what a statement assigns to, the parts of a tuple included."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    parts = (part for one in targets for part in (one, *getattr(one, "elts", ())))
    return [part for part in parts if part is not None]
