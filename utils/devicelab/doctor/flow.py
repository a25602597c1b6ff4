"""The statements of a script in the order in which they run, as far as reading tells: functions where they are called."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

DEEPEST = 20  # calls within calls
Function = ast.FunctionDef | ast.AsyncFunctionDef
_NOT_RUN = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Step:
    """A statement without those inside it, or the head of one; `perhaps` where a condition decides whether it runs."""

    node: ast.AST
    line: int
    perhaps: bool = False


def steps(tree: ast.Module) -> Iterator[Step]:
    """Yield what runs, in order. Both branches of a condition count; a function runs once, where it is first called."""
    functions = {node.name: node for node in tree.body if isinstance(node, Function)}
    yield from _run(tree.body, functions, set(), False)


def _run(
    body: list[ast.stmt], functions: dict[str, Function], called: set[str], perhaps: bool
) -> Iterator[Step]:
    for statement in body:
        if isinstance(statement, _NOT_RUN):
            continue
        inner = perhaps or (isinstance(statement, (ast.If, ast.Match)) and not _is_main(statement))
        for head in _heads(statement):
            yield from _calls(head, functions, called, perhaps)
            yield Step(head, statement.lineno, perhaps)
        for block in _blocks(statement):
            yield from _run(block, functions, called, inner)


def _calls(head: ast.AST, functions: dict[str, Function], called: set[str], perhaps: bool) -> Iterator[Step]:
    for node in ast.walk(head):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            name = node.func.id
            if name not in called and len(called) < DEEPEST:
                called.add(name)
                yield from _run(functions[name].body, functions, called, perhaps)


def _is_main(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test)


def _heads(statement: ast.stmt) -> list[ast.AST]:
    """The expressions of a compound statement, or the whole of a simple one."""
    if not _blocks(statement):
        return [statement]
    heads = [getattr(statement, name, None) for name in ("test", "iter", "subject")]
    heads += [item.context_expr for item in getattr(statement, "items", ())]
    return [head for head in heads if isinstance(head, ast.AST)]


def _blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    """The statements inside a compound one."""
    blocks = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
    blocks += [part.body for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ()))]
    return [block for block in blocks if isinstance(block, list) and block]
