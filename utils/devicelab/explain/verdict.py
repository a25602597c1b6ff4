"""The verdict on a mismatch, and how a learner would write its parts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

import torch

from devicelab.reach import is_a

from .culprit import Scene
from .frames import Frame
from .names import View
from .operands import device_of


@dataclass(frozen=True)
class Verdict:
    """The culprit in words: its name, why it stayed behind, what to type and where."""

    culprit: str
    why: str
    fix: str
    at: str = ""
    others: tuple[str, ...] = ()  # stayed behind too
    also: tuple[
        str, ...
    ] = ()  # what to type for these elsewhere, with where; a fix at the same place is part of `fix`


def device_text(view: View, target: torch.device) -> str:
    """Return how the learner would write the target: a variable that holds it, else its name in quotes."""
    everything = view.frame.frame.f_globals | view.variables
    for name, value in sorted(everything.items(), key=lambda pair: pair[0] != "device"):
        if isinstance(value, (torch.device, str)) and not name.startswith("_") and _means(value, target):
            return name
    return f'"{target.type}"' if target.index in (None, 0) else f'"{target}"'


def library_text(names: Mapping[str, object], library: ModuleType) -> str:
    """Return how the learner's code calls a library: "nn", or "torch.nn" where it was not imported under a name of its own."""
    return next((name for name, value in names.items() if value is library), library.__name__)


def _means(value: torch.device | str, target: torch.device) -> bool:
    if isinstance(value, str) and not re.fullmatch(r"cuda|mps|xpu|(cuda|xpu):\d+", value):
        return False
    device = torch.device(value)
    return device.type == target.type and (device.index or 0) == (target.index or 0)


def line_of(scene: Scene, frame: Frame, line: int) -> str:
    """Return "line 7", with its file where that is not the one that failed."""
    failed = scene.views[0].frame if scene.views else frame
    return f"line {line}" + (f" of {frame.file}" if frame.path != failed.path else "")


def before(scene: Scene, view: View) -> str:
    """Where to type something that must come first: above the view's line."""
    return f"before {line_of(scene, view.frame, view.frame.line)}"


def instead(scene: Scene, text: str) -> str:
    """Where to type something that replaces a part of the learner's failing line."""
    own = scene.view is not None and scene.view.frame.is_learners
    view = scene.view if scene.view and own else next(iter(scene.views), None)
    if view is None:  # a library's line, called by nobody's
        return ""
    return f"in place of {text} in line {view.frame.line}"


def beside(scene: Scene, device: str, view: View | None = None) -> str:
    """Return "x.device" where the function was given a tensor x that is on the target, so that the line works everywhere."""
    view = view or next(iter(scene.views), None)
    if view is None:
        return device
    for name, value in view.variables.items():
        if is_a(value, torch.Tensor) and device_of(value) == scene.target and view.is_argument(name):
            return f"{name}.device"
    return device
