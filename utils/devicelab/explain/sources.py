"""What one line of source says: the call in it, and the names that it works on."""

import ast
from dataclasses import dataclass

MOST_CODE = 1_000  # letters of a line that is looked into; nobody types more


@dataclass(frozen=True)
class Call:
    """The one call of a line: what is called, and the arguments that are plain names, attributes or elements."""

    function: str
    arguments: tuple[str, ...]


def statement_of(code: str) -> ast.stmt | None:
    """Return a line as a statement; its body, where it is the head of a loop or a block, is left out."""
    if len(code) > MOST_CODE:
        return None
    for text in (code, f"{code} pass", code.rstrip(":")):
        try:
            body = ast.parse(text).body
            return body[0] if body else None
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # no Python, or nested too deeply
            continue
    return None


def call_in(code: str) -> Call | None:
    """Return the call of a line that has a single one, to a plain name or a method of self's, or None."""
    if code.startswith(("for", "with", "if")):
        return None
    statement = statement_of(code)
    try:
        calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)] if statement else []
        if len(calls) != 1 or "." in ast.unparse(calls[0].func).removeprefix("self."):
            return None
        names = [
            ast.unparse(one)
            for one in calls[0].args
            if isinstance(one, (ast.Name, ast.Attribute, ast.Subscript))
        ]
        return Call(ast.unparse(calls[0].func), tuple(names))
    except (RecursionError, MemoryError):
        return None


def elements_in(code: str) -> list[tuple[str, str]]:
    """Return what is indexed in a line, and by what: "at[j]" gives ("at", "j")."""
    statement = statement_of(code)
    try:
        found = [node for node in ast.walk(statement) if isinstance(node, ast.Subscript)] if statement else []
        return [(ast.unparse(node.value), ast.unparse(node.slice)) for node in found]
    except (RecursionError, MemoryError):
        return []
