"""A list, tuple or dict that a line tried to move as a whole: the line that moves what is in it."""

import ast
import re

from .sources import is_named, statement_of

# How each kind of container is made anew, from its name and the call on one of its tensors.
_CONTAINERS = {
    "list": "[t{1} for t in {0}]",
    "tuple": "tuple(t{1} for t in {0})",
    "dict": "{{k: v{1} for k, v in {0}.items()}}",
}


def moved_each(message: str, code: str) -> str:
    """Return what moves the tensors in the container that a line tried to move as a whole, "" where it does not show one."""
    said = re.search(r"'(list|tuple|dict)' object has no attribute '(to|cuda)'", message)
    statement = statement_of(code)
    if said is None or statement is None:
        return ""
    calls = (one for one in ast.walk(statement) if isinstance(one, ast.Call))
    moves = [
        (one, one.func) for one in calls if isinstance(one.func, ast.Attribute) and one.func.attr == said[2]
    ]
    if len(moves) != 1:
        return ""
    call, function = moves[0]
    owner = ast.unparse(function.value)
    made = _CONTAINERS[said[1]].format(owner, ast.unparse(call).removeprefix(ast.unparse(function.value)))
    return f"{owner} = {made}" if is_named(owner) else made
