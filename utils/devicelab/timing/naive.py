"""What naive clocks say about a call, beside the right one."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import torch
from torch.utils.benchmark.utils.common import set_torch_threads

from devicelab import devices, html, units
from devicelab.picture import Shown, columns
from devicelab.results import Timing

from .calls import Call, Fn, check_function, once, quiet, where
from .timer import FEWEST, timeit

NEAR = 0.1  # a clock closer than this share to the right one does not lie
_NOTHING_FIRST = (
    "no lie here: all was started before (restart the kernel, time it first)",
    "no lie here: what a real card loads in it is not simulated",
)


class Clock(NamedTuple):
    """A way to time a call, the seconds that it shows, and what these seconds really are."""

    name: str
    seconds: float
    measured: str


@dataclass(frozen=True, repr=False)
class NaiveTiming(Shown):
    """What naive clocks showed for one call (`clocks`), and what it takes (`right`)."""

    clocks: tuple[Clock, ...]
    right: Timing

    def _rows(self) -> list[tuple[str, str, str, str]]:
        right = Clock("lab.timeit", self.right.median, "the call: warm, with the wait for its end")
        return [
            (name, units.seconds(seconds), f"{units.digits(seconds / self.right.median)} x", text)
            for name, seconds, text in (*self.clocks, right)
        ]

    @property
    def _title(self) -> str:
        return f"One call by naive clocks and by the right one [{self.right.label}]"

    def __str__(self) -> str:
        return "\n".join(
            [self._title, *columns(self._rows(), right=(1, 2)), self.right.caution or ""]
        ).rstrip()

    def _repr_html_(self) -> str:
        header = ("Clock", "It shows", "Of the right time", "What that really is")
        return html.table(header, self._rows(), self._title) + html.paragraphs(self.right.caution or "")


def timeit_naive(fn: Fn, *, seconds: float = 0.3) -> NaiveTiming:
    """Time a call of `fn` by clocks that people use at first, each with what it really measures, and by `timeit`.

    Give a function that was never called, or the first call has nothing left to show; nobody can tell from outside.
    `fn` is called many times. `seconds` is timeit's.
    """
    check_function(fn, "timeit_naive")
    present = devices.present()
    started = present.type != "cuda" or torch.cuda.is_initialized()
    first = once(fn, present).total
    right = timeit(fn, seconds=seconds)
    used = right.device.split(" and ")
    device = where(used)
    clocks = [Clock("first call", first, _first_words(first, right.median, device, started))]
    with quiet(device), set_torch_threads(right.threads):
        clocks += _warm_clocks(fn, device, used, right)
    return NaiveTiming(tuple(clocks), right)


def _warm_clocks(fn: Fn, device: devices.Device, used: list[str], right: Timing) -> list[Clock]:
    samples = min(FEWEST, len(right.samples))
    calls = [once(fn, device) for _ in range(samples)]
    submitted = median(call.host for call in calls)
    reading = _reading(fn, device, used)
    read = median(once(reading, device).total for _ in range(samples))
    clocks = [
        Clock("no synchronize", submitted, _submit_words(submitted, right.median, device)),
        Clock(".item() inside", read, _item_words(device)),
    ]
    if device.origin == "simulated":
        clocks.append(
            Clock("time.perf_counter()", _wall(calls), "this machine imitating the card (measured)")
        )
    return clocks


def _wall(calls: list[Call]) -> float:
    return median(call.wall for call in calls)


def _reading(fn: Fn, device: devices.Device, used: list[str]) -> Callable[[], None]:
    """Return `fn` with a value read from its device after each call, as `.item()` on a loss does."""
    place = next((name for name in used if name.split(":")[0] == device.type), "cpu")
    value = torch.zeros((), device=place)

    def read() -> None:
        fn()
        value.item()

    return read


def _first_words(first: float, right: float, device: devices.Device, started: bool) -> str:
    if first <= (1 + NEAR) * right:
        return _NOTHING_FIRST[device.origin == "simulated"]
    if device.type == "cuda" and not started:
        return "starting CUDA and loading, which happen once"
    return "loading and taking memory, which happen once"


def _submit_words(submitted: float, right: float, device: devices.Device) -> str:
    if device.type == "cpu":
        return "no lie on the CPU: a call returns when its work is done"
    if submitted >= (1 - NEAR) * right:
        return "handing the work over, which is nearly all of this call"
    return f"handing the work over; the GPU goes on for {units.seconds(right - submitted)}"


def _item_words(device: devices.Device) -> str:
    if device.type == "cpu":
        return "no lie on the CPU: there is nothing to wait for"
    return "the call, and a wait and a copy to the CPU each time"
