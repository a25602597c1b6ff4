"""The lines of a `with` block: which statement a line number belongs to, and what stands there."""

import ast
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from devicelab.source import lines_of

_COMPOUND = (
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.If,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.TryStar,
    ast.Match,
)


_BODIES = ("body", "orelse", "finalbody", "handlers", "cases")


@dataclass(frozen=True)
class Block:
    """The lines of a block, or of a function that it calls.

    `first` maps each line to the first line of its statement; `headers` are those of loops, branches and the like. `names`
    are the variables that it mentions. `text` has its lines by number, without their common indentation and empty ones.
    """

    first: dict[int, int]
    headers: frozenset[int]
    names: tuple[str, ...]
    text: dict[int, str]

    def source(self, number: int) -> str:
        """Return the line as it stands there, without its indentation; empty where the source is not at hand."""
        return self.text.get(number, "").strip()


def block_at(frame: FrameType) -> Block | None:
    """Return the body of the innermost `with` statement whose head is being run in this frame; None without its source."""
    tree, lines = _parsed(frame.f_code.co_filename, frame.f_globals)
    heads = [
        node
        for node in _around(tree, frame.f_lineno)
        if isinstance(node, (ast.With, ast.AsyncWith)) and frame.f_lineno <= node.body[0].lineno
    ]
    return _block(max(heads, key=lambda node: node.lineno).body, lines) if heads else None


def function_at(code: CodeType, variables: dict[str, object]) -> Block | None:
    """Return the body of the function that has this code; None without its source."""
    tree, lines = _parsed(code.co_filename, variables)
    for node in _around(tree, code.co_firstlineno):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if (_begin(node), node.name) == (code.co_firstlineno, code.co_name):
            return _block(node.body, lines)
    return None


def _around(tree: ast.AST, line: int) -> Iterator[ast.AST]:
    """Yield the statements that a line lies in, from the outside in; no other is looked at, for a file may be long."""
    waiting = [tree]
    for node in waiting:  # it grows as it goes
        for inner in (inner for name in _BODIES for inner in _listed(node, name)):
            if _begin(inner) <= line <= getattr(inner, "end_lineno", line):
                waiting.append(inner)
                yield inner


def _begin(node: ast.AST) -> int:
    """Return the first line of a statement, decorators included; a case of `match` does not tell."""
    first: int = getattr(node, "lineno", 0)
    return min([first, *(item.lineno for item in _listed(node, "decorator_list"))])


def _listed(node: ast.AST, name: str) -> list[Any]:
    value = getattr(node, name, None)  # the body of a lambda is no list
    return value if isinstance(value, list) else []


def _nodes(statements: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield statements and all that is in them as ast.walk does, outer ones first, in half of its time."""
    waiting = list(statements)
    for node in waiting:
        yield node
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                waiting.append(value)
            elif isinstance(value, list):
                waiting.extend(item for item in value if isinstance(item, ast.AST))


def _parsed(filename: str, variables: dict[str, object]) -> tuple[ast.Module, list[str]]:
    lines = lines_of(filename, variables)
    try:
        return ast.parse(textwrap.dedent("\n".join(lines))), lines
    except (SyntaxError, ValueError):  # a magic of IPython's, or no Python at all
        return ast.Module([], []), lines


def _block(body: list[ast.stmt], lines: list[str]) -> Block:
    first: dict[int, int] = {}
    headers = set()
    names = set()
    for node in _nodes(body):
        if isinstance(node, ast.Name):
            names.add(node.id)
        if not isinstance(node, ast.stmt):
            continue
        if isinstance(node, _COMPOUND):
            headers.add(node.lineno)
        # Those inside come later and take their lines from those around them.
        first.update(dict.fromkeys(range(node.lineno, (node.end_lineno or node.lineno) + 1), node.lineno))
    numbers = range(min(first), max(first) + 1)
    shown = textwrap.dedent("\n".join(lines[number - 1] for number in numbers)).split("\n")
    text = {number: line for number, line in zip(numbers, shown, strict=True) if line.strip()}
    return Block(first, frozenset(headers), tuple(sorted(names)), text)
