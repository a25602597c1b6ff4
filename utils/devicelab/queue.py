"""A call as orders in a queue: when the CPU writes, when the card works, and what a stopwatch reads.

Sliders and the line that moves are drawn by widgets/lanes.js; `Queue` says the same here, for the still picture and the text.
"""

from dataclasses import dataclass
from statistics import median

import torch

from . import devices, units
from .errors import InputError
from .gpus import gpus
from .lanes import WAIT, Bar, Lane, Lanes, Track
from .timing.calls import Fn, check_function, devices_used, once
from .trace import trace

_CALLS = 5
_MOST = 1024  # orders in a queue; with more the driver lets the CPU wait
_IMITATING = "time.perf_counter(), this machine imitating the card (measured)"
_EQUAL = "Drawn as equal orders: in truth some are longer than others."
_FIRST = "What a real card loads in its first call is not simulated."


@dataclass(frozen=True)
class Queue:
    """So many equal orders: seconds to write one, seconds of work in it, seconds of the wait at the end.

    `others` are clocks that timed the call itself, with what they read.
    """

    launch: float
    work: float
    count: int
    wait: float = 0.0
    others: tuple[tuple[str, float], ...] = ()

    def orders(self, device: str) -> list[tuple[Bar, Bar]]:
        """Return the CPU's bar and the card's of each order: work begins when it is written and the work before it is done."""
        free, found = 0.0, []
        for number in range(self.count):
            written = Bar(number * self.launch, self.launch, "other", "order", number)
            work = Bar(max(written.end, free), self.work, "other", "", number)
            free = work.end
            found.append((written, work))
        return found

    @property
    def clocks(self) -> tuple[tuple[str, float], ...]:
        """What stopwatches read: three of these orders, then those of the call."""
        done = self.orders("")[-1][1].end
        return (
            ("stopped at once", self.count * self.launch),
            ("after one wait", done + self.wait),
            ("a wait after every order", self.count * (self.launch + self.work + self.wait)),
            *self.others,
        )


def queue(
    fn: Fn, call: str = "work()", *, operations: float | None = None, cpu: float | None = None
) -> Lanes:
    """Time a call of `fn` and return it as a queue with a `synchronize()` that can be moved.

    `call` is how the picture names it. With `operations`, the call's floating-point operations, it shows before which time the
    card's data sheet does not let it be done; with `cpu`, the CPU's seconds for the same, how many times faster a reading
    makes the GPU. A call of many operators is drawn as equal orders. A `fn` that uses no GPU is an InputError.
    """
    check_function(fn, "queue")
    present = devices.present()
    first = once(fn, present)
    device = next((name for name in devices_used(fn) if name.startswith("cuda")), None)
    if device is None:
        raise InputError(
            "queue needs a call that works on the GPU; this one ran on the CPU alone, which has no queue."
        )
    calls = [once(fn, present) for _ in range(_CALLS)]
    others = [("the first call here", first.total)]
    if present.origin == "simulated":
        others.append((_IMITATING, median(one.wall for one in calls)))
    with trace() as seen:
        fn()
    count = max(1, sum(one.count for one in seen.operators if one.device == device))
    if count > _MOST:
        raise InputError(
            f"queue draws at most {_MOST:,} orders, but this call has {count:,}. Give it a part of the work."
        )
    host, total = median(one.host for one in calls), median(one.total for one in calls)
    work = median(one.worked for one in calls) or max(total - host, 0.0)
    plain = Queue(host / count, work / count, count)
    wait = max(0.0, total - dict(plain.clocks)["after one wait"])
    found = Queue(plain.launch, plain.work, count, wait, tuple(others))
    return drawn(found, call, device, present, operations, cpu)


def drawn(
    found: Queue, call: str, device: str, present: devices.Device, operations: float | None, cpu: float | None
) -> Lanes:
    """Return the picture of a queue: as it is where the stopwatch is read before the wait."""
    read = dict(found.clocks)
    floor, sheet = _floor(operations)
    at_once, waited, *_ = read.values()
    host, card = zip(*found.orders(device), strict=True)
    wait = Bar(at_once, waited - at_once, WAIT, "synchronize")
    lanes = Lane("cpu", "CPU", (*host, wait)), Lane(device, device, card)
    what = "an order" if found.count == 1 else f"{found.count} orders"
    said = [f"Stopped at once, a stopwatch reads {units.seconds(at_once)}: the CPU only wrote {what}."]
    said += [f"With torch.cuda.synchronize() before stop it reads {units.seconds(waited)}: the work, done."]
    if floor and at_once < floor:
        said += [
            f"No {present.name} can be done before {units.seconds(floor)} ({sheet}), so the first reading is false."
        ]
    if found.count > 1:
        said += [
            f"Read with .item() after every order, it would be {units.seconds(read['a wait after every order'])}."
        ]
    micro = {"launch": found.launch, "work": found.work, "sync": found.wait, "cpu": cpu, "floor": floor}
    more = {name: None if value is None else round(1e6 * value, 3) for name, value in micro.items()}
    museum = [[name, round(1e6 * seconds, 3)] for name, seconds in found.others]
    notes = [_EQUAL] if found.count > 1 else []
    notes += [_FIRST] if present.origin == "simulated" else []
    return Lanes(
        "When is the work done?", f"{present.origin}, {present.name}", (Track(lanes),), " ".join(said), "queue", tuple(notes),
        (("start", 0.0), ("stop", at_once)), found.clocks, (floor, sheet) if floor else None,
        {"queue": more | {"count": found.count, "call": call, "device": device, "museum": museum}},
    )  # fmt: skip


def _floor(operations: float | None) -> tuple[float | None, str]:
    """Return the seconds that the card's data sheet asks for, at least, and how it says so."""
    if operations is None:
        return None, ""
    if not operations > 0:
        raise InputError(f"operations must be above 0, but it is {operations!r}.")
    name = torch.cuda.get_device_name()
    peak = gpus().find(name).fp32
    return operations / peak, f"its data sheet says {peak / 1e12:.1f} TFLOP/s in float32"
