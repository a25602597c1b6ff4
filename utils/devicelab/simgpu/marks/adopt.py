"""Tensors that C++ made on the way: which Python instruction they belong to, by which a card may adopt them."""

import sys
from types import FrameType

from devicelab.source import TORCH_FOLDER

from .marks import Adoptable, Tensor, card_of

SIMGPU = __package__.rpartition(".")[0]
INTERPRETER = f"{SIMGPU}.stand_ins.interpreter"  # its `__call__` runs a graph, which C++ makes shorter first
CUSTOM = f"{SIMGPU}.run.library"  # below its function `custom` runs somebody's Python, whose lines are calls of their own
# The files whose frames lie between torch and somebody's __torch_dispatch__.
PLUMBING = (str(TORCH_FOLDER / "_compile.py"), str(TORCH_FOLDER / "_dynamo" / "eval_frame.py"))
# What C++ calls in the middle of an instruction, and what calls the operator again: modes, and autocast's kernels.
BETWEEN = ("__torch_dispatch__", "__torch_function__", "autocast_kernel", "shield_kernel")
ENGINE = "_engine_run_backward"  # torch.autograd.graph's function below which all of a backward pass runs


def calling_frame() -> FrameType | None:
    """Return the Python frame that is calling torch; below another mode or autocast, the one that made the outermost call."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(SIMGPU):
        frame = frame.f_back
    found = frame
    while frame is not None and not (
        frame.f_code.co_name == "custom" and frame.f_globals["__name__"] == CUSTOM
    ):
        if frame.f_code.co_name in BETWEEN and frame.f_back is not None:
            found = frame.f_back
            while is_between(found) and found.f_back is not None:
                found = found.f_back
        frame = frame.f_back
    return found


def is_between(frame: FrameType) -> bool:
    """Say whether a frame lies between the call of a function of torch and what C++ calls on the way."""
    return frame.f_code.co_filename in PLUMBING or frame.f_globals.get("__name__", "").startswith(SIMGPU)


def is_optimizing() -> bool:
    """Say whether C++'s TorchScript itself has called torch, and no line of Python nor of a script."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(SIMGPU):
        if frame.f_globals["__name__"] == INTERPRETER:
            return frame.f_code.co_name == "__call__"  # else it answers a script
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__", "").startswith("torch.jit.")


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
