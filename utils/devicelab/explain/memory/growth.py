"""What grows from step to step: tensors that are kept in a list or dict, and results that each step builds on."""

import ast
from dataclasses import dataclass
from typing import Literal

from devicelab.explain.spots import ASSIGNS, Spot, backwards, learned_from, names, set_by

from .held import Keeper, container

ADDERS = ("append", "appendleft", "add", "extend", "insert")
JOINERS = ("cat", "concat", "concatenate", "stack", "vstack", "hstack")
How = Literal["kept", "sum", "joined", "carried"]


@dataclass(frozen=True)
class Growth:
    """What grows, how, the statement that makes it grow, and the parts of that statement that hold the new tensors."""

    keeper: Keeper
    how: How
    spot: Spot
    parts: tuple[ast.expr, ...]

    @property
    def learns(self) -> bool:
        """Whether a backward pass runs in each round."""
        return bool(backwards(self.spot.unit))

    @property
    def is_learned_from(self) -> bool:
        """Whether a backward pass is computed from what was gathered."""
        return self.keeper.name in learned_from(self.spot.scope or self.spot.statement)


def growth(keeper: Keeper, every: list[Spot]) -> Growth | None:
    """Return how something of the learner's grows, or None where no statement lets it grow."""
    found = (_added(keeper, spot) or _carried(keeper, spot) for spot in every if not _over_layers(spot))
    return next((one for one in found if one is not None), None)


def _added(keeper: Keeper, spot: Spot) -> Growth | None:
    """A container, or a sum in one or in an object, that is added to: in a loop, or in a function that did not make it."""
    target, parts = _adding(spot.statement)
    if target is None or not _same(ast.unparse(target), keeper.name):
        return None
    is_own = spot.function is not None and _is_made_in(spot, ast.unparse(target))
    grows = spot.loops or _is_lambdas(target, spot) or (spot.function and not is_own)
    if not grows or (is_own and spot.function and spot.function.name == "forward"):
        return None
    is_sum = isinstance(spot.statement, ast.AugAssign) and not isinstance(spot.statement.value, ast.List)
    return Growth(keeper, "sum" if is_sum else "kept", spot, parts)


def _adding(statement: ast.stmt) -> tuple[ast.expr | None, tuple[ast.expr, ...]]:
    """Return what a statement adds to, other than a plain variable, and what it adds."""
    if isinstance(statement, ast.Expr):
        calls = (statement.value, *(one.body for one in ast.walk(statement) if isinstance(one, ast.Lambda)))
        for call in calls:
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in ADDERS
                and call.args
            ):
                return call.func.value, _parts(call.args[-1])
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Subscript):
        return statement.targets[0].value, _parts(statement.value)
    if isinstance(statement, ast.AugAssign) and isinstance(statement.value, ast.List):
        return statement.target, _parts(statement.value)
    if isinstance(statement, ast.AugAssign) and not isinstance(statement.target, ast.Name):
        return statement.target, (statement.value,)
    return None, ()


def _is_lambdas(target: ast.expr, spot: Spot) -> bool:
    """Whether a target stands in a function without a name, which is called at another time."""
    lambdas = (one for one in ast.walk(spot.statement) if isinstance(one, ast.Lambda))
    return any(target is part for one in lambdas for part in ast.walk(one))


def _parts(value: ast.expr) -> tuple[ast.expr, ...]:
    if isinstance(value, ast.Dict):
        return tuple(value.values)
    return tuple(value.elts) if isinstance(value, (ast.Tuple, ast.List)) else (value,)


def _same(written: str, name: str) -> bool:
    """Whether source and walk mean the same: a method writes "self.seen" for what is "trainer.seen" outside."""
    written = container(written.partition(".setdefault(")[0])
    return written == name or (written.startswith("self.") and name.endswith(written.removeprefix("self")))


def _is_made_in(spot: Spot, target: str) -> bool:
    """Whether the function that a statement stands in makes the container anew at each call."""
    assigned = (
        one for one in ast.walk(spot.scope or spot.statement) if isinstance(one, (ast.Assign, ast.AnnAssign))
    )
    return any(target in map(ast.unparse, set_by(one)) for one in assigned)


def _carried(keeper: Keeper, spot: Spot) -> Growth | None:
    """A variable that each round of a loop computes from itself."""
    statement = spot.statement
    if not isinstance(statement, ASSIGNS) or not spot.loops or not spot.is_in(keeper.view):
        return None
    if keeper.name not in map(ast.unparse, set_by(statement)) or (
        spot.function and spot.function.name == "forward"
    ):
        return None
    if isinstance(statement, ast.AugAssign):
        return Growth(keeper, "sum", spot, (statement.value,))
    if statement.value is None or keeper.name not in names([statement.value]):
        return None
    how, parts = _of_itself(statement.value, keeper.name)
    return Growth(keeper, how, spot, parts)


def _of_itself(value: ast.expr, name: str) -> tuple[How, tuple[ast.expr, ...]]:
    """Say how a value is computed from the one before, and from what else."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        sides = (value.left, value.right)
        if name in map(ast.unparse, sides):
            return "sum", tuple(side for side in sides if ast.unparse(side) != name)
    if isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in JOINERS and value.args:
        return "joined", _parts(value.args[0])
    return "carried", ()


def _over_layers(spot: Spot) -> bool:
    """Whether a loop goes over the layers of a model, each of which it calls, and not over steps."""
    for loop in spot.loops:
        over = names([loop.target]) if isinstance(loop, (ast.For, ast.AsyncFor)) else set()
        if any(isinstance(one, ast.Call) and ast.unparse(one.func) in over for one in ast.walk(loop)):
            return True
    return False
