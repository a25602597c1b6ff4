"""The frames of a traceback: whose code each is, which line failed, and which part of that line."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import FrameType, TracebackType

from devicelab.source import DEVICELAB, USER, Owner, lines_of, name_of, whose

MOST_FRAMES = 400  # of a recursion, the innermost ones


@dataclass(frozen=True)
class Frame:
    """One frame of a traceback with the line that failed in it."""

    frame: FrameType
    line: int
    instruction: int

    @property
    def path(self) -> str:
        """The file of the code, or what Python calls code without a file."""
        return self.frame.f_code.co_filename

    @property
    def owner(self) -> Owner:
        """Whose code this is."""
        return whose(self.path)

    @property
    def is_learners(self) -> bool:
        """Whether the learner wrote it."""
        return self.owner == USER

    @property
    def file(self) -> str:
        """The file as a learner calls it: "train.py", or "cell [5]" in a notebook."""
        return name_of(self.path)

    @property
    def function(self) -> str:
        """The name of the function, "" for the code outside of functions."""
        name = self.frame.f_code.co_name
        return "" if name.startswith("<") else name

    @cached_property
    def source(self) -> list[str]:
        """The lines of the file, without line ends; empty where the source is not to be had."""
        return lines_of(self.path, self.frame.f_globals)

    @property
    def code(self) -> str:
        """The source of the failing statement's first line."""
        return self.source[self.line - 1].strip() if 0 < self.line <= len(self.source) else ""

    @cached_property
    def syntax(self) -> "Syntax":
        """The file's syntax."""
        return parsed("\n".join(self.source))

    @property
    def tree(self) -> ast.AST | None:
        """The file as a syntax tree, or None."""
        return self.syntax.tree

    @cached_property
    def node(self) -> ast.AST | None:
        """The part of the source that failed: an expression where Python tells, else the statement."""
        span = self._span()
        return self.syntax.spans.get(span, self.statement) if span else self.statement

    @cached_property
    def statement(self) -> ast.stmt | None:
        """The whole statement that failed."""
        around = [
            node for node in self.syntax.statements if _lines_of(node)[0] <= self.line <= _lines_of(node)[1]
        ]
        return min(
            around, key=lambda node: (_lines_of(node)[1] - node.lineno, -node.col_offset), default=None
        )

    def _span(self) -> tuple[int | None, ...] | None:
        """Line, end line, column and end column of the failing instruction, as CPython 3.11 notes them."""
        positions = list(self.frame.f_code.co_positions())
        where = self.instruction // 2
        return positions[where] if 0 <= where < len(positions) and None not in positions[where] else None

    def names(self) -> dict[str, object]:
        """The variables that the frame can see: its own ones, then the globals that its code mentions."""
        own = dict(self.frame.f_locals)
        if self.frame.f_locals is self.frame.f_globals:
            return own
        mentioned = set(self.frame.f_code.co_names)
        return own | {
            name: value
            for name, value in self.frame.f_globals.items()
            if name in mentioned and name not in own
        }


@dataclass(frozen=True)
class Syntax:
    """A file's syntax tree, None where it is no Python; its statements, and the first node at each place."""

    tree: ast.AST | None
    statements: tuple[ast.stmt, ...] = ()
    spans: Mapping[tuple[int | None, ...], ast.AST] = field(default_factory=dict)


@lru_cache(maxsize=32)
def parsed(text: str) -> Syntax:
    """Parse a file once, however many frames of a recursion or of nested layers stand in it."""
    try:
        tree = ast.parse(text) if text else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    nodes = [node for node in ast.walk(tree) if hasattr(node, "lineno")] if tree else []
    spans = {_span_of(node): node for node in reversed(nodes)}
    return Syntax(tree, tuple(node for node in nodes if isinstance(node, ast.stmt)), spans)


def _span_of(node: ast.AST) -> tuple[int | None, ...]:
    line, end = _lines_of(node)
    return line, end, getattr(node, "col_offset", None), getattr(node, "end_col_offset", None)


def _lines_of(node: ast.AST) -> tuple[int, int]:
    line = getattr(node, "lineno", 0)
    return line, getattr(node, "end_lineno", None) or line


def frames_of(error: BaseException) -> list[Frame]:
    """Return the frames of the error, outermost first, without devicelab's own."""
    found = [Frame(trace.tb_frame, trace.tb_lineno, trace.tb_lasti) for trace in _chain(error.__traceback__)]
    return [frame for frame in found[-MOST_FRAMES:] if frame.owner != DEVICELAB]


def _chain(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next
