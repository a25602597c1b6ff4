"""The profiler's events judged: which operators, copies and waits they amount to, and from which lines.

Plain objects in and plain objects out, so that it can be tried on hand-written trees without a card.
"""

import sys
from bisect import bisect
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch

from devicelab.source import LIBRARY, USER, Line, line_at, whose

from .nodes import Node, Work
from .recorder import BACKWARD, FILLS, FORWARD, MOST_EVENTS, OPTIMIZER, OTHER, computes
from .result import Copy, Event, Operator, Synchronization

WAITS = {
    "cudaStreamSynchronize",
    "cudaDeviceSynchronize",
    "cudaEventSynchronize",
    "cudaMemcpy",
    "cuStreamSynchronize",
    "cuCtxSynchronize",
    "cuEventSynchronize",
}
_ENGINE = "autograd::engine::evaluate_function"
_COPYING = ("aten::copy_", "aten::_to_copy", "aten::to", "aten::_copy_from", None)


def judge_tree(roots: Iterable[Node], lost: Iterable[Work] = ()) -> dict[str, Any]:
    """Return operators, copies, synchronizations and events from trees of profiler events."""
    nodes = [node for root in roots for node in root.below()]
    start = min((node.begin for node in nodes), default=0.0)
    phases = Phases(nodes)
    operators: dict[tuple[Any, ...], list[float]] = {}
    events = []
    for node in nodes:
        if _counts(node):
            phase = phases[node]
            device, seconds, scalars = _placed(node)
            scalars = scalars or (phase == BACKWARD and device == "cpu" and node.name in FILLS)
            _sum(operators, (node.name, device, phase, line_of(node), scalars), 1, seconds)
            written = (node.begin - start, _writing(node)) if device != "cpu" else (None, 0.0)
            events.append(Event(node.name, device, phase, _begin(node) - start, seconds, *written))
        events += _moves(node, start)
    for done in lost:
        _sum(operators, (done.name, f"cuda:{done.device}", OTHER, None, False), 1, done.seconds)
    return {
        "operators": tuple(
            Operator(name, device, phase, line, int(count), seconds, scalars)
            for (name, device, phase, line, scalars), (count, seconds) in operators.items()
        ),
        "copies": tuple(_copies(nodes, phases)),
        "synchronizations": tuple(_waits(nodes, phases)),
        "events": tuple(sorted(events[:MOST_EVENTS], key=_told)),
    }


def _sum(sums: dict[tuple[Any, ...], list[float]], key: tuple[Any, ...], *values: float) -> None:
    entry = sums.setdefault(key, [0.0] * len(values))
    entry[:] = [old + new for old, new in zip(entry, values, strict=True)]


@cache
def _is_leaf(name: str) -> bool | None:
    """Say of an operator's name whether it computes as one (True), is idle (None), or is made of others (False)."""
    namespace, _, base = name.partition("::")
    packet = getattr(getattr(torch.ops, namespace), base, None) if base and ":" not in base else None
    if packet is None or not hasattr(packet, "overloads"):
        return False
    overloads = [getattr(packet, overload) for overload in packet.overloads()]
    known = [each for each in overloads if torch._C._dispatch_has_kernel(each.name())]
    usual = next((each for each in known if each._overloadname == "default"), known[0] if known else None)
    if usual is None or torch._C._dispatch_has_kernel_for_dispatch_key(
        usual.name(), "CompositeImplicitAutograd"
    ):
        return False
    return True if computes(usual) else None


def _counts(node: Node) -> bool:
    """Say whether an event is an operator that computes, as the dispatcher sees it: the outermost that is no composite."""
    if node.kind != "op" or not _is_leaf(node.name) or _memcpy(node):
        return False
    return not any(above.kind == "op" and _is_leaf(above.name) for above in node.above() if above is not node)


def _memcpy(node: Node) -> bool:
    """Say whether an operator did nothing on the card but copy between devices."""
    work = [done for below in node.below() for done in below.work]
    return bool(work) and all(_route(done) for done in work)


def _route(work: Work) -> tuple[str, str] | None:
    """Return from where to where a copy between devices went."""
    card = f"cuda:{work.device}"
    for mark, route in (
        ("Memcpy HtoD", ("cpu", card)),
        ("Memcpy DtoH", (card, "cpu")),
        ("Memcpy PtoP", ("cuda", card)),
    ):
        if work.name.startswith(mark):
            return route
    return None


def _recorded(nodes: Iterable[Node]) -> set[Node]:
    """Return the operators that a backward pass came back to: for each sequence number the last one outside of the pass."""
    nodes = list(nodes)
    wanted = {node.sequence for node in nodes if node.name.startswith(_ENGINE) and node.sequence >= 0}
    last: dict[int, list[Node]] = {}
    for node in nodes:
        if node.kind == "op" and node.sequence in wanted and not _in_backward(node):
            known = last.get(node.sequence)
            if known is None or node.begin >= known[0].begin:
                last[node.sequence] = [node]
    return {below for group in last.values() for node in group for below in node.below()}


def _in_backward(node: Node) -> bool:
    return any(above.name.startswith(_ENGINE) for above in node.above())


class Phases:
    """The phase of training that an event belongs to, by what encloses it: the engine's events, or an optimizer's step."""

    def __init__(self, nodes: list[Node]):
        self._recorded = _recorded(nodes)
        steps = (node for node in nodes if node.name.startswith("Optimizer.step#"))
        self._steps = sorted((node.begin, node.begin + node.seconds, node.thread) for node in steps)

    def __getitem__(self, node: Node) -> str:
        if _in_backward(node):
            return BACKWARD
        if node in self._recorded:
            return FORWARD
        return OPTIMIZER if self._in_a_step(node) else OTHER

    def step(self, node: Node) -> int:
        """Return how many optimizer steps had begun when an event began."""
        return bisect(self._steps, (node.begin, float("inf"), 0))

    def _in_a_step(self, node: Node) -> bool:
        at = (
            bisect(self._steps, (node.begin, float("inf"), 0)) - 1
        )  # by time: the range begins and ends in Python calls
        if at < 0:
            return False
        begin, end, thread = self._steps[at]
        return begin <= node.begin <= end and thread == node.thread


def _placed(node: Node) -> tuple[str, float, bool]:
    """Return where an operator ran, the seconds it took there, and whether it touched scalars of the CPU only."""
    work = [done for below in node.below() for done in below.work]
    if work:
        return f"cuda:{work[0].device}", sum(done.seconds for done in work), False
    inputs = (
        [pair for below in node.below() for pair in below.inputs] if not node.inputs else list(node.inputs)
    )
    cards = [device for device, _ in inputs if not device.startswith("cpu")]
    if cards:
        return cards[0], 0.0, False
    return "cpu", node.seconds, bool(inputs) and all(dimensions == 0 for _, dimensions in inputs)


def _begin(node: Node) -> float:
    return min((done.begin for below in node.below() for done in below.work), default=node.begin)


def _writing(node: Node) -> float:
    """Return for how long the host was busy with an operator, less what it waited in it."""
    return node.seconds - sum(below.seconds for below in node.below() if _is_wait(below))


def _told(event: Event) -> float:
    """Return when the host came to an event: an order is written before its work begins."""
    return event.begin if event.ordered is None else event.ordered


def _moves(node: Node, start: float) -> Iterator[Event]:
    """Yield the copies between devices that a runtime call started, and the wait that it is, for the timeline."""
    for done in node.work:
        route = _route(done)
        if route is not None:
            yield Event(
                " -> ".join(route),
                route[1],
                "copy",
                done.begin - start,
                done.seconds,
                node.begin - start,
                node.seconds,
            )
    if _is_wait(node) and not _of_the_profiler(node):
        operator = _operator(node)
        yield Event(
            operator.name if operator else _called(node), "cpu", "wait", node.begin - start, node.seconds
        )


def _copies(nodes: Iterable[Node], phases: Phases) -> Iterator[Copy]:
    sums: dict[tuple[Any, ...], list[float]] = {}
    steps: dict[tuple[Any, ...], set[int]] = {}
    sizes: dict[tuple[Any, ...], set[int]] = {}
    for node in nodes:
        for done in node.work:
            route = _route(done)
            operator = _operator(node)
            if route is None or (operator.name if operator else None) not in _COPYING:
                continue  # within the card, or a value that an operator such as .item() fetched: a synchronization
            pinned = True if "Pinned" in done.name else False if "Pageable" in done.name else None
            waits = any(_is_wait(below) for below in (operator or node).below())
            key = (*route, pinned, waits, phases[node], line_of(node))
            _sum(sums, key, 1, done.nbytes, done.seconds)
            steps.setdefault(key, set()).add(phases.step(node))
            sizes.setdefault(key, set()).add(done.nbytes)
    for key, (count, nbytes, seconds) in sums.items():
        source, target, pinned, waits, phase, line = key
        total, least, most, often = int(nbytes), min(sizes[key]), max(sizes[key]), int(count)
        came_in = len(steps[key])
        yield Copy(source, target, total, least, most, pinned, waits, phase, line, often, seconds, came_in)


def _waits(nodes: Iterable[Node], phases: Phases) -> Iterator[Synchronization]:
    sums: dict[tuple[Any, ...], list[float]] = {}
    steps: dict[tuple[Any, ...], set[int]] = {}
    for node in nodes:
        if _is_wait(node) and not _of_the_profiler(node):
            operator = _operator(node)
            name = operator.name if operator else _called(node)
            kind = "copy" if operator and name in _COPYING else name
            key = (kind, phases[node], line_of(node))
            _sum(sums, key, 1, node.seconds)
            steps.setdefault(key, set()).add(phases.step(node))
    for key, (count, seconds) in sums.items():
        kind, phase, line = key
        yield Synchronization(kind, phase, line, int(count), seconds, len(steps[key]))


def _is_wait(node: Node) -> bool:
    """Say whether a call makes the host wait; a suffix marks builds with a default stream for each thread."""
    return node.kind == "runtime" and node.name.removesuffix("_ptsz").removesuffix("_ptds") in WAITS


def _of_the_profiler(node: Node) -> bool:
    """Say whether the profiler itself waited: at its end, below its own functions or below nothing at all."""
    return node.parent is None or any(above.name.startswith("torch/profiler/") for above in node.above())


def _operator(node: Node) -> Node | None:
    return next(
        (above for above in node.above() if above.kind == "op" and not above.name.startswith("Optimizer.")),
        None,
    )


def _called(node: Node) -> str:
    """Return the name of torch's Python function that the user's code called, such as "synchronize"."""
    name = node.name
    for above in node.above():
        if above.kind == "python":
            name = above.name.rpartition(": ")[2]
            if above.caller and whose(absolute(above.caller[0])) == USER:
                break
    return name


def line_of(node: Node) -> Line | None:
    """Return the user's line from which an event came.

    The profiler knows the line of every call, but of `a + b` only the function that it stands in: then it is that
    function's first line.
    """
    library: tuple[str, int] | None = None
    for above in node.above():
        for place in (above.function, above.caller):
            if place is None:
                continue
            filename = absolute(place[0])
            owner = whose(filename)
            if owner == USER:
                return line_at(filename, place[1], library)
            if owner == LIBRARY and library is None:
                library = filename, place[1]
    return line_at(*library) if library else None


@cache
def absolute(name: str) -> str:
    """Return the full name of a file that the profiler names relative to the places that Python imports from."""
    if Path(name).is_absolute() or name.startswith("<"):
        return name
    for place in sys.path:  # noqa: TID251  # read, not edited
        if (Path(place) / name).is_file():
            return str(Path(place).absolute() / name)
    return name
