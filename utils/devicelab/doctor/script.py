"""A script that sets CUDA_VISIBLE_DEVICES after it has used CUDA: read, not run."""

import ast
from pathlib import Path

from devicelab.errors import InputError

from .finding import Finding

VARIABLE = "CUDA_VISIBLE_DEVICES"


def look_into(path: Path) -> Finding | None:
    """Return a finding if the script uses CUDA above the line that sets the variable; raises InputError if it cannot be read."""
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path.name} cannot be read as a Python script: {error}") from None
    set_at = next((statement.lineno for statement in tree.body if _sets(statement)), None)
    used_at = next((statement for statement in tree.body if _uses_cuda(statement)), None)
    if set_at is None or used_at is None or used_at.lineno >= set_at:
        return None
    sentence = f"{path.name} sets {VARIABLE} after it has used CUDA: it changes nothing any more."
    evidence = (
        f"line {used_at.lineno} uses CUDA: {ast.unparse(used_at).splitlines()[0]}",
        f"line {set_at} sets {VARIABLE}",
    )
    return Finding(
        "set too late", sentence, evidence, f"{VARIABLE}={_value(tree)} python {path.name}", blocking=False
    )


def _sets(statement: ast.stmt) -> bool:
    return VARIABLE in ast.unparse(statement) and isinstance(statement, (ast.Assign, ast.Expr))


def _value(tree: ast.Module) -> str:
    for statement in tree.body:
        if _sets(statement):
            constants = [node.value for node in ast.walk(statement) if isinstance(node, ast.Constant)]
            given = [str(value) for value in constants if value != VARIABLE]
            return given[-1] if given else "0"
    return "0"


def _uses_cuda(statement: ast.stmt) -> bool:
    """Whether running the statement starts CUDA; defining a function or a class does not."""
    if isinstance(
        statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    ):
        return False
    for node in ast.walk(statement):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            words = [argument.value for argument in ast.walk(node) if isinstance(argument, ast.Constant)]
            on_cuda = any(isinstance(word, str) and word.startswith("cuda") for word in words)
            if (
                called.startswith("torch.cuda.")
                or called.endswith(".cuda")
                or (on_cuda and called != "torch.device")
            ):
                return True
    return False
