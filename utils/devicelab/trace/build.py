"""From what a recorder counted to the result that a trace returns."""

from typing import Any

import torch

from devicelab import compiled, devices
from devicelab.source import Line

from .recorder import COPY, Recorder
from .result import Copy, Event, Hazard, Operator, Synchronization


class Watch(Recorder):
    """A recorder that can be read once it has ended."""

    def parts(self) -> dict[str, Any]:
        """Return the fields of a Trace."""
        lines = Lines(self)
        shown = self.simulated[-1] if self.simulated else self.present
        return {
            "operators": _operators(self, lines),
            "copies": _copies(self, lines),
            "synchronizations": _waits(self, lines),
            "events": _events(self),
            "steps": self.steps.count or self.backwards,
            "seconds": self.end - self.start,
            "origin": shown.origin,
            "card": shown.type,
            "name": " and ".join(dict.fromkeys(one.name for one in self.simulated or [shown])),
            "notes": _notes(self),
            "hazards": _hazards(self, lines),
            "rank": devices.rank(),
            "collectives": self.collectives,
            "waited_for": tuple(sorted(self.waited_for.items())),
            "faults": tuple((message, lines[place]) for message, place in self.faults),
        }


class Lines(dict[int, Line | None]):
    """Lines by place, each looked up once."""

    def __init__(self, recorder: Recorder):
        super().__init__()
        self._places = recorder.places

    def __missing__(self, place: int) -> Line | None:
        self[place] = self._places.line(place)
        return self[place]


def name_of(func: Any) -> str:
    """Return the name of an operator, such as "aten::add"."""
    return func if isinstance(func, str) else getattr(getattr(func, "_schema", None), "name", str(func))


def _operators(recorder: Recorder, lines: Lines) -> tuple[Operator, ...]:
    sums: dict[tuple[Any, ...], list[float]] = {}
    for (number, device, phase, place, scalars), (count, seconds) in recorder.sums.items():
        name = name_of(recorder.functions[number][0])
        entry = sums.setdefault((name, str(device), phase, lines[place], scalars), [0, 0.0])
        entry[0] += count
        entry[1] += seconds
    return tuple(
        Operator(name, device, phase, line, int(count), seconds, scalars)
        for (name, device, phase, line, scalars), (count, seconds) in sums.items()
    )


def _copies(recorder: Recorder, lines: Lines) -> tuple[Copy, ...]:
    copies = []
    for key, (count, nbytes, seconds, steps, least, most) in _by_line(recorder.copies, lines).items():
        source, target, pinned, waits, phase, line = key
        route = str(source), str(target)
        copies.append(Copy(*route, nbytes, least, most, pinned, waits, phase, line, count, seconds, steps))
    return tuple(copies)


def _waits(recorder: Recorder, lines: Lines) -> tuple[Synchronization, ...]:
    sums = _by_line(recorder.waits, lines)
    return tuple(
        Synchronization(kind, phase, line, count, seconds, steps)
        for (kind, phase, line), (count, _, seconds, steps, *_) in sums.items()
    )


def _hazards(recorder: Recorder, lines: Lines) -> tuple[Hazard, ...]:
    sums: dict[tuple[Any, ...], int] = {}
    for (*used, place, launched, source, target, receives, nbytes), count in recorder.flights.met.items():
        key = (*used, lines[place], lines[launched], source, target, receives, nbytes)
        sums[key] = sums.get(key, 0) + count
    names = ("kind", "by", "line", "copied", "source", "target", "receives", "nbytes")
    return tuple(Hazard(**dict(zip(names, key, strict=True)), count=count) for key, count in sums.items())


Joined = tuple[int, int, float, int, int, int]  # count, bytes, seconds, steps, least and most bytes


def _by_line(sums: dict[tuple, list[float]], lines: Lines) -> dict[tuple, Joined]:
    """Join what came from different places of one line; the place is the last part of a key."""
    joined: dict[tuple, Joined] = {}
    for (*key, place), (count, nbytes, seconds, steps, _, least, most) in sums.items():
        whole = (*key, lines[place])
        new = (int(count), int(nbytes), seconds, int(steps), int(least), int(most))
        old = joined.get(whole)
        joined[whole] = _both(old, new) if old else new
    return joined


def _both(one: Joined, other: Joined) -> Joined:
    added = one[0] + other[0], one[1] + other[1], one[2] + other[2]
    return *added, max(one[3], other[3]), min(one[4], other[4]), max(one[5], other[5])


def _events(recorder: Recorder) -> tuple[Event, ...]:
    """Return single events; work on a simulated card starts when the work before it has ended (one stream assumed)."""
    free: dict[torch.device, float] = {}
    events = []
    for func, device, phase, begin, seconds, writing, since in recorder.events:
        start, is_order = begin, phase == COPY or device.type != "cpu"
        if is_order and recorder.simulated:
            card = device if device.type != "cpu" else torch.device("cuda", 0)
            # A copy's begin is known; an operator begins when it is written and the work before it has ended.
            start = begin if phase == COPY else max(since + writing, free.get(card, since))
            free[card] = start + seconds
        written = (since - recorder.start, writing) if is_order and since is not None else (None, 0.0)
        events.append(Event(name_of(func), str(device), phase, start - recorder.start, seconds, *written))
    return tuple(events)


def _notes(recorder: Recorder) -> tuple[str, ...]:
    notes = [compiled.NOTE] if recorder.uncompiled else []
    if recorder.present.type == "mps":
        notes.append("on mps the times are what the CPU spent on launching, and waits are not seen")
    if len(recorder.origins) > 1:
        notes.append("what ran while no GPU was simulated has measured times, of this machine")
    return tuple(notes)
