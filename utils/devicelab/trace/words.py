"""A trace in words: one sentence, at most eight lines, and everything on request."""

from collections.abc import Iterable, Sequence
from typing import Any

from devicelab import units
from devicelab.picture import Table
from devicelab.source import Line

from .result import Copy, Hazard, Observed, Operator, Synchronization

MOST_LINES = 8
LEAST_WAIT = 1e-6  # seconds, for another rank: less is no wait that anybody meant
_KINDS = {
    "copy": "a copy",
    "aten::_local_scalar_dense": "reading a value",
    "aten::nonzero": "nonzero",
    "aten::index": "indexing by a mask",
    "aten::_unique2": "unique",
}

NO_STEP = "; no step of an optimizer was seen"
_READERS = {"aten::_local_scalar_dense": "item"}


def listed(words: Iterable[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def plural(count: int, word: str) -> str:
    """Return "1 copy", "2 copies", "2 processes", "1,000 steps"."""
    if count != 1:
        word = f"{word[:-1]}ies" if word.endswith("y") else f"{word}es" if word.endswith("s") else f"{word}s"
    return f"{count:,} {word}"


def short(name: str) -> str:
    """Return an operator's name as people say it: "aten::add_" becomes "add_"."""
    return name.removeprefix("aten::")


def label(trace: Observed) -> str:
    """Return how the numbers came about: "[simulated, Tesla T4]"."""
    card = "" if trace.name in ("", "CPU") else f", {trace.name}"
    return f"[{trace.origin}{card}{'' if trace.rank is None else f', rank {trace.rank}'}]"


def verdict(trace: Observed) -> str:
    """Return the answer in one sentence."""
    if not trace.operators:
        return "Nothing was computed here: no operator ran in this thread."
    if not trace.training:
        return f"No training here: {_shares(trace)}{_unused(trace)}."
    where = {phase.devices for phase in trace.phases.values()}
    missing = "" if "optimizer" in trace.phases else NO_STEP
    if "backward" not in trace.phases:
        missing = "; no backward pass was seen"
    if len(where) == 1:
        devices = listed(trace.training)
        if "cpu" in trace.training and len(trace.training) > 1:
            return f"Training was split between {devices}, in {listed(trace.phases)}{missing}."
        return f"Training ran on {devices}: {listed(trace.phases)}{missing}{_unused(trace)}."
    parts = [f"{phase.name} on {listed(phase.devices)}" for phase in trace.phases.values()]
    return f"Training was split: {', '.join(parts)}{missing}."


def _unused(trace: Observed) -> str:
    if trace.card == "cpu" or any(not device.startswith("cpu") for device in trace.devices):
        return ""
    moved = any(copy.target != "cpu" for copy in trace.copies)
    name = "cuda:0" if trace.card == "cuda" else trace.card
    return f", although there is {_article(trace)} ({name}){' with data on it' if moved else ''}; it computed nothing"


def _article(trace: Observed) -> str:
    return f"a simulated {trace.name}" if trace.origin == "simulated" else f"a GPU, {trace.name}"


def _shares(trace: Observed) -> str:
    counts = dict.fromkeys(trace.devices, 0)
    for operator in trace.operators:
        if operator.device in counts:
            counts[operator.device] += operator.count
    return (
        listed(f"{plural(count, 'operator')} on {device}" for device, count in counts.items())
        or "no operator"
    )


def summary(trace: Observed, rest: str = "t.text()") -> list[str]:
    """Return the sentence and at most eight lines; `rest` says where what does not fit can be seen."""
    copies, waits, hazards = _copy_lines(trace), _wait_lines(trace), _hazard_lines(trace)
    lines = [*_operator_lines(trace), *_rank_lines(trace), *hazards[:2], *copies[:3], *waits[:3]][
        : MOST_LINES - 1
    ]
    lines += trace.notes[: MOST_LINES - 1 - len(lines)]
    left = 1 + len(hazards) + len(copies) + len(waits) + len(trace.notes) - len(lines)
    if left > 0 and len(lines) > 1:
        lines.append(f"... and {plural(left, 'line')} more in {rest}")
    return [f"{verdict(trace)} {label(trace)}", *(f"  {line}" for line in lines)]


def _operator_lines(trace: Observed) -> list[str]:
    total = sum(operator.seconds for operator in trace.operators)
    parts = []
    for device in trace.devices:
        here = [operator for operator in trace.operators if operator.device == device]
        share = percent(sum(operator.seconds for operator in here) / total) if total else "0 %"
        count = sum(operator.count for operator in here)
        parts.append(f"{count:,} on {device}" + (f" ({share} of the time)" if len(trace.devices) > 1 else ""))
    steps = f" in {plural(trace.steps, 'step')}" if trace.steps else ""
    return [f"operators: {', '.join(parts)}{steps}"] if parts else []


def _rank_lines(trace: Observed) -> list[str]:
    if not trace.collectives:
        return []
    told = [(rank, seconds) for rank, seconds in trace.waited_for if seconds >= LEAST_WAIT]
    waited = [f"{units.seconds(seconds)} for rank {rank}" for rank, seconds in told]
    rest = f"waited {listed(waited)}, which came later" if waited else "waited for nobody"
    return [f"{plural(trace.collectives, 'collective')} with other processes: {rest}"]


def percent(share: float) -> str:
    """Return a share as a percentage: 0.034 becomes "3 %"."""
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else "under 1 %"


def often(count: int, came_in: int, steps: int) -> str:
    """Return how often something happened: "2 per step" where it came in every one of several steps, else "12 in all"."""
    if steps < 2 or came_in < steps:
        return f"{count:,} in all"
    return (
        f"{count / steps:.0f} per step" if count % steps == 0 else f"{units.digits(count / steps)} per step"
    )


def _copy_lines(trace: Observed) -> list[str]:
    groups: dict[tuple[str, Any], list[Copy]] = {}
    for copy in trace.copies:
        groups.setdefault((copy.direction, copy.line), []).append(copy)
    if not groups:
        return ["no copies between devices"] if trace.card != "cpu" else []
    ordered = sorted(groups.values(), key=lambda group: -max(copy.steps for copy in group))
    return [f"copy {group[0].direction}: {_copy_words(group, trace.steps)}" for group in ordered]


def _copy_words(group: Sequence[Copy], steps: int) -> str:
    count, nbytes = sum(copy.count for copy in group), sum(copy.nbytes for copy in group)
    memory = {copy.pinned for copy in group}
    kind = ", pinned" if memory == {True} else ", pageable" if memory == {False} else ""
    waits = ", the CPU waits" if all(copy.waits for copy in group) else ""
    rate = often(count, max(copy.steps for copy in group), steps)
    return f"{rate}, {_size_words(group, count, nbytes, rate)}{kind}{waits}{at(group[0].line)}"


def _size_words(group: Sequence[Copy], count: int, nbytes: int, rate: str) -> str:
    if count == 1:
        return units.size(nbytes)
    smallest = min(copy.smallest for copy in group)
    if smallest == max(copy.largest for copy in group):
        return f"{units.size(smallest)} each"
    if rate.endswith("in all"):
        return f"{units.size(nbytes)} together"
    return f"{units.size(nbytes / count)} on average"


def at(line: Line | None) -> str:
    """Return where something happened: " at train.py:42 `x.to(device)`"."""
    return f", at {line}" if line else ""


def _wait_lines(trace: Observed) -> list[str]:
    """Say what made the CPU wait; copies have lines of their own."""
    groups: dict[tuple[str, Any], list[Synchronization]] = {}
    for wait in trace.synchronizations:
        if wait.kind != "copy":
            groups.setdefault((kind(wait), wait.line), []).append(wait)
    ordered = sorted(groups.items(), key=lambda item: -max(wait.steps for wait in item[1]))
    lines = []
    for (word, line), group in ordered:
        count, came_in = sum(wait.count for wait in group), max(wait.steps for wait in group)
        lines.append(f"the CPU waits: {often(count, came_in, trace.steps)}, {word}{at(line)}")
    return lines


def _hazard_lines(trace: Observed) -> list[str]:
    """Say which buffers of the host were used while a copy may have been on its way, with both lines."""
    return [_hazard(one) for one in sorted(trace.hazards, key=lambda one: -one.count)]


def _hazard(one: Hazard) -> str:
    way = f"the copy {one.direction} {'into' if one.receives else 'from'} it"
    launched = f" (launched at {one.copied})" if one.copied else ""
    used = f"{one.kind} by {_READERS.get(one.by, short(one.by))}, {_times(one.count)}{at(one.line)}"
    return f"hazard: a host buffer is {used}, while {way} may still be on its way{launched}; nothing orders the two"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def kind(wait: Synchronization) -> str:
    """Return what made the host wait, in words."""
    return _KINDS.get(wait.kind, short(wait.kind))


def table(trace: Observed) -> Table:
    """Return operators by device, phase and line, the longest first."""
    total = sum(operator.seconds for operator in trace.operators) or 1.0
    rows = tuple(_row(operator, total) for operator in sorted(trace.operators, key=lambda o: -o.seconds))
    header = ("operator", "device", "phase", "count", f"time ({trace.origin})", "share", "line")
    return Table(header, rows, verdict(trace))


def _row(operator: Operator, total: float) -> tuple[str, ...]:
    share = percent(operator.seconds / total)
    time = units.seconds(operator.seconds)
    line = str(operator.line or "-")
    return (short(operator.name), operator.device, operator.phase, f"{operator.count:,}", time, share, line)


def text(trace: Observed) -> str:
    """Return everything as text."""
    parts = [
        f"{table(trace)}\n",
        *_hazard_lines(trace),
        *_copy_lines(trace),
        *_wait_lines(trace),
        *trace.notes,
    ]
    ran = sum(operator.count for operator in trace.operators)
    if ran > len(trace.events):
        parts.append(
            f"the timeline knows the first {plural(len(trace.events), 'event')}; every sum is complete"
        )
    faults = [f"error{at(line)}: {message.splitlines()[0]}" for message, line in trace.faults if message]
    return "\n".join([*parts, *faults, label(trace)])
