"""One run of a training as plain data: its lines with their bytes, and every sentence that the picture says."""

import ast
import re
from collections import Counter
from itertools import groupby
from typing import Any, NamedTuple

from devicelab import units
from devicelab.gpus import Card
from devicelab.simgpu.machine.memory import CONTEXT

from .kinds import ACTIVATIONS, GRADIENTS, KINDS, OPTIMIZER, WEIGHTS
from .watch import Line, Watched

QUESTION = "Which line fills the card?"
CACHE = "cache"
STACK = (*KINDS, CACHE)  # from the bottom up, above the context
WORDS = {
    "context": "CUDA's context",
    WEIGHTS: "weights",
    GRADIENTS: "gradients",
    OPTIMIZER: "optimizer's state",
    ACTIVATIONS: "data and activations",
    "passing": "in passing",
    CACHE: "reserved, not in use",
}
ORDINALS = ("first", "second", "third", "fourth", "fifth")
SMALL = 0.01  # of the fullest moment: a line that changes less is not shown
MOST_POINTS = 5  # of a line
NOTES = (
    "Estimated: nothing was computed. Blocks are those of PyTorch's allocator; workspaces of cuBLAS and cuDNN come on top.",
    f"CUDA's context is taken for {units.size(CONTEXT)}: published, for an RTX 4090. That of another card differs.",
)


class Moment(NamedTuple):
    """The bytes of each kind after an event, in the order of STACK."""

    line: Line
    sizes: tuple[int, ...]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.sizes)


class Visit(NamedTuple):
    """What happened at a line, from the moment it began to hold or let go of something until it was left."""

    line: Line
    moments: list[Moment]

    @property
    def fullest(self) -> Moment:
        """Its moment with the most bytes."""
        return max(self.moments, key=lambda moment: moment.total)


def whole(card: Card, knobs: list[dict[str, Any]], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the data of the picture: all runs, in the order of the knobs' values, the last knob fastest. Sizes in bytes."""
    return {
        "question": QUESTION,
        "chip": f"estimated, {card.name}",
        "card": card.name,
        "limit": card.total_memory,
        "limitText": units.size(card.total_memory),
        "context": CONTEXT,
        "kinds": list(STACK),
        "words": WORDS,
        "knobs": knobs,
        "runs": runs,
        "notes": list(NOTES),
    }


def scene(found: Watched, card: Card) -> dict[str, Any]:
    """Return one run: its visited lines, the fullest moment, the refusal if there was one, and what is said of it."""
    moments = _moments(found)
    visits = _visits(moments, found)
    last = (
        found.steps if found.refused else max(0, found.steps - 1)
    )  # what comes after the last step belongs to it
    again = {moment.line[0] for moment in moments if moment.line[1] == 1}
    start = min(again, default=0)
    shown = [
        {
            "line": visit.line[0],
            "text": found.sources.get(visit.line[0], ""),
            "label": label(found.sources.get(visit.line[0], "")),
            "step": -1 if visit.line[1] == 0 and visit.line[0] < start else min(visit.line[1], last),
            "points": [list(moment.sizes) for moment in _few(visit)],
        }
        for visit in visits
    ]
    at = max(range(len(visits)), key=lambda index: visits[index].fullest.total)
    peak = CONTEXT + visits[at].fullest.total
    return {
        "visits": shown,
        "peak": at,
        "bytes": peak,
        "refused": found.refused[1] if found.refused else None,
        "head": head(found, shown, peak, card),
        "say": refusal(found, visits, shown) if found.refused else fullest(visits, shown, at),
    }


def _moments(found: Watched) -> list[Moment]:
    sizes: Counter[str] = Counter()
    moments = []
    for event in found.events:
        sizes[event.piece.kind] += event.piece.nbytes if event.came else -event.piece.nbytes
        held = tuple(sizes[kind] for kind in KINDS)
        moments.append(Moment(event.line, (*held, max(0, event.reserved - sum(held)))))
    return moments


def _visits(moments: list[Moment], found: Watched) -> list[Visit]:
    """Return what is shown: lines that change little are passed over, and turns of a loop are one visit."""
    most = max((moment.total for moment in moments), default=0)
    visits: list[Visit] = []
    before = (0,) * len(STACK)
    for line, group in groupby(moments, key=lambda moment: moment.line):
        mine = list(group)
        moved = max(sum(abs(a - b) for a, b in zip(one.sizes, before, strict=True)) for one in mine)
        if moved < SMALL * most:
            continue
        before = mine[-1].sizes
        if visits and visits[-1].line == line:
            visits[-1].moments.extend(mine)
        else:
            visits.append(Visit(line, mine))
    if found.refused and (not visits or visits[-1].line != found.refused[0]):
        visits.append(Visit(found.refused[0], [Moment(found.refused[0], before)]))
    return visits


def _few(visit: Visit) -> list[Moment]:
    """Return some moments of a visit: evenly spaced, the fullest and the last among them."""
    count = len(visit.moments)
    chosen = {round(part * (count - 1) / (MOST_POINTS - 2)) for part in range(MOST_POINTS - 1)}
    chosen.add(visit.moments.index(visit.fullest))
    return [visit.moments[index] for index in sorted(chosen)]


def label(source: str) -> str:
    """Return the name of what a line calls, as in "backward()", or what it begins with."""
    try:
        node = ast.parse(source.rstrip(":") if not source.startswith("for") else f"{source} pass").body[0]
    except (SyntaxError, IndexError):
        return source[:14]
    calls = [one for one in ast.walk(node) if isinstance(one, ast.Call)]
    if not calls:
        return source[:14]
    called = calls[0].func
    name = (
        called.attr
        if isinstance(called, ast.Attribute)
        else called.id
        if isinstance(called, ast.Name)
        else ""
    )
    return f"{name}()"


def head(found: Watched, shown: list[dict[str, Any]], peak: int, card: Card) -> str:
    """Return the answer to "Will it fit?"."""
    if found.refused:
        return f"Refused in {_step(shown[-1]['step'])}"
    return f"It fits: {units.size(peak)} at the fullest moment, of {units.size(card.total_memory)}"


def fullest(visits: list[Visit], shown: list[dict[str, Any]], at: int) -> str:
    """Return where a run that fits is fullest, and how its second step differs from its first."""
    said = f"Fullest at `{shown[at]['text']}`, in {_step(shown[at]['step'])}."
    most = [
        max((v.fullest.total for v, one in zip(visits, shown, strict=True) if one["step"] == step), default=0)
        for step in (0, 1)
    ]
    more = most[1] - most[0]
    if most[0] and more > SMALL * most[1]:
        said += f" The second step needs {units.size(more)} more than the first: the optimizer's state was made in between."
    return said


def refusal(found: Watched, visits: list[Visit], shown: list[dict[str, Any]]) -> str:
    """Return who holds the bytes where a line was refused, and whether the same line had passed before."""
    assert found.refused is not None
    line, message = found.refused
    wanted = re.search(r"Tried to allocate ([\d.]+ \w+)", message)
    held = max((visit.moments[-1] for visit in visits[-1:]), key=lambda moment: moment.total)
    parts = [
        (size, WORDS[kind]) for size, kind in zip(held.sizes, STACK, strict=True) if size > SMALL * held.total
    ]
    who = ", ".join(f"{words} {units.size(size)}" for size, words in sorted(parts, reverse=True))
    asked = f", for {wanted[1]}" if wanted else ""
    said = f"`{found.sources.get(line[0], '')}` is only the last that asked{asked}. What was held already: {who}."
    passed = [visit for visit in visits if visit.line[0] == line[0] and visit.line[1] < line[1]]
    state = STACK.index(OPTIMIZER)
    if (
        passed
        and held.sizes[state] > SMALL * held.total
        and passed[0].fullest.sizes[state] < held.sizes[state]
    ):
        said += " In the step before, the same line passed: the optimizer's state was not there yet."
    return said


def _step(step: int) -> str:
    if step < 0:
        return "the lines before the first step"
    return f"the {ORDINALS[step]} step" if step < len(ORDINALS) else f"step {step + 1}"
