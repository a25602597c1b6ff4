"""Loader, copy and compute of a training as lanes: which of them everybody waits for, under three knobs.

The rules are those of the simulated clock (simgpu/machine/clock.py): one stream works its orders off one after the other; a copy
from ordinary memory, or one that may block, lets the CPU wait for its end and for all that was queued before it.
"""

from dataclasses import dataclass
from itertools import product

from . import costs, devices, units
from .errors import check_range
from .gpus import gpus
from .lanes import WAIT, Bar, Lane, Lanes, Track
from .lanes.scene import plain

SHOWN, LONG = 6, 40  # batches that are drawn, and that are counted through for the pace
SMOOTH = 16  # the last of these, a multiple of every number of workers, because these deliver in turn
AHEAD = 2  # batches that a worker prepares ahead: DataLoader's prefetch_factor
MEMORIES, COPIES, WORKERS = ("pageable", "pinned"), ("blocks", "non_blocking"), (0, 2, 4)
_HOUR = 3600.0


@dataclass(frozen=True)
class Batch:
    """What a batch takes, in seconds: to load, to copy from either memory, to write the orders of its step, to compute."""

    load: float
    pageable: float
    pinned: float
    write: float
    compute: float


@dataclass(frozen=True)
class Setting:
    """Where the knobs stand."""

    memory: str = MEMORIES[0]
    copy: str = COPIES[0]
    workers: int = WORKERS[0]

    @property
    def waits(self) -> bool:
        """Whether the CPU waits for a copy's end: pageable memory makes it, whatever is asked for."""
        return self.memory == "pageable" or self.copy == "blocks"


class Run:
    """A training of `count` batches, in seconds from its start."""

    def __init__(self, batch: Batch, setting: Setting, count: int) -> None:
        self.batch, self.setting = batch, setting
        self.host: list[Bar] = []
        self.card: list[Bar] = []
        self.loaders: list[list[Bar]] = [[] for _ in range(setting.workers)]
        self.now = self.free = 0.0  # the CPU's clock, and when the card has done what it was given
        self.ends: list[float] = []
        self._taken: list[float] = []
        for number in range(count):
            self._load(number)
            self._copy(number)
            self._compute(number)
        self._wait(self.free, "synchronize")

    def _wait(self, until: float, name: str) -> None:
        if until > self.now:
            self.host.append(Bar(self.now, until - self.now, WAIT, name))
            self.now = until

    def _load(self, number: int) -> None:
        seconds, workers = self.batch.load, self.setting.workers
        if not workers:
            self.host.append(Bar(self.now, seconds, "load", f"batch {number}"))
            self.now += seconds
            return
        bars = self.loaders[number % workers]
        room = self._taken[number - AHEAD * workers] if number >= AHEAD * workers else 0.0
        bars.append(Bar(max(bars[-1].end if bars else 0.0, room), seconds, "load", f"batch {number}"))
        # Later batches are loaded in the order in which they are asked for, so this one is not held up by them.
        self._wait(bars[-1].end, "the loader")
        self._taken.append(self.now)

    def _copy(self, number: int) -> None:
        seconds = self.batch.pinned if self.setting.memory == "pinned" else self.batch.pageable
        self.card.append(Bar(max(self.now, self.free), seconds, "copy", f"batch {number}"))
        self.free = self.card[-1].end
        if self.setting.waits:
            self._wait(self.free, "the copy")

    def _compute(self, number: int) -> None:
        self.host.append(Bar(self.now, self.batch.write, "other", f"step {number}", number))
        begin = max(self.now, self.free)
        self.now += self.batch.write
        # The last order cannot be done before it is written.
        end = max(begin + self.batch.compute, self.now)
        self.card.append(Bar(begin, end - begin, "forward", f"step {number}", number))
        self.free = end
        self.ends.append(end)

    @property
    def pace(self) -> float:
        """Seconds a batch, once it runs smoothly."""
        return (self.ends[-1] - self.ends[-1 - SMOOTH]) / SMOOTH

    def track(self, device: str) -> Track:
        """Return its lanes: the workers', the CPU's, the card's copies and its work."""
        workers = [Lane("cpu", f"worker {n}", tuple(bars)) for n, bars in enumerate(self.loaders, 1)]
        copies, work = (
            [bar for bar in self.card if (bar.kind == "copy") is wanted] for wanted in (True, False)
        )
        card = Lane(device, "copy", tuple(copies)), Lane(device, "compute", tuple(work))
        return Track((*workers, Lane("cpu", "CPU", tuple(self.host)), *card))


def pipeline(
    *, load: float, nbytes: int, compute: float, write: float = 2e-4, gpu: str | None = None
) -> Lanes:
    """Return a training as lanes: memory, `non_blocking` and the loader's workers are knobs; it begins with PyTorch's defaults.

    Of one batch: `load` seconds of the loader, `nbytes` to copy, `compute` seconds on the card and `write` seconds for the CPU to
    write the step's orders. The copy is estimated for `gpu`, or for the card that is there. Nothing runs.
    """
    for name, value in (("load", load), ("compute", compute), ("write", write)):
        check_range(name, value, 0.0, _HOUR)
    check_range("nbytes", nbytes, 1, 1 << 40)
    name = gpu or devices.present().name
    card = costs.CardCosts(gpus().find(name))
    pageable, pinned = (card.copy(nbytes, pinned, False)[1] for pinned in (False, True))
    batch = Batch(load, pageable, pinned, write, compute)
    settings = [Setting(*knobs) for knobs in product(MEMORIES, COPIES, WORKERS)]
    tracks = [Run(batch, setting, SHOWN).track("cuda:0") for setting in settings]
    drawn = plain(tracks)
    read = [_read(batch, setting) for setting in settings]
    scenes = [
        {"tracks": [track], "read": list(map(list, readings.items())), "say": _said(setting, readings)}
        for track, setting, readings in zip(drawn["tracks"], settings, read, strict=True)
    ]
    knobs = [
        {"name": "memory", "values": list(MEMORIES)},
        {"name": "copy", "values": list(COPIES)},
        {"name": "workers", "values": list(map(str, WORKERS))},
    ]
    more = {
        "scenes": scenes,
        "knobs": knobs,
        "names": drawn["names"],
        "length": drawn["length"],
        "tracks": [],
    }
    notes = (
        f"The first {SHOWN} batches; the pace is that of later ones, and each worker has a core of its own. Loading, writing and "
        f"computing take what you said. A copy of {units.size(nbytes)} takes {units.seconds(pageable)} from pageable, "
        f"{units.seconds(pinned)} from pinned memory (estimated).",
    )
    said = [_said(settings[0], read[0]), _best(settings, read)]
    return Lanes(
        "Who waits for whom?",
        f"estimated, {name}",
        (tracks[0],),
        " ".join(said),
        "pipeline",
        notes,
        more=more,
    )


def _read(batch: Batch, setting: Setting) -> dict[str, str]:
    pace = Run(batch, setting, LONG).pace
    return {
        "a batch takes": units.seconds(pace),
        "the GPU computes": f"{100 * min(1.0, batch.compute / pace):.0f} % of the time",
        "all wait for": slowest(batch, setting, pace),
    }


def slowest(batch: Batch, setting: Setting, pace: float) -> str:
    """Return what sets the pace: where the card is never idle its work or the copies in its queue, else who feeds it."""
    copy = batch.pinned if setting.memory == "pinned" else batch.pageable
    if batch.compute > 0.95 * pace:
        return "the GPU"
    if batch.compute + copy > 0.95 * pace:
        return "the copy"
    return "the loader" if batch.load / max(1, setting.workers) > batch.write else "the CPU's orders"


def _said(setting: Setting, read: dict[str, str]) -> str:
    copy = "blocks" if setting.copy == "blocks" else "need not block"
    where = f"{setting.memory} memory, a copy that {copy}, {setting.workers} workers"
    vain = (
        " The CPU waits all the same: pageable memory makes it."
        if setting.waits and setting.copy != "blocks"
        else ""
    )
    values = [f"{name} {value}" for name, value in read.items()]
    return f"With {where}, {', '.join(values)}.{vain}"


def _best(settings: list[Setting], read: list[dict[str, str]]) -> str:
    return _said(settings[-1], read[-1])
