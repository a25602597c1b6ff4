"""The thread that samples CPU and GPU."""

import threading
import time
from collections.abc import Callable

from .queue import Queue
from .readers import Cpu, Gpu
from .result import Sample


class Sampler:
    """A thread that takes a sample every `interval` seconds and a last one when it is stopped."""

    def __init__(self, interval: float, gpu: Gpu, queue: Queue | None) -> None:
        self.interval, self.gpu, self.queue = interval, gpu, queue
        self.cpu = Cpu()
        self.live: Callable[[Sampler, bool], None] | None = None
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
                    self.live(self, ends)
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
