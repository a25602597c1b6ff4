"""The number that stands where a value was not computed: it can be printed and calculated with, but not decided upon."""

import sys
from types import FrameType
from typing import Any

from devicelab.errors import InputError
from devicelab.simgpu.marks.adopt import calling_frame
from devicelab.source import PASSED_OVER, Line, whose
from devicelab.trace.lines import Places

_OWN = __name__.rpartition(".")[0]


def line_here() -> Line | None:
    """Return the line of the user's code that is being run."""
    places = Places()
    return places.line(places.here())


def asking_frame() -> FrameType:
    """Return the frame that asks for a value, above those of this package."""
    frame = calling_frame() or sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_OWN):
        frame = frame.f_back
    return frame


def asked_by_torch() -> bool:
    """Say whether torch's or Python's own code, not the user's, is what asks for a value."""
    return whose(asking_frame().f_code.co_filename) in PASSED_OVER


def refusal(what: str, instead: str) -> InputError:
    """Return the error for code that needs a value: what it does, on which line, and what to do instead."""
    line = line_here()
    where = f" at {line}" if line else ""
    return InputError(
        f"The function {what}{where}. An estimate computes no values, so nobody knows which. {instead}"
    )


def decides() -> InputError:
    """Return the error for a branch on a value."""
    return refusal(
        "decides by the value of a tensor",
        "Give estimate the part that runs each time, and leave the decision outside of it.",
    )


class Unknown(float):
    """A number that nobody computed; it prints as "?"."""

    __slots__ = ()

    def __new__(cls, value: float = 1.0) -> "Unknown":
        return super().__new__(cls, 1.0)  # finite and not zero, so that guards and divisions let it pass

    def __repr__(self) -> str:
        return "?"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "?"

    def __index__(self) -> int:
        raise refusal(
            "uses the value of a tensor as a size or a number of rounds",
            "Put a typical number in its place.",
        )

    __hash__ = float.__hash__


def _calculating(name: str) -> Any:
    original = getattr(float, name)

    def method(self: float, *others: Any) -> Any:
        out = original(self, *others)
        return out if out is NotImplemented else Unknown()

    return method


def _deciding(name: str) -> Any:
    original = getattr(float, name)

    def method(self: float, *others: Any) -> Any:
        if others and original(self, *others) is NotImplemented:
            return NotImplemented
        if asked_by_torch():
            return original(self, *others)
        raise decides()

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    for _side in ("", "r"):
        setattr(Unknown, f"__{_side}{_name}__", _calculating(f"__{_side}{_name}__"))
for _name in ("neg", "pos", "abs", "round"):
    setattr(Unknown, f"__{_name}__", _calculating(f"__{_name}__"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "bool"):
    setattr(Unknown, f"__{_name}__", _deciding(f"__{_name}__"))
