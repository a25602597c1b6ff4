"""What a monitor saw: samples over time, and their means."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from devicelab.devices import Origin
from devicelab.errors import InputError


@dataclass(frozen=True)
class Sample:
    """One piece of time: where it begins and how long it is (seconds), and what CPU and GPU did in it.

    `cpu` is the share of the time each core was busy (with all programs), `process` the cores that this process used, `gpu`
    the share of the time in which a kernel ran, `memory` bytes taken on the card, `power` watts. None: nobody told.
    """

    begin: float
    seconds: float
    cpu: tuple[float, ...]
    process: float | None
    gpu: float | None
    memory: int | None
    power: float | None


@dataclass(frozen=True, repr=False)
class Observed:
    """What a monitor saw between the start and the end of its block.

    `samples` are measured, in real seconds. `queue` is the simulated card's work, in simulated seconds: another clock,
    so the two are never drawn over each other. `origin` and `device` speak of the GPU. `total` is the card's memory (bytes),
    `limit` its power limit (watts), `context` the seconds in which a CUDA context was created, `kernels` and `copies` count.
    """

    samples: tuple[Sample, ...]
    queue: tuple[Sample, ...]
    seconds: float
    interval: float
    origin: Origin
    device: str
    name: str
    total: int | None = None
    limit: float | None = None
    simulated_seconds: float | None = None
    kernels: int | None = None
    copies: int | None = None
    context: float | None = None
    notes: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> object:
        if name in Observed.__dataclass_fields__:
            raise InputError("This monitor is still running: read it after the `with` block has ended.")
        raise AttributeError(f"A monitor's result has no {name!r}.")

    @property
    def on_card(self) -> tuple[Sample, ...]:
        """The samples that tell of the GPU: simulated ones of a simulated card, else the measured ones."""
        return self.queue if self.origin == "simulated" else self.samples

    @property
    def cores(self) -> tuple[float, ...]:
        """The share of the time each core was busy, with all programs of the machine; empty where it cannot be read."""
        told = tuple(sample for sample in self.samples if sample.cpu)
        columns = zip(*(sample.cpu for sample in told), strict=True)
        return tuple(self._mean(told, column) or 0.0 for column in columns)

    @property
    def cpu(self) -> float | None:
        """The share of the time the cores were busy, all of them together."""
        return fmean(self.cores) if self.cores else None

    @property
    def process(self) -> float | None:
        """How many cores this process used, without other processes such as a DataLoader's workers."""
        return self._mean(self.samples, [sample.process for sample in self.samples])

    @property
    def gpu(self) -> float | None:
        """The share of the time in which a kernel ran on the GPU."""
        return self._mean(self.on_card, [sample.gpu for sample in self.on_card])

    @property
    def memory(self) -> int | None:
        """The most bytes that were taken on the GPU (a real card: by all programs), the CUDA context included."""
        return max((sample.memory for sample in self.on_card if sample.memory is not None), default=None)

    @property
    def power(self) -> float | None:
        """The GPU's watts, on average."""
        return self._mean(self.samples, [sample.power for sample in self.samples])

    @staticmethod
    def _mean(samples: tuple[Sample, ...], values: Iterable[float | None]) -> float | None:
        pairs = [(v, s.seconds) for v, s in zip(values, samples, strict=True) if v is not None]
        total = sum(seconds for _, seconds in pairs)
        return sum(value * seconds for value, seconds in pairs) / total if total else None
