"""The tensors of one operator call: their marks, and marking the results."""

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from devicelab.source import TORCH_FOLDER

from .tags import UNUSUAL, Adoptable, SimCard, Tensor, card_of, mark, put, tag_of

NOTHING = object()  # no tensor seen yet
MIXED = object()  # tensors with different marks
CUSTOM = f"{__package__}.special"  # below its function `custom` runs somebody's Python, whose lines are calls of their own
# The files whose frames lie between torch and somebody's __torch_dispatch__.
PLUMBING = (str(TORCH_FOLDER / "_compile.py"), str(TORCH_FOLDER / "_dynamo" / "eval_frame.py"))
ENGINE = "_engine_run_backward"  # torch.autograd.graph's function below which all of a backward pass runs


def merge(seen: Any, values: Any) -> Any:
    """Fold the marks of the tensors among `values` (and in lists among them) into `seen`."""
    for value in values:
        if isinstance(value, Tensor):
            tag = tag_of(value)
            if tag is not seen:
                seen = tag if seen is NOTHING else MIXED
        elif value.__class__ is list or value.__class__ is tuple:
            seen = merge(seen, value)
    return seen


def place(out: Any, card: SimCard | Adoptable | list[SimCard | None]) -> None:
    """Mark the results of an operator, save for those that lie on a card already; a list says it for each result."""
    if isinstance(card, list):
        for item, one in zip(out or (), card, strict=False):
            if one is not None:
                place(item, one)
        return
    if isinstance(out, Tensor):
        try:
            storage = out.untyped_storage()
            tag = storage._simulated_card  # type: ignore[attr-defined]
        except UNUSUAL:
            if card.__class__ is SimCard:
                put(out, card)  # type: ignore[arg-type]
            return
        if tag is None or (tag is not card and (tag.__class__ is Adoptable or not tag.running)):
            if card.__class__ is SimCard:
                mark(storage, card)  # type: ignore[arg-type]
            else:
                storage._simulated_card = card  # type: ignore[attr-defined]
    elif out.__class__ is tuple or out.__class__ is list:
        for item in out:
            place(item, card)


def named_tensors(func: Any, args: Any, kwargs: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield (argument name, tensor) for all tensors of a call, in the order of the operator's schema."""
    for number, argument in enumerate(func._schema.arguments):
        value = args[number] if number < len(args) else kwargs.get(argument.name)
        if isinstance(value, Tensor):
            yield argument.name, value
        elif isinstance(value, (list, tuple)):
            for item in value:
                if isinstance(item, Tensor):
                    yield argument.name, item


def calling_frame() -> FrameType | None:
    """Return the Python frame that is calling torch; below another mode, the one that made the outermost call."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("devicelab.simgpu"):
        frame = frame.f_back
    found = frame
    while frame is not None and not (
        frame.f_code.co_name == "custom" and frame.f_globals["__name__"] == CUSTOM
    ):
        if frame.f_code.co_name in ("__torch_dispatch__", "__torch_function__") and frame.f_back is not None:
            found = frame.f_back
            while found.f_code.co_filename in PLUMBING and found.f_back is not None:
                found = found.f_back
        frame = frame.f_back
    return found


def adoptable() -> Adoptable:
    """Return the mark of a tensor that is being made without any operand, by C++ as far as one can tell."""
    frame = calling_frame()
    if frame is None:
        return Adoptable((0, 0), None)
    hint = None
    if frame.f_code.co_name == ENGINE:
        roots = (root for root in frame.f_locals.get("t_outputs", ()) if isinstance(root, Tensor))
        hint = next((card for card in map(card_of, roots) if card), None)
    return Adoptable((id(frame), frame.f_lasti), hint)


def is_on_card(seen: Any) -> bool:
    """Say whether all operands seen lie on one card of the running simulation."""
    return seen.__class__ is SimCard and seen.running


def home(tensor: Tensor) -> SimCard | None:
    """Return the running card that a tensor lies on."""
    tag = tag_of(tensor)
    return tag if is_on_card(tag) else None  # type: ignore[return-value]


def position(func: Any, name: str) -> int:
    """Return the place of an argument in the operator's schema, or -1."""
    key = (id(func), name)
    if key not in _positions:
        names = [argument.name for argument in func._schema.arguments]
        _positions[key] = names.index(name) if name in names else -1
    return _positions[key]


_positions: dict[tuple[int, str], int] = {}


def on_host(mode: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operator of the CPU."""
    out = func(*args, **kwargs)
    mode.clock.host(func, args, out)
    return out
