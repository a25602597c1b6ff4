"""A lesson without a single line of the course's own: what a reader keeps who deletes every `lab.` line."""

import ast
import re
from collections.abc import Iterator

from nbformat import NotebookNode

from tools.notebooks.nbfiles import is_code

OWN = {"lab", "devicelab"}


def script(notebook: NotebookNode) -> str:
    """Return the notebook's code as one script of plain PyTorch."""
    dropped: set[str] = set()
    return "\n\n".join(without_lab(cell.source, dropped) for cell in notebook.cells if is_code(cell))


def without_lab(source: str, dropped: set[str]) -> str:
    """Return a cell's statements but those that need the course.

    Those use `lab`, or a name that only such a statement made (`dropped` collects these). A `with lab.trace():` leaves its
    block behind; what an expected error stands around is dropped, since it would end a script.
    """
    plain = re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", source)  # a magic, where a block may need a statement
    tree = ast.parse(plain)
    return ast.unparse(ast.Module(list(_kept(tree.body, dropped)), []))


def _kept(statements: list[ast.stmt], dropped: set[str]) -> Iterator[ast.stmt]:
    for statement in statements:
        if isinstance(statement, ast.With) and _needs(statement.items, dropped):
            dropped |= set(_made(statement.items))
            if not any("expect_error" in ast.unparse(item) for item in statement.items):
                yield from _kept(statement.body, dropped)
            else:
                dropped |= set(_made(statement.body))
        elif isinstance(statement, (ast.For, ast.While, ast.If, ast.Try, ast.With)) and not _header(
            statement, dropped
        ):
            for field in ("body", "orelse", "finalbody"):
                if getattr(statement, field, None):
                    setattr(statement, field, list(_kept(getattr(statement, field), dropped)))
            if statement.body:
                yield statement
        elif _needs([statement], dropped):
            dropped |= set(_made([statement]))
        else:
            dropped -= set(_made([statement]))
            yield statement


def _header(statement: ast.stmt, dropped: set[str]) -> bool:
    """Say whether what stands before the colon needs the course."""
    parts = [getattr(statement, name, None) for name in ("test", "iter", "target")]
    return _needs([part for part in parts if part], dropped)


def _needs(nodes: list, dropped: set[str]) -> bool:
    found = {name for node in nodes for name in _loaded(node)}
    return bool(found & (OWN | dropped))


def _loaded(node: ast.AST) -> Iterator[str]:
    for child in ast.walk(node):
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load):
            yield child.id
        elif isinstance(child, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield (child.module or "").partition(".")[0]


def _made(nodes: list) -> Iterator[str]:
    """Yield the names that these nodes bind; a function's own names are not among them."""
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        else:
            yield from _made(list(ast.iter_child_nodes(node)))
