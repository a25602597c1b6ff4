"""What CPU and GPU do while a block runs, sampled by a thread of its own: `with lab.monitor() as m: ...`.

The CPU is always measured. A real NVIDIA card is asked through NVML; of a simulated one the work in its queue is drawn,
against its own simulated seconds.
"""

from types import TracebackType

from devicelab import devices
from devicelab.errors import InputError, check_range

from .live import Live
from .queue import Queue
from .readers import gpu_reader
from .result import Sample
from .sampler import Sampler, parts
from .shown import Load

__all__ = ["Load", "Sample", "Sampler", "monitor"]


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
        self._sampler.live = Live().show if self._is_live else None
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
