"""The simulated clock: a host that runs ahead, and one queue per stream of each card.

Everything follows from the shapes of the operators, so the same program takes the same simulated time everywhere. The numbers are estimates.
"""

from collections import deque
from typing import Any

import torch

from devicelab import costs
from devicelab.gpus import Card

QUEUE_DEPTH = 1024  # launches that the driver holds; the host waits for room beyond that
DEFAULT_STREAM = 0


class Queue:
    """One stream: when its last kernel will have ended, and when those before it will."""

    __slots__ = ("ends", "tail")

    def __init__(self) -> None:
        self.tail = 0.0
        self.ends: deque[float] = deque(maxlen=QUEUE_DEPTH)

    def add(self, now: float, seconds: float) -> float:
        """Queue work of `seconds` at host time `now`; return the host time at which the launch returns."""
        ends = self.ends
        if len(ends) == QUEUE_DEPTH and ends[0] > now:
            now = ends[0]
        tail = self.tail
        self.tail = tail = (tail if tail > now else now) + seconds
        ends.append(tail)
        return now


class Clock:
    """Host seconds and queues of all simulated cards."""

    def __init__(self, cards: list[Card]):
        self.host_seconds = 0.0
        self.costs = [costs.CardCosts(card) for card in cards]
        self.queues: list[dict[int, Queue]] = [{DEFAULT_STREAM: Queue()} for _ in cards]
        self.stream = [DEFAULT_STREAM for _ in cards]
        self.busy = [0.0 for _ in cards]

    def now(self) -> float:
        """Return the simulated host time in seconds."""
        return self.host_seconds

    def queue(self, index: int, stream: int | None = None) -> Queue:
        """Return a stream's queue on card `index`, by default the current stream's."""
        return self.queues[index].setdefault(self.stream[index] if stream is None else stream, Queue())

    def kernel(self, index: int, func: Any, args: tuple, out: Any) -> None:
        """Launch an operator: the host pays the launch, the queue its duration."""
        cost = self.costs[index].operator(func, args, {}, out)
        if not cost.launches:
            self.host_seconds += costs.NO_LAUNCH.seconds
            return
        now = self.host_seconds + costs.LAUNCH.seconds * cost.launches
        self.host_seconds = self.queue(index).add(now, cost.device.seconds)
        self.busy[index] += cost.device.seconds

    def host(self, func: Any, args: tuple, out: Any) -> None:
        """Run an operator on the nominal host, which waits for it."""
        work = costs.traffic(func, args, out) / costs.HOST_BANDWIDTH
        self.host_seconds += costs.HOST_OPERATOR.seconds + max(work, costs.flops(func, args, {}, out) / costs.HOST_FLOPS)

    def copy(self, source: torch.device, target: torch.device, nbytes: int, pinned: bool = False, non_blocking: bool = False) -> None:
        """Copy between host and card or card and card; only pinned and non_blocking lets the host run ahead."""
        index = target.index if target.type == "cuda" else source.index
        span = self.costs[index or 0].copy(nbytes, pinned or source.type == target.type)
        now = self.host_seconds + costs.LAUNCH.seconds
        self.host_seconds = self.queue(index or 0).add(now, span.seconds)
        self.busy[index or 0] += span.seconds
        if source.type != target.type and not (pinned and non_blocking):
            self.wait(index or 0, stream=self.stream[index or 0])

    def wait(self, index: int, stream: int | None = None) -> None:
        """Let the host wait until the card (or one of its streams) has finished, and pay for the synchronization."""
        queues = self.queues[index].values() if stream is None else [self.queue(index, stream)]
        tail = max(queue.tail for queue in queues)
        self.host_seconds = max(self.host_seconds, tail) + costs.SYNCHRONIZE.seconds

    def wait_until(self, time: float) -> None:
        """Let the host wait for a moment of the device's, such as a recorded event."""
        self.host_seconds = max(self.host_seconds, time) + costs.SYNCHRONIZE.seconds

    def idle(self, index: int, stream: int) -> bool:
        """Return whether a stream has nothing left to do at the present host time."""
        return self.queue(index, stream).tail <= self.host_seconds

    def mark(self, index: int, stream: int) -> float:
        """Record an event in a stream; return the time at which the stream reaches it."""
        self.host_seconds += costs.NO_LAUNCH.seconds
        return max(self.queue(index, stream).tail, self.host_seconds)

    def hold(self, index: int, stream: int, time: float) -> None:
        """Let the later work of a stream start no earlier than `time`."""
        queue = self.queue(index, stream)
        queue.tail = max(queue.tail, time)
