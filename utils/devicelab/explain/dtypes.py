"""Two dtypes in one operation: nothing is on the wrong device, whatever the types in the message look like."""

import ast
from dataclasses import replace

import torch
from torch import nn

from devicelab.reach import is_a

from .frames import Frame
from .names import View
from .operands import look_up
from .reading import Reading
from .result import Explanation
from .sources import call_in, changed, word_for
from .wordings import DTYPE

_SHORT = {"float32": "float", "float64": "double", "float16": "half", "int64": "long", "bfloat16": "bfloat16"}
WHY = "an operation computes in one dtype; both can be on the same device, and moving them changes nothing"


def told(reading: Reading, code: str) -> Explanation:
    """Explain a dtype error from its words, and the line of code where that is known."""
    at, other = (*reading.dtypes, None, None)[:2]
    where = f", both on {reading.argument_device}" if reading.argument_device else ""
    types = f": {at} and {other}" if at and other else f": {other} is needed" if other else ""
    name = _named(code, other) or _argument(reading, code)
    call = call_in(code)
    method = (
        _method(other) if other else f".to(next({call.function if call else 'model'}.parameters()).dtype)"
    )
    fix, place = (
        changed(name, method, None) if name else (method, f"behind what is {at or 'of another dtype'}")
    )
    return Explanation(
        DTYPE,
        f"This is about dtypes, not about devices{types}{where}.",
        name or None,
        WHY,
        fix,
        fix_at=place,
        seen=False,
    )


def _argument(reading: Reading, code: str) -> str:
    """Return the argument that a message names, where the line says nothing against that name."""
    name = reading.argument if reading.argument in ("index", "indices", "target") else ""
    return word_for(name, code) if name else ""


def _named(code: str, wanted: str | None) -> str:
    """Return the argument of the line's call that is to be converted: the last one, if whole numbers are wanted: the labels."""
    call = call_in(code)
    if call is None or not call.arguments:
        return ""
    return call.arguments[-1 if wanted == "int64" else 0]


def _method(dtype: str) -> str:
    return f".{_SHORT[dtype]}()" if dtype in _SHORT else f".to(torch.{dtype})"


def seen_in(frames: list[Frame], reading: Reading) -> Explanation:
    """Explain a dtype error with the learner's own names, where the tensors can be seen."""
    own = [frame for frame in reversed(frames) if frame.is_learners]
    if not own:
        return told(reading, "")
    found = replace(
        told(reading, own[0].code), line=own[0].line, file=own[0].file, code=own[0].code, seen=True
    )
    pair = next((pair for frame in own if (pair := _met(View(frame), reading))), None)
    if pair is None:
        return found
    (name, tensor), (other, wanted) = pair
    dtype, own_dtype = (str(one).removeprefix("torch.") for one in (wanted, tensor.dtype))
    names = [name]
    what = f"{name} is {own_dtype} and {other} is {dtype}: "
    if "not implemented for" in reading.message:  # what lacks a kernel lacks it for all that meet in it
        names = _alike(own, tensor.dtype) or names
        what = f"{name} is {own_dtype}, and this operation has no kernel for it there: "
    return replace(
        found,
        what=f"{what}this is about dtypes, not about devices.",
        culprit=name,
        fix="; ".join(f"{one} = {one}{_method(dtype)}" for one in names),
        fix_at=f"before line {own[0].line}",
    )


def _alike(own: list[Frame], dtype: torch.dtype) -> list[str]:
    """Return the names in the learner's line that hold tensors of a dtype, each once."""
    operands = View(own[0]).operands
    found = (one.text for one in operands if one.tensor is not None and one.tensor.dtype == dtype)
    return [*dict.fromkeys(text for text in found if text.isidentifier())]


def _met(view: View, reading: Reading) -> tuple[tuple[str, torch.Tensor], tuple[str, torch.dtype]] | None:
    """Return the tensor of the failing line that has another dtype than the module, or the tensor, that it meets."""
    tensors = [
        (one.text, one.tensor) for one in view.operands if one.tensor is not None and one.text.isidentifier()
    ]
    node = view.frame.node
    module = look_up(node.func, view.variables) if isinstance(node, ast.Call) else None
    if is_a(module, nn.Module):
        own = next((part.dtype for part in module.parameters() if part.dtype.is_floating_point), None)
        for name, tensor in tensors:
            if own is not None and tensor.dtype != own and tensor.dtype.is_floating_point:
                return (name, tensor), (ast.unparse(node.func), own)  # type: ignore[union-attr]
    blamed, wanted = (*reading.dtypes, None, None)[:2]
    target = getattr(torch, wanted, None) if wanted else None
    source = getattr(torch, blamed, None) if blamed else None
    if source is not None:
        tensors.sort(key=lambda one: one[1].dtype != source)  # type: ignore[union-attr]
    for name, tensor in tensors:
        for other, beside in tensors:
            if tensor.dtype != beside.dtype and target in (None, beside.dtype):
                return (name, tensor), (other, beside.dtype)
    labels_last = source is None or target == torch.int64  # whole numbers are wanted of labels and indices
    for name, tensor in tensors[::-1] if labels_last else tensors:
        if isinstance(target, torch.dtype) and tensor.dtype != target and source in (None, tensor.dtype):
            return (name, tensor), ("what it meets", target)
    return None
