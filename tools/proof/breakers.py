"""Ways to break the device handling of an answer, one at a time, on its syntax tree; tools/proof/mutants.py runs the results."""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

MOVES = {"to", "cuda", "cpu", "pin_memory"}
KEYWORDS = {"device", "non_blocking", "pin_memory", "map_location", "device_type", "persistent"}
OTHER = {"cuda": "cpu", "cuda:0": "cpu", "cpu": "cuda", "meta": "cpu"}
SWITCHES = {"no_grad", "inference_mode", "device"}  # what a `with` asks torch for
LOOPS = (ast.For, ast.While)


@dataclass(frozen=True)
class Mutant:
    """A broken answer: what was done to it, in which line of the cell, and its code."""

    what: str
    line: int
    source: str


def mutants(source: str, lines: range) -> list[Mutant]:
    """Return every different way in which one place of these lines of a cell can be broken."""
    tree = ast.parse(source)
    found: dict[str, Mutant] = {}
    for number, node in enumerate(ast.walk(tree)):
        if getattr(node, "lineno", -1) not in lines:
            continue
        for what, change in _changes(node):
            broken = copy.deepcopy(tree)
            change(list(ast.walk(broken))[number], broken)
            text = ast.unparse(ast.fix_missing_locations(broken))
            if text != ast.unparse(tree):
                found.setdefault(text, Mutant(what, node.lineno, text))  # type: ignore[attr-defined]
    return list(found.values())


Change = Callable[[ast.AST, ast.AST], None]


def _changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """Yield what can be done to a node: in words, and as a function of the node and the tree that it is in."""
    if isinstance(node, ast.expr):
        for what, new in _expressions(node):
            yield what, _replacing_by(new)
    if isinstance(node, ast.stmt):
        yield from _statements(node)


# --- expressions --------------------------------------------------------------------------------------------------


def _expressions(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.Constant) and node.value in OTHER:
        yield f"{node.value!r} for {OTHER[node.value]!r} swapped", ast.Constant(OTHER[node.value])
    elif isinstance(node, ast.GeneratorExp) and node.generators[0].ifs:
        yield "the condition dropped", ast.GeneratorExp(node.elt, [_unconditional(node.generators[0])])
    elif isinstance(node, ast.Attribute) and _loads(node):
        yield from _attributes(node)
    elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
        yield f"{ast.unparse(node)} turned round", ast.UnaryOp(ast.Not(), node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield f"{ast.unparse(node)} turned round", node.operand
    elif isinstance(node, ast.IfExp):
        for part in (node.body, node.orelse):
            yield f"always {ast.unparse(part)}", part
    elif isinstance(node, ast.Tuple) and len(node.elts) > 1 and _loads(node):
        for place, part in enumerate(node.elts):
            rest = [*node.elts[:place], *node.elts[place + 1 :]]
            yield f"{ast.unparse(part)} left out", ast.Tuple(rest, node.ctx)


def _unconditional(part: ast.comprehension) -> ast.comprehension:
    return ast.comprehension(part.target, part.iter, [], part.is_async)


def _attributes(node: ast.Attribute) -> Iterator[tuple[str, ast.expr]]:
    text = ast.unparse(node)
    if node.attr == "nbytes":
        yield f"{text} replaced by a count", ast.Call(ast.Attribute(node.value, "numel", ast.Load()), [], [])
    if node.attr == "device":
        for kind in ("cpu", "cuda"):
            yield f"{text} replaced by {kind!r}", ast.parse(f"torch.device({kind!r})", mode="eval").body
        yield f"{text} without its number", ast.Attribute(node, "type", ast.Load())
    elif text.endswith(".device.type"):
        yield f"{text} compared without .type", node.value


def _loads(node: ast.Attribute | ast.Tuple) -> bool:
    return isinstance(node.ctx, ast.Load)


def _calls(node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node.func, ast.Attribute) and node.func.attr in {*MOVES, "item", "detach"}:
        yield f".{node.func.attr}() dropped", node.func.value
    if is_move(node) and node.args and not isinstance(node.args[0], ast.Constant):
        for kind in ("cpu", "cuda"):
            yield f".to() sent to {kind!r}", _with(node, args=[ast.Constant(kind), *node.args[1:]])
    if ast.unparse(node.func).endswith("is_available"):
        for answer in (True, False):
            yield f"is_available() taken for {answer}", ast.Constant(answer)
    for place, keyword in enumerate(node.keywords):
        if keyword.arg in KEYWORDS:
            rest = [*node.keywords[:place], *node.keywords[place + 1 :]]
            yield f"{keyword.arg}= dropped", _with(node, keywords=rest)
            if keyword.arg == "device" and not isinstance(keyword.value, ast.Constant):
                cpu = [*rest, ast.keyword("device", ast.Constant("cpu"))]
                yield "device= set to 'cpu'", _with(node, keywords=cpu)


def _with(node: ast.Call, **changes: list) -> ast.Call:
    return ast.Call(**(vars(node) | changes))


def method(node: ast.AST | None) -> str:
    """Return the name of the method that a node calls, such as "to"; an empty text for what is no such call."""
    return node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""


def is_move(node: ast.AST | None) -> bool:
    """Say whether a node is a call such as x.to(device) or model.cuda()."""
    return method(node) in MOVES


def _replacing_by(new: ast.AST) -> Change:
    return lambda old, tree: _replace(old, copy.deepcopy(new), tree)


def _replace(old: ast.AST, new: ast.AST, tree: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(item is old for item in value):
                value[:] = [new if item is old else item for item in value]


# --- statements ---------------------------------------------------------------------------------------------------


def _statements(node: ast.stmt) -> Iterator[tuple[str, Change]]:
    if isinstance(node, ast.With) and method(node.items[0].context_expr) in SWITCHES:
        yield "the with left out", _unwrap
    if isinstance(node, (ast.FunctionDef, ast.ClassDef, *LOOPS, ast.If, ast.With, ast.Return)):
        return
    called = method(node.value) if isinstance(node, ast.Expr) else ""
    if called == "register_buffer" and isinstance(node.value.args[0], ast.Constant):  # type: ignore[attr-defined]
        yield "a buffer made a plain attribute", _unregister
    if called == "synchronize":
        yield "the wait left out", lambda old, tree: _replace(old, ast.Pass(), tree)
        yield "waited one line earlier", _moving(-1)
        yield "waited one line later", _moving(1)
    if not any(is_move(part) for part in ast.walk(node)):
        return
    if isinstance(node, ast.Assign):
        yield "the moved tensor not kept", lambda old, tree: _replace(old, ast.Expr(old.value), tree)  # type: ignore[attr-defined]
    else:
        yield "the move left out", lambda old, tree: _replace(old, ast.Pass(), tree)
    yield "moved after its use", _move_after_use
    yield "moved anew at each use in the loop", _move_at_each_use


def _moving(lines: int) -> Change:
    """Return a change that exchanges a statement with the one before or after it, where there is one."""

    def move(old: ast.AST, tree: ast.AST) -> None:
        block, place = _block(old, tree)
        other = place + lines
        if 0 <= other < len(block) and not isinstance(block[other], ast.Return):
            block[place], block[other] = block[other], block[place]

    return move


def _unwrap(old: ast.AST, tree: ast.AST) -> None:
    block, place = _block(old, tree)
    block[place : place + 1] = old.body  # type: ignore[attr-defined]


def _unregister(old: ast.AST, tree: ast.AST) -> None:
    call = old.value  # type: ignore[attr-defined]
    target = ast.Attribute(call.func.value, call.args[0].value, ast.Store())
    _replace(old, ast.Assign([target], call.args[1]), tree)


def _block(old: ast.AST, tree: ast.AST) -> tuple[list[ast.stmt], int]:
    """Return the list of statements that one stands in, and its place there."""
    for parent in ast.walk(tree):
        for _, value in ast.iter_fields(parent):
            if isinstance(value, list) and any(item is old for item in value):
                return value, next(place for place, item in enumerate(value) if item is old)
    raise ValueError("the statement is not in the tree")


def _moved(statement: ast.stmt) -> tuple[str, ast.Call] | None:
    """Return the name that a statement moves, with the call: `x = x.to(device)` or `x.to(device)`."""
    call: Any = getattr(statement, "value", None)
    if not is_move(call) or not isinstance(call.func.value, ast.Name):
        return None
    return call.func.value.id, call


def _uses(node: ast.AST, name: str) -> bool:
    return any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node))


def _move_after_use(old: ast.AST, tree: ast.AST) -> None:
    block, place = _block(old, tree)
    moved = _moved(block[place])
    later = [n for n in range(place + 1, len(block)) if moved and _uses(block[n], moved[0])]
    if later and not isinstance(block[later[0]], ast.Return):
        block.insert(later[0], block.pop(place))


def _move_at_each_use(old: ast.AST, tree: ast.AST) -> None:
    block, place = _block(old, tree)
    moved = _moved(block[place])
    if moved is None or not isinstance(block[place], ast.Assign):
        return
    name, call = moved
    rest = block[place + 1 :]
    if not any(isinstance(later, LOOPS) and _uses(later, name) for later in rest):
        return
    for later in rest:
        for part in [part for part in ast.walk(later) if isinstance(part, ast.Name) and part.id == name]:
            if isinstance(part.ctx, ast.Load):
                _replace(part, copy.deepcopy(call), later)
    block.pop(place)
