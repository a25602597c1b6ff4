"""Out of memory in a text: what its lines tell, where no tensor can be looked at."""

import re
from collections.abc import Sequence

from devicelab.explain.told import AnyFrame

from .remedies import EVALUATES, Cause, Remedy

NO_GRAD = "without it what every layer computes is kept for a backward pass; if it is there already, look at the sizes"
HALF = (
    "in bfloat16 they take half, and so must the inputs; training needs gradients and optimizer state on top"
)
TELL = (
    "it rises from step to step: results are kept with their graphs (.item() or .detach() them), or there is no no_grad()",
    "it is the same after each step: a smaller batch, gradient accumulation, torch.utils.checkpoint, torch.autocast",
)
MOVING = ("to", "cuda", "_apply", "convert")  # functions of nn.Module
_MOVES = re.compile(r"([\w.\[\]]+)\.(?:to|cuda)\(")
_COUNTERS = {"mps": "torch.mps.current_allocated_memory()", "xpu": "torch.xpu.memory_allocated()"}


def by_lines(frames: Sequence[AnyFrame], device: str) -> Cause:
    """Return what the lines say: a model that is moved, a prediction, or nothing, and then how to find out."""
    own = [frame for frame in frames if frame.is_learners]
    moved = _MOVES.search(own[-1].code) if own else None
    if moved and any(frame.function.rpartition(".")[2] in MOVING for frame in frames):
        fix = own[-1].code.replace(f"{moved[1]}.", f"{moved[1]}.bfloat16().", 1)
        what = f"The weights of {moved[1]} do not fit on the card, beside what it holds already."
        return Cause(what, moved[1], Remedy(fix, "", HALF))
    function = next((one.function for one in reversed(own) if EVALUATES.search(one.function)), None)
    if function is not None:
        what = f"The card is full in {function}; where nothing is learned, no graph is needed."
        return Cause(
            what,
            "the graph",
            Remedy("with torch.no_grad():", f"around what {function} computes", NO_GRAD, TELL),
        )
    counter = _COUNTERS.get(device, "torch.cuda.memory_allocated()")
    return Cause(
        "The card is full; by what, the message does not say.",
        "memory",
        Remedy(f"print({counter})", "after each step", "", TELL),
    )
