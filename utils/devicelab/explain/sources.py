"""What one line of source says: the call in it, and the names that it works on."""

import ast
import re
from dataclasses import dataclass

# What a method can be called on as it stands; a number cannot, an f-string can.
_ATOMS = (
    ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp,
    ast.JoinedStr, ast.GeneratorExp,
)  # fmt: skip
_PRODUCTS = ("mm", "mv", "dot", "matmul", "inner", "vdot")
MOST_CODE = 1_000  # letters of a line that is looked into; nobody types more


@dataclass(frozen=True)
class Call:
    """The one call of a line: what is called, and the arguments that can be tensors, as they are written."""

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
        given = [
            ast.unparse(one) for one in calls[0].args if not isinstance(one, (ast.Constant, ast.Starred))
        ]
        return Call(ast.unparse(calls[0].func), tuple(given))
    except (RecursionError, MemoryError):
        return None


def product_in(code: str) -> tuple[str, str] | None:
    """Return left and right of the one product of matrices or vectors in a line: `a @ b`, `a.mm(b)` or `torch.mm(a, b)`."""
    statement = statement_of(code)
    try:
        found = [pair for node in ast.walk(statement) if (pair := _factors(node))] if statement else []
        left, right = map(ast.unparse, found[0]) if len(found) == 1 else ("", "")
    except (RecursionError, MemoryError):
        return None
    return (left, right) if left else None


def _factors(node: ast.AST) -> tuple[ast.expr, ...]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        return node.left, node.right
    function = node.func if isinstance(node, ast.Call) else None
    if (
        not isinstance(node, ast.Call)
        or not isinstance(function, ast.Attribute)
        or function.attr not in _PRODUCTS
    ):
        return ()
    factors = (*node.args,) if ast.unparse(function.value) == "torch" else (function.value, *node.args)
    return factors if len(factors) == 2 else ()


def suffixed(text: str, suffix: str) -> str:
    """Return an expression with a call behind it, such as ".cpu()", in brackets where the call would bind to a part of it."""
    return f"{atom(text)}{suffix}"


def atom(text: str) -> str:
    """Return an expression that can stand in another, in brackets where it needs them."""
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text
    return text if isinstance(node, _ATOMS) else f"({text})"


def changed(text: str, suffix: str, line: int | None) -> tuple[str, str]:
    """Return what calls a method of an expression, and where to type it: a name is set to the result.

    A part of a tensor is not: what is written into it goes where the tensor is.
    """
    if is_named(text):
        return f"{text} = {text}{suffix}", ""
    return suffixed(text, suffix), f"in place of {text}" + (f" in line {line}" if line else "")


def is_named(text: str) -> bool:
    """Whether a text is a variable, an attribute of one, or what a dict holds under a word."""
    return re.fullmatch(r"[^\W\d][\w.]*(?:\[(['\"])[^'\"\[\]]*\1\])*", text) is not None


def names_in(code: str) -> list[str]:
    """Return the variables that a line reads, each once, in the order of the line."""
    statement = statement_of(code)
    nodes = ast.walk(statement) if statement else ()
    found = [one for one in nodes if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)]
    return [*dict.fromkeys(one.id for one in sorted(found, key=lambda one: (one.lineno, one.col_offset)))]


def word_for(word: str, code: str) -> str:
    """Return a usual word for a tensor, "" where the line is there and does not use it."""
    return word if not code or word in names_in(code) else ""


def elements_in(code: str) -> list[tuple[str, str]]:
    """Return what is indexed in a line, and by what: "at[j]" gives ("at", "j")."""
    statement = statement_of(code)
    try:
        found = [node for node in ast.walk(statement) if isinstance(node, ast.Subscript)] if statement else []
        return [(ast.unparse(node.value), ast.unparse(node.slice)) for node in found]
    except (RecursionError, MemoryError):
        return []
