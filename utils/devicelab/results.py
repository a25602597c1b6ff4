"""What an instrument returns: an object with its raw samples, its device and how each number came about."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from . import units
from .compiled import NOTE
from .devices import Origin
from .picture import Shown

WIDE = 0.15  # an interquartile range above this share of the median is called unstable
BUSY = 1.25  # programs ready to run per core; above it a measured time holds waiting for the CPU
# Load stretches a time by about the programs per core. A gap this many times wider, and FAR at least, is not its doing.
FAR_PER_LOAD = 3.0
FAR = 10.0


def quartiles(samples: Sequence[float]) -> tuple[float, float]:
    """Return the first and the third quartile; both are the sample where there is only one."""
    if len(samples) < 2:
        return samples[0], samples[0]
    first, _, third = quantiles(samples, n=4, method="inclusive")
    return first, third


def spread(samples: Sequence[float]) -> float:
    """Return the distance between the first and the third quartile."""
    first, third = quartiles(samples)
    return third - first


@dataclass(frozen=True, repr=False)
class Timing(Shown):
    """Seconds that one call took, sample by sample.

    `samples` are host seconds per call, `calls` the calls inside each sample. `device` is where the work really ran
    ("cpu", "cuda:0", "cpu and cuda:0"), `name` the device's name. `low` and `high` (seconds) bound a simulated median.
    On a GPU, `host` is the seconds that the host needs to submit a call, and `gpu` those that the GPU works on it, where
    it tells; both run at once, so they do not add up. On the CPU both are None. `uncompiled` says that a compiled function
    ran as it is written. `host_note` says how the host's share of a simulated time is known.
    """

    samples: tuple[float, ...]
    calls: int
    device: str
    name: str
    origin: Origin
    threads: int
    low: float | None = None
    high: float | None = None
    load: float | None = None  # programs that were ready to run per core, where the system tells
    host: float | None = None
    gpu: float | None = None
    host_note: str = ""
    uncompiled: bool = False

    @property
    def median(self) -> float:
        """Seconds per call, the median of the samples."""
        return median(self.samples)

    @property
    def spread(self) -> float:
        """Seconds between the first and the third quartile of the samples; 0 for a single sample."""
        return spread(self.samples)

    @property
    def range(self) -> tuple[float, float]:
        """Seconds between which the truth lies: low and high of a simulated time, the quartiles of a measured one."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        return quartiles(self.samples)

    @property
    def per_second(self) -> float:
        """Calls per second at the median."""
        return 1 / self.median

    @property
    def unstable(self) -> bool:
        """Whether the spread is too wide to compare this timing closely with another."""
        return self.spread > WIDE * self.median

    @property
    def busy(self) -> bool:
        """Whether other programs competed for the CPU while a time was measured."""
        return self.origin == "measured" and self.load is not None and self.load > BUSY

    @property
    def label(self) -> str:
        """The one word that says how the number came about, with the device."""
        return f"{self.origin}, {'uncompiled, ' if self.uncompiled else ''}{self.device}" + (
            f" ({self.name})" if self.name not in ("", "CPU") else ""
        )

    @property
    def text(self) -> str:
        """The median with its spread, with the quartiles where that is wide, or with low and high where it is simulated."""
        if self.low is not None and self.high is not None:
            return f"{units.seconds(self.median)} ({units.span(self.low, self.high, self.median)})"
        if len(self.samples) == 1:
            return f"{units.seconds(self.median)} (one sample, so no spread)"
        if self.unstable:
            return f"{units.seconds(self.median)} (quartiles {units.span(*quartiles(self.samples), self.median)})"
        return f"{units.seconds(self.median)} ± {units.seconds(self.spread / 2)}"

    @property
    def parts(self) -> str | None:
        """What the host and the GPU have to do for a call, or None on the CPU."""
        if self.host is None:
            return None
        host = f" ({self.host_note})" if self.host_note else ""
        gpu = "" if self.gpu is None else f"; the GPU works {units.seconds(self.gpu)} on it"
        estimated = " (estimated)" if gpu and self.origin == "simulated" else ""
        return f"The host needs {units.seconds(self.host)} to submit a call{host}{gpu}{estimated}."

    @property
    def caution(self) -> str | None:
        """What to know before this time is compared with another, or None."""
        return " ".join(filter(None, (NOTE if self.uncompiled else None, self._doubt))) or None

    @property
    def _doubt(self) -> str | None:
        if self.busy:
            return f"This machine is busy (load {self.load:.1f} per core); an idle one may be far faster: do not compare closely."
        if self.origin == "measured" and len(self.samples) == 1:
            return "One sample has no spread: it may be far off, so do not compare it closely."
        if self.unstable:
            return "The samples differ widely: close other programs and measure again before you compare."
        return None

    def __str__(self) -> str:
        line = f"{self.text} a call, {units.rate(self.per_second)} [{self.label}]"
        return "\n".join(text for text in (line, self.parts, self.caution) if text)

    def to_dict(self) -> dict[str, object]:
        """Return plain data for JSON; every time in seconds."""
        return {
            "median": self.median, "spread": self.spread, "low": self.low, "high": self.high,
            "per_second": self.per_second, "origin": self.origin, "device": self.device, "name": self.name,
            "calls_per_sample": self.calls, "threads": self.threads, "load": self.load, "host": self.host, "gpu": self.gpu,
            "host_note": self.host_note,
            "uncompiled": self.uncompiled, "samples": list(self.samples),
        }  # fmt: skip


def ahead(first: Timing, second: Timing) -> Timing | None:
    """Return the faster of two, or None where their ranges overlap, or where a busy machine may explain the gap.

    Two simulated times come from one model, whose errors they share: these are compared low with low, high with high.
    """
    faster, slower = sorted((first, second), key=lambda timing: timing.median)
    if first.origin == second.origin == "simulated":
        clear = all(a < b for a, b in zip(faster.range, slower.range, strict=True))
    else:
        clear = faster.range[1] < slower.range[0]
    return faster if clear and not load_explains(first, second) else None


def load_explains(first: Timing, second: Timing) -> bool:
    """Say whether other programs may have made the gap: the machine was busy, and the gap is not far beyond its load."""
    loads = [timing.load for timing in (first, second) if timing.busy and timing.load]
    faster, slower = sorted((first.median, second.median))
    return bool(loads) and slower < faster * max(FAR, FAR_PER_LOAD * max(loads))
