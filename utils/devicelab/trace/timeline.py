"""The picture of a trace: when the CPU wrote which order, when it waited, and what the cards did meanwhile."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from devicelab import units
from devicelab.errors import InputError
from devicelab.lanes import WAIT, Bar, Lane, Lanes, Track, busy

from .result import Event, Observed
from .words import verdict

STEPS = 3  # of a training that a timeline shows


def timeline(trace: Observed, whole: bool = False) -> Lanes:
    """Return the lanes of a trace: of a training its first steps, from the first forward pass on; with `whole`, everything."""
    track = _track(trace, whole)
    said = f"{units.seconds(track.length)} ({trace.origin}). {_shares(track)} {verdict(trace)}"
    return Lanes("When did who work?", _known(trace), (track,), said)


def timelines(traces: Mapping[str, Observed]) -> Lanes:
    """Return the lanes of several traces below each other, each under its name, on one time axis: all that their blocks did.

    An empty mapping, or one whose values are no traces, is an InputError.
    """
    given = list(traces.values()) if isinstance(traces, Mapping) else []
    if not given or not all(isinstance(trace, Observed) for trace in given):
        raise InputError('timelines needs traces with names: lab.timelines({"reading": t, "keeping": u}).')
    tracks = tuple(_track(trace, True, name) for name, trace in traces.items())
    said = " ".join(
        f"{name}: {units.seconds(track.length)}. {_shares(track)}"
        for name, track in zip(traces, tracks, strict=True)
    )
    known = dict.fromkeys(_known(trace) for trace in traces.values())
    return Lanes("When did who work?", " and ".join(known), tracks, said)


def _known(trace: Observed) -> str:
    return f"{trace.origin}, {trace.name}"


def _track(trace: Observed, whole: bool, title: str = "") -> Track:
    begin, end = (0.0, float("inf")) if whole else _window(trace)
    lanes: dict[str, list[Bar]] = {"cpu": []}
    for number, event in enumerate(trace.events):
        if begin <= told(event) < end:
            for device, bar in _bars(event, number, begin):
                lanes.setdefault(device, []).append(bar)
    drawn = (Lane(name, "CPU" if name == "cpu" else name, tuple(lanes[name])) for name in sorted(lanes))
    track = Track(tuple(drawn), title)
    return Track(track.lanes, title, track.length) if title else track


def told(event: Event) -> float:
    """Return when the CPU came to an event: it writes an order before the work begins."""
    return event.begin if event.ordered is None else event.ordered


def _bars(event: Event, number: int, begin: float) -> Iterator[tuple[str, Bar]]:
    """Yield what an event is in each lane: an order is the CPU's to write and the card's to do."""
    device = event.device
    if event.phase == "copy" and device == "cpu":
        device = event.name.partition(" -> ")[0]  # the card sends it
    kind = WAIT if event.phase == WAIT else event.phase
    yield device, Bar(event.begin - begin, event.seconds, kind, event.name, -1 if device == "cpu" else number)
    if event.ordered is not None:
        yield "cpu", Bar(event.ordered - begin, event.ordering, kind, event.name, number)


def _shares(track: Track) -> str:
    """Return for how long each device worked, and the CPU wrote orders and waited."""
    host, *cards = track.lanes
    own, orders = ([bar for bar in host.bars if (bar.order < 0) is mine] for mine in (True, False))
    times = {
        "worked": busy(replace(host, bars=tuple(own))),  # operators of its own
        "wrote orders": busy(replace(host, bars=tuple(orders))),
        "waited": busy(host, waiting=True),
    }
    words = [f"{did} for {units.seconds(time)}" for did, time in times.items() if time]
    words = [f"The CPU {words[0]}" if words else "The CPU did nothing", *words[1:]]
    words += [f"{card.device} worked for {units.seconds(busy(card))}" for card in cards]
    return f"{', '.join(words)}."


def _window(trace: Observed) -> tuple[float, float]:
    """Return the seconds at which the picture begins and ends: the first steps of a training, else everything."""
    begin = next((told(event) for event in trace.events if event.phase == "forward"), 0.0)
    steps, before = 0, ""
    for event in trace.events:
        if before == "optimizer" and event.phase != "optimizer":
            steps += 1
        if steps == STEPS:
            return begin, told(event)
        before = event.phase
    return begin, float("inf")
