"""The work in a simulated card's queue, in so many bins of simulated time: as many after a second as after an hour."""

from threading import Lock

import torch

from devicelab import devices, units
from devicelab.devices import Device, Origin
from devicelab.errors import check_range

from .result import Sample

BINS = 240
NARROWEST = 1e-6  # seconds of a bin at first; when there are too many, each two become one of twice the width


class Queue:
    """Which share of each bin the card computed in, and how much of its memory was taken."""

    origin: Origin = "simulated"

    def __init__(self, device: Device, index: int | None) -> None:
        self._source = device
        self.index = (
            torch.cuda.current_device() if index is None and torch.cuda.is_initialized() else index or 0
        )
        check_range("device", self.index, 0, torch.cuda.device_count() - 1)
        self.device, self.name = f"cuda:{self.index}", device.name
        self.total = device.memory(self.index)[1]
        self.kernels = self.copies = 0
        self.context = self.seconds = self._until = 0.0
        self._width = NARROWEST
        self._busy, self._memory = [0.0], [0]
        self._lock = Lock()

    def start(self) -> None:
        """Watch the card from now on."""
        self._begin = self._until = self._source.clock()
        self._memory[0] = self._source.memory(self.index)[0]
        self._source.watchers.append(self)

    def stop(self) -> None:
        """Watch it no longer; the bins end here."""
        watchers = self._source.watchers
        watchers[:] = [watcher for watcher in watchers if watcher is not self]
        end = self._source.clock()
        with self._lock:
            self.seconds, self._end = end - self._begin, end
            self._note_memory(end)

    def __call__(self, card: int, kind: str, begin: float, end: float) -> None:
        """Hear of work; a card computes while any of its streams does, so what overlaps counts once.

        This runs for every kernel, so it is written for speed.
        """
        if card != self.index:
            return
        with self._lock:
            if self._source.memory(card)[0] != self._memory[-1]:
                self._note_memory(self._source.clock())
            if kind == "kernel":
                self.kernels += 1
                if end > self._until:
                    self._add(
                        (begin if begin > self._until else self._until) - self._begin, end - self._begin
                    )
                    self._until = end
            elif kind == "copy":
                self.copies += 1
            else:
                self.context += end - begin

    def _add(self, begin: float, end: float) -> None:
        """Share work out among the bins; seconds since the start."""
        self._reach(end)
        width = self._width
        place, last = int(begin / width), int(end / width)
        if last >= len(self._busy):
            self._bin(last)
        while place < last:
            edge = (place + 1) * width
            self._busy[place] += edge - begin
            begin, place = edge, place + 1
        self._busy[last] += end - begin

    def _reach(self, moment: float) -> None:
        """Widen the bins until `moment`, in seconds since the start, lies in one."""
        while moment >= BINS * self._width:
            self._busy = [sum(self._busy[i : i + 2]) for i in range(0, len(self._busy), 2)]
            self._memory = [max(self._memory[i : i + 2]) for i in range(0, len(self._memory), 2)]
            self._width *= 2

    def _bin(self, place: int) -> None:
        missing = place + 1 - len(self._busy)
        self._busy += [0.0] * missing
        self._memory += self._memory[-1:] * missing

    def _note_memory(self, moment: float) -> None:
        self._reach(moment - self._begin)
        place = int((moment - self._begin) / self._width)
        self._bin(place)
        taken = self._source.memory(self.index)[0]
        self._memory[place] = max(self._memory[place], taken)
        self._memory[place + 1 :] = [taken] * (len(self._memory) - place - 1)

    def bins(self) -> list[Sample]:
        """Return the bins from the start to the end of the block, or to now; the last one may be shorter."""
        with self._lock:
            seconds = self.seconds or self._source.clock() - self._begin
            found = []
            for place, (busy, memory) in enumerate(zip(self._busy, self._memory, strict=True)):
                begin = place * self._width
                length = min(self._width, seconds - begin)
                if length > 0:
                    found.append(Sample(begin, length, (), None, min(1.0, busy / length), memory, None))
            return found

    def notes(self) -> list[str]:
        """Say what the drawing leaves out."""
        said = []
        left = self._until - self._end
        if left > 0:
            said.append(
                f"The queue still held {units.seconds(left)} of work (simulated) when the block ended: "
                "end it with torch.cuda.synchronize() to see that too."
            )
        if devices.simulated() is not self._source:
            said.append("The simulation ended or changed inside the block; what came after is not drawn.")
        return said
