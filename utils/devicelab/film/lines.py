"""The lines of a `with` block: which statement a line number belongs to, and what stands there."""

import ast
import textwrap
from dataclasses import dataclass
from types import CodeType, FrameType

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
        for node in ast.walk(tree)
        if isinstance(node, (ast.With, ast.AsyncWith))
        and node.lineno <= frame.f_lineno <= node.body[0].lineno
    ]
    return _block(max(heads, key=lambda node: node.lineno).body, lines) if heads else None


def function_at(code: CodeType, variables: dict[str, object]) -> Block | None:
    """Return the body of the function that has this code; None without its source."""
    tree, lines = _parsed(code.co_filename, variables)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
            if (first, node.name) == (code.co_firstlineno, code.co_name):
                return _block(node.body, lines)
    return None


def _parsed(filename: str, variables: dict[str, object]) -> tuple[ast.Module, list[str]]:
    lines = lines_of(filename, variables)
    try:
        return ast.parse(textwrap.dedent("\n".join(lines))), lines
    except (SyntaxError, ValueError):  # a magic of IPython's, or no Python at all
        return ast.Module([], []), lines


def _block(body: list[ast.stmt], lines: list[str]) -> Block:
    first: dict[int, int] = {}
    headers = set()
    for node in (inner for statement in body for inner in ast.walk(statement)):
        if not isinstance(node, ast.stmt):
            continue
        if isinstance(node, _COMPOUND):
            headers.add(node.lineno)
        # Those inside come later in ast.walk and take their lines from those around them.
        first.update(dict.fromkeys(range(node.lineno, (node.end_lineno or node.lineno) + 1), node.lineno))
    names = {node.id for statement in body for node in ast.walk(statement) if isinstance(node, ast.Name)}
    numbers = range(min(first), max(first) + 1)
    shown = textwrap.dedent("\n".join(lines[number - 1] for number in numbers)).split("\n")
    text = {number: line for number, line in zip(numbers, shown, strict=True) if line.strip()}
    return Block(first, frozenset(headers), tuple(sorted(names)), text)
