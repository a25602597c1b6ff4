"""A checkpoint that was saved on a card which is not there: the learner's own line, with a place for what it loads."""

import ast

from .environment import Answer
from .reading import Reading
from .sources import statement_of
from .told import AnyFrame


def at_load(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    """Return where the tensors of a file are to go."""
    if reading.family == "no gpu at load":
        what = "The file holds tensors of a GPU, and torch sees no GPU here."
    else:
        what = f"The file holds tensors of {reading.argument}, which does not exist here."
    path = _loaded(own)
    place = "device" if own and "device" in own[0].names() else '"cpu"'
    why = "torch.save notes on which device each tensor was, and torch.load puts it there again unless it is told otherwise"
    line = next((found for frame in own if (found := _with_place(frame.code, place))), "")
    fix = line or f"torch.load({path or 'path'}, map_location={place})"
    return Answer(
        what,
        path or "the checkpoint",
        why,
        fix,
        f"in place of line {own[0].line}" if line and own[0].line else "",
    )


def _with_place(code: str, place: str) -> str:
    """Return a line as it is written, with a place for what its torch.load loads; "" where it has one, or loads nothing."""
    calls = [one for one in ast.walk(statement_of(code) or ast.Module([], [])) if isinstance(one, ast.Call)]
    loads = [one for one in calls if ast.unparse(one.func) == "torch.load" and one.args]
    if (
        len(loads) != 1
        or len(loads[0].args) > 1
        or any(word.arg == "map_location" for word in loads[0].keywords)
    ):
        return ""
    at = (loads[0].end_col_offset or 0) - 1  # in bytes, as Python counts columns
    raw = code.encode()
    return f"{raw[:at].decode().rstrip().removesuffix(',')}, map_location={place}{raw[at:].decode()}"


def _loaded(own: list[AnyFrame]) -> str | None:
    """Return the first argument of the learner's torch.load, as it is written."""
    for frame in own:
        for node in ast.walk(frame.statement) if frame.statement else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("load") and node.args:
                return ast.unparse(node.args[0])
    return None
