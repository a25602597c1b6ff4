"""When the ranks of a group reach its collectives, by their simulated clocks: a collective begins with the last of them.

Each rank tells the others, by a small group of gloo's beside its own, when its card would begin a collective, and how long that
card's queue had been idle until then. From both everybody works out when it really began, also where several are on their way: a
rank that had to wait is late at the next one too, by what the gaps of its queue do not make up for.
"""

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch

from devicelab import devices

from .clock import Queue

PATIENCE = 1.0  # seconds to wait for what others tell; a rank that does not come is waited for by the collective itself
PAUSE = 50e-6
empty = torch.ops.aten.empty.memory_format


@dataclass
class Meeting:
    """One collective: what each rank told of it, once that is there."""

    told: torch.Tensor
    work: Any
    queue: Queue


class Meetings:
    """The collectives of one group, in turn."""

    def __init__(self, store: Any, rank: int, size: int, ranks: Any):
        self._rank, self._size, self._ranks = rank, size, ranks
        others = torch.distributed.PrefixStore("simulated clocks", store)
        gloo: Any = torch.distributed.ProcessGroupGloo
        self._by: Any = gloo(others, rank, size)
        self._open: deque[Meeting] = deque()
        self._moved, self._idle = [0.0] * size, [0.0] * size

    def begin(self, queue: Queue, host: float) -> None:
        """Tell the others when this rank's queue would begin its next collective."""
        start = max(queue.tail, host)
        mine, told = empty([2], dtype=torch.float64), empty([2 * self._size], dtype=torch.float64)
        mine.numpy()[:] = (start, start - queue.busy)
        self._open.append(Meeting(told, self._by._allgather_base(told, mine), queue))

    def settle(self) -> None:
        """Let this rank's queue wait for those that came later, at all collectives of which the others have told."""
        end = time.monotonic() + PATIENCE
        while self._open:
            meeting = self._open[0]
            while not meeting.work.is_completed():
                if time.monotonic() > end:
                    return
                time.sleep(PAUSE)
            self._open.popleft()
            self._work_out(meeting)

    def _work_out(self, meeting: Meeting) -> None:
        numbers = meeting.told.numpy().reshape(self._size, 2).tolist()
        arrivals = []
        for rank, (start, idle) in enumerate(numbers):
            late = max(0.0, self._moved[rank] - (idle - self._idle[rank]))
            arrivals.append(start + late)
            self._idle[rank] = idle
        begin = max(arrivals)
        self._moved = [begin - start for start, _ in numbers]
        last, waited = arrivals.index(begin), begin - arrivals[self._rank]
        for observer in devices.observers:
            observer.met(self._ranks()[last], waited)
        queue = meeting.queue
        passed = queue.tail - queue.busy - numbers[self._rank][1]  # gaps since, and what was already waited
        extra = self._moved[self._rank] - passed
        if extra > 0:
            queue.low, queue.tail, queue.high = queue.low + extra, queue.tail + extra, queue.high + extra
