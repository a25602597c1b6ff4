"""Causes that are seen in what is held: something grows, a graph is needless, a model, an optimizer or a step is too large."""

import ast
import re

import torch

from devicelab import units
from devicelab.explain.frames import Frame
from devicelab.explain.names import View
from devicelab.explain.result import Held
from devicelab.explain.spots import Spot
from devicelab.reach import is_a

from . import batch
from .growth import Growth
from .held import BACKWARD, GRADIENTS, STATE, WEIGHTS
from .remedies import NO_GRAD, Cause, Remedy, ended

_LISTS = (ast.ListComp, ast.SetComp, ast.GeneratorExp)


def grown(growth: Growth, nbytes: int, is_cut: bool, remedy: Remedy) -> Cause:
    """Something holds more with every round."""
    tensors, name = growth.keeper.tensors, growth.keeper.name
    many = f"{len(tensors):,} tensors" if len(tensors) > 1 else "one tensor"
    graphs = "" if all(one.grad_fn is None for one in tensors) else " with all that their graphs keep"
    graphs = graphs if len(tensors) > 1 else graphs.replace("their graphs keep", "its graph keeps")
    size = f"{'more than ' if is_cut else ''}{units.size(nbytes)}"
    what = f"{name} grows with every round, in line {growth.spot.line}: {many}{graphs}, {size} by now."
    return Cause(what, name, remedy)


def in_one_expression(view: View, gone: int) -> Cause | None:
    """A list that one expression makes: its tensors are free again when the error is looked at, and nobody's."""
    statement = view.frame.statement
    made = [one for one in ast.walk(statement) if isinstance(one, _LISTS)] if statement else []
    if statement is None or not made:
        return None
    element, text = made[0].elt, ast.unparse(made[0].elt)
    what = f"The list that line {view.frame.line} makes held {units.size(gone)} when it failed."
    place = f"in place of line {view.frame.line}"
    moved = re.fullmatch(r"(.*)\.(?:to|cuda)\([^()]*\)", text, re.DOTALL)
    if moved:
        why = f"all of it lies on the card at once; move each where it is used: {text}"
        return Cause(what, "the list", Remedy(ast.unparse(statement).replace(text, moved[1], 1), place, why))
    why = "each result stays on the card, with its graph where one is kept; what is only kept can lie in the computer's memory"
    fix = ended(statement, {id(element)}, ".detach().cpu()")
    return Cause(what, "the list", Remedy(fix, place, why, (NO_GRAD,)))


def without_need(nbytes: int, remedy: Remedy) -> Cause:
    """A graph is kept from which nothing is learned."""
    return Cause(
        f"A graph of {units.size(nbytes)} is kept for backward, and no backward follows.", "the graph", remedy
    )


def model_too_large(frames: list[Frame], views: list[View]) -> Cause | None:
    """A model's weights do not fit."""
    moving = [one for one in frames if one.function in ("to", "cuda") and one.path.endswith("module.py")]
    module = moving[0].frame.f_locals.get("self") if moving else None
    if not is_a(module, torch.nn.Module) or not views:
        return None
    nbytes = sum(one.nbytes for one in (*module.parameters(), *module.buffers()))
    line = views[0].frame.statement
    text = ast.unparse(line) if line is not None else views[0].frame.code
    found = re.search(r"([\w.\[\]]+)\.(?:to|cuda)\(", text)
    name = found[1] if found else "the model"
    what = f"The weights of {name} are {units.size(nbytes)}, and the card has no room for them."
    why = "in bfloat16 they take half; training needs gradients and optimizer state on top, each at least as large"
    fix = text.replace(f"{name}.", f"{name}.bfloat16().", 1)
    return Cause(
        what,
        name,
        Remedy(fix, f"in place of line {views[0].frame.line}", why, ("its inputs must be bfloat16 as well",)),
    )


def optimizer_state(
    frames: list[Frame], views: list[View], every: list[Spot], held: list[Held]
) -> Cause | None:
    """An optimizer's step needs more than is left for its state and its intermediate results."""
    selves = (
        one.frame.f_locals.get("self") for one in frames if re.search(r"[\\/]torch[\\/]optim[\\/]", one.path)
    )
    optimizer = next((one for one in selves if is_a(one, torch.optim.Optimizer)), None)
    kind = type(optimizer).__name__
    made = next((one for one in every if _makes(one.statement, kind)), None)
    if optimizer is None or made is None or optimizer.defaults.get("foreach") is False:
        return None
    sums = {part: sum(one.nbytes for one in held if one.kind == part) for part in (WEIGHTS, GRADIENTS, STATE)}
    shares = ", ".join(f"{part} {units.size(nbytes)}" for part, nbytes in sums.items())
    why = (
        f"{kind} works on all parameters at once; one after the other takes longer and needs less at its peak"
    )
    remedy = Remedy(
        f"{ast.unparse(made.statement)[:-1]}, foreach=False)",
        f"in place of {made.place(views[0].frame.path)}",
        why,
        ("SGD without momentum keeps no state, Adam two numbers for each weight",),
    )
    return Cause(f"The step of {kind} needs more than is left: {shares}.", f"the state of {kind}", remedy)


def _makes(statement: ast.stmt, kind: str) -> bool:
    call = statement.value if isinstance(statement, ast.Assign) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == kind


def step_too_large(views: list[View], every: list[Spot], held: list[Held]) -> Cause:
    """Nothing grows and nothing is needless: the step itself needs more than there is."""
    has_graph = any(one.kind == BACKWARD for one in held)
    most = f"; most of it: {held[0]}, {units.size(held[0].nbytes)}" if held else ""
    remedy = batch.smaller(views, every) or (None if has_graph else batch.in_chunks(views[0]))
    remedy = remedy or batch.in_half_precision(views[0], every)
    return Cause(f"This step needs more than there is{most}.", "the size of the step", remedy)
