"""What CPU and GPU do while a block runs, sampled by a thread of its own: `with lab.monitor() as m: ...`.

The CPU is always measured. A real NVIDIA card is asked through NVML; of a simulated one the work in its queue is drawn,
against its own simulated seconds.
"""

import threading
import time
from types import TracebackType

from devicelab import devices
from devicelab.errors import InputError, check_range

from .live import Live
from .queue import Queue
from .readers import Cpu, Gpu, gpu_reader
from .result import Load, Sample

__all__ = ["Load", "Sample", "monitor"]


class monitor:  # lower case: it reads as a function
    """Sample CPU and GPU while a `with` block runs; what `as` names is the result once the block has ended.

    `interval` is the seconds between two samples. `live` draws them in the notebook while they come, which costs some
    CPU time. `device` is the number of the card; left out, it is torch's current one.
    """

    def __init__(self, *, interval: float = 0.1, live: bool = False, device: int | None = None) -> None:
        check_range("interval", interval, 0.01, 60)
        if device is not None:
            check_range("device", device, 0, 63)
        self._interval, self._is_live, self._device = interval, live, device
        self._result: Load | None = None

    def __enter__(self) -> Load:
        if self._result is not None:
            raise InputError("This monitor has run already. Make another: `with lab.monitor() as m:`.")
        present = devices.simulated()
        self._queue = Queue(present, self._device) if present else None
        self._sampler = Sampler(self._interval, gpu_reader(self._device), self._queue)
        self._sampler.live = Live() if self._is_live else None
        self._result = object.__new__(Load)  # filled when the block ends, frozen from then on
        if self._queue:
            self._queue.start()
        self._sampler.start()
        return self._result

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._queue:
            self._queue.stop()
        try:
            self._sampler.stop()
        finally:
            Load.__init__(self._result, **parts(self._sampler, self._queue))  # type: ignore[arg-type]


class Sampler:
    """A thread that takes a sample every `interval` seconds and a last one when it is stopped."""

    def __init__(self, interval: float, gpu: Gpu, queue: Queue | None) -> None:
        self.interval, self.gpu, self.queue = interval, gpu, queue
        self.cpu = Cpu()
        self.live: Live | None = None
        self.samples: list[Sample] = []
        self.seconds, self.trouble = 0.0, ""
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="devicelab-monitor", daemon=True)

    def start(self) -> None:
        """Begin; the first sample comes after one interval."""
        self._begin = self._last = time.perf_counter()
        self._thread.start()

    def stop(self) -> None:
        """Take the last sample and end the thread."""
        self.seconds = time.perf_counter() - self._begin
        self._ends.set()
        self._thread.join()
        self.gpu.close()

    def _run(self) -> None:
        try:
            while True:
                ends = self._ends.wait(self.interval)
                self._sample()
                if self.live:
                    self.live.show(self, last=ends)
                if ends:
                    return
        except Exception as error:  # the learner's work goes on, whatever a driver says
            self.trouble = f"Sampling stopped after {len(self.samples)} samples: {error}"

    def _sample(self) -> None:
        now, begin = time.perf_counter(), self._last
        cores, process = self.cpu.read(now - begin)
        self.samples.append(Sample(begin - self._begin, now - begin, cores, process, *self.gpu.read()))
        self._last = now


def parts(sampler: Sampler, queue: Queue | None) -> dict[str, object]:
    """Return the fields of a Load."""
    notes = [*sampler.cpu.notes, *sampler.gpu.notes, *(queue.notes() if queue else []), sampler.trouble]
    gpu = queue or sampler.gpu
    return {
        "samples": tuple(sampler.samples),
        "queue": tuple(queue.bins()) if queue else (),
        "seconds": sampler.seconds,
        "interval": sampler.interval,
        "origin": gpu.origin,
        "device": gpu.device,
        "name": gpu.name,
        "total": gpu.total,
        "limit": None if queue else sampler.gpu.limit,
        "simulated_seconds": queue.seconds if queue else None,
        "kernels": queue.kernels if queue else None,
        "copies": queue.copies if queue else None,
        "context": queue.context if queue else None,
        "notes": tuple(note for note in notes if note),
    }
