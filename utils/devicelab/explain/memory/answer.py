"""Out of memory, explained: who holds what, the cause, and what to type against just that cause."""

import re
from collections.abc import Sequence
from dataclasses import replace

import torch

from devicelab import units
from devicelab.explain.frames import Frame
from devicelab.explain.names import View
from devicelab.explain.reading import Reading
from devicelab.explain.result import Explanation, Held
from devicelab.explain.spots import Spot, spots
from devicelab.explain.told import AnyFrame

from . import batch, causes, sums
from .figures import Figures, figures_in
from .growth import growth
from .held import BACKWARD, Stock
from .remedies import Cause, against, without_learning
from .told import by_lines

SHARE = 0.1  # of what is held: less is not to blame
MOST_HELD = 4  # who hold most are named
_SENTENCE = re.compile(r"^(?:The|A|This|One|Other)\b")  # a name at the beginning stays as it is
LEAST = 0.01  # of what the first of them holds


def out_of_memory(
    frames: Sequence[AnyFrame], reading: Reading, error: BaseException | None = None
) -> Explanation:
    """Explain an error that says that a device has no memory left; a text's `frames` hold no tensors."""
    figures = figures_in(reading.message)
    live = [frame for frame in frames if isinstance(frame, Frame)]
    views = [View(frame) for frame in reversed(live) if frame.is_learners]
    own = next((frame for frame in reversed(frames) if frame.is_learners), None)
    device, held = _device(reading), list[Held]()
    if views:
        cause, held = _seen(figures, live, views, device)
    else:
        cause = (
            sums.others(figures)
            or sums.too_large(figures)
            or sums.in_pieces(figures)
            or sums.taken(figures)
            or by_lines(frames, device.type)
        )
    return Explanation(
        reading.family,
        f"Out of memory: {_SENTENCE.sub(lambda word: word[0].lower(), cause.what)}",
        cause.culprit,
        cause.remedy.why,
        cause.remedy.fix,
        line=own.line if own else None,
        file=own.file if own else None,
        code=own.code if own else "",
        fix_at=cause.remedy.at,
        held=tuple(one for one in held[:MOST_HELD] if one.nbytes > LEAST * held[0].nbytes),
        sums=_sums(figures, _origin(error)),
        tell=cause.remedy.tell,
        source=cause.source,
        seen=bool(views),
    )


def _seen(
    figures: Figures, frames: list[Frame], views: list[View], device: torch.device
) -> tuple[Cause, list[Held]]:
    """Judge by what is held, then by the message's sums, and last by the size of the step; return the table as well."""
    there, every = Stock(device, views, frames), spots(views)
    grown = [(found, there.of(one)) for one in there.keepers if (found := growth(one, every))]
    best, nbytes = max(grown, key=lambda pair: pair[1], default=(None, 0))
    held = there.table(best.keeper if best else None)
    total = sum(one.nbytes for one in held)
    large = sums.too_large(figures)
    if large is not None:
        blamed = sums.spread(views[0]) or (large.culprit, batch.smaller(views, every) or large.remedy)
        return replace(large, culprit=blamed[0], remedy=blamed[1]), held
    if best and nbytes >= SHARE * total and nbytes > _foreign(figures):
        return causes.grown(best, nbytes, there.is_cut(best.keeper), against(best, views[0].frame.path)), held
    gone = (figures.allocated or 0) - total  # what was held on the way, and is free since the error came
    cause = (
        sums.others(figures)
        or (causes.in_one_expression(views[0], gone) if gone > SHARE * (figures.allocated or 0) else None)
        or _needless(views, every, held)
        or sums.in_pieces(figures)
        or sums.taken(figures)
        or causes.model_too_large(frames, views)
        or causes.optimizer_state(frames, views, every, held)
        or causes.step_too_large(views, every, held)
    )
    return cause, held


def _needless(views: list[View], every: list[Spot], held: list[Held]) -> Cause | None:
    """Return that a graph is kept from which nothing is learned, where it is a share worth a word."""
    graph = sum(one.nbytes for one in held if one.kind == BACKWARD)
    remedy = without_learning(views, every) if graph > SHARE * sum(one.nbytes for one in held) else None
    return causes.without_need(graph, remedy) if remedy else None


def _foreign(figures: Figures) -> int:
    return (figures.others or 0) if sums.others(figures) else 0


def _device(reading: Reading) -> torch.device:
    """Return the device that is full."""
    kind = {"hip": "cuda"}.get(reading.argument_device or "", reading.argument_device or "cuda")
    number = re.search(r"GPU (\d+)\b", reading.message)
    return torch.device(kind, int(number[1])) if number else torch.device(kind)


def _origin(error: BaseException | None) -> str:
    if error is None:
        return "from the message"
    name = getattr(error, "simulated", None)
    return f"simulated, {name}" if name else "measured"


def _sums(figures: Figures, origin: str) -> str:
    """Return the card's memory and its shares in words."""
    parts = [f"{units.size(size)} {name}" for name, size in figures.parts]
    total = f"{units.size(figures.total)} in all: " if figures.total is not None else ""
    limit = f"; PyTorch may have {units.size(figures.allowed)}" if figures.allowed is not None else ""
    return f"{total}{', '.join(parts)}{limit} [{origin}]" if parts else ""
