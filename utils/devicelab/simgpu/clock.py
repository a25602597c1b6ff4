"""The simulated clock: a host that runs ahead, and one queue for each stream of each card.

Everything follows from the operators' shapes, so the same program takes the same simulated time on every
machine. Three clocks run side by side, with the low, the guessed and the high costs. All of it is an
estimate, and none of it is visible to Python's `time`.
"""

import warnings
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from devicelab import costs
from devicelab.gpus import Card

QUEUE_DEPTH = 1024  # launches that the driver keeps; where the queue is full the host waits for room
DEFAULT_STREAM = 0
CYCLES = 1.5e9  # per second, for torch.cuda._sleep
KERNEL_LOW, KERNEL, KERNEL_HIGH = costs.KERNEL
LAUNCH_LOW, LAUNCH, LAUNCH_HIGH = costs.LAUNCH
DISPATCH_LOW, DISPATCH, DISPATCH_HIGH = costs.DISPATCH


class Queue:
    """One stream: when the work queued so far will have ended, on the low, the guessed and the high clock."""

    __slots__ = ("ends", "high", "low", "tail")

    def __init__(self) -> None:
        self.low = self.tail = self.high = 0.0
        self.ends: deque[tuple[float, float, float]] = deque(maxlen=QUEUE_DEPTH)


class Clock:
    """Host seconds and queues of all simulated cards."""

    def __init__(self, cards: Sequence[Card]):
        self.costs = [costs.CardCosts(card) for card in cards]
        self.stream = [DEFAULT_STREAM for _ in cards]  # the current stream of each card
        self.busy = [0.0 for _ in cards]  # seconds that each card has worked or will have worked
        self.complain = (
            0  # torch.cuda.set_sync_debug_mode: 1 warns, 2 raises where an operator makes the host wait
        )
        self._queues: list[dict[int, Queue]] = [{DEFAULT_STREAM: Queue()} for _ in cards]
        self._low = self._now = self._high = 0.0

    def now(self) -> float:
        """Return the simulated host time in seconds."""
        return self._now

    def bounds(self) -> tuple[float, float]:
        """Return the simulated host time in seconds with all costs low, and with all costs high."""
        return self._low, self._high

    def spend(self, span: costs.Span) -> None:
        """Let the host be busy."""
        low, seconds, high = span
        self._low += low
        self._now += seconds
        self._high += high

    def kernel(self, index: int, func: Any, args: tuple, out: Any) -> None:
        """Launch an operator on card `index`: the host pays the launches, the current stream the duration."""
        kernels, work, spread = self.costs[index].work(func, args, out)
        self._low += DISPATCH_LOW + kernels * LAUNCH_LOW
        self._now += DISPATCH + kernels * LAUNCH
        self._high += DISPATCH_HIGH + kernels * LAUNCH_HIGH
        if kernels:
            self._enqueue(
                index,
                kernels * KERNEL_LOW + work / spread,
                kernels * KERNEL + work,
                kernels * KERNEL_HIGH + work * spread,
            )

    def host(self, func: Any, args: tuple, out: Any) -> None:
        """Run an operator on the nominal host, which waits for it."""
        self.spend(costs.host_seconds(func, args, {}, out))

    def copy(
        self,
        source: torch.device,
        target: torch.device,
        nbytes: int,
        pinned: bool = False,
        non_blocking: bool = False,
    ) -> None:
        """Copy `nbytes` between host and card or card and card; only pinned memory with non_blocking lets the host run ahead.

        `pinned` speaks of the host's side; Tensor.to("cpu", non_blocking=True) makes its result in pinned
        memory.
        """
        between_cards = source.type == target.type
        index = (source if source.type == "cuda" else target).index or 0
        self.spend(costs.DISPATCH)
        self.spend(costs.LAUNCH)
        self._enqueue(index, *self.costs[index].copy(nbytes, pinned or between_cards))
        if between_cards:
            self.hold(target.index or 0, self.stream[target.index or 0], self.mark(index, self.stream[index]))
        elif not (pinned and non_blocking):
            self.synchronizing(index)

    def wait(self, index: int, stream: int | None = None) -> None:
        """Let the host wait for a card, or for one of its streams, and pay for the synchronization."""
        queues: Iterable[Queue] = (
            self._queues[index].values() if stream is None else (self._queue(index, stream),)
        )
        for queue in queues:
            self._until(queue.low, queue.tail, queue.high)
        self.spend(costs.SYNCHRONIZE)

    def synchronizing(self, index: int, stream: int | None = None) -> None:
        """Let the host wait because an operator's result needs it: `.item()`, nonzero, a copy. See set_sync_debug_mode."""
        if self.complain == 2:
            raise RuntimeError("called a synchronizing CUDA operation")
        if self.complain == 1:
            warnings.warn("called a synchronizing CUDA operation", UserWarning, stacklevel=2)
        self.wait(index, self.stream[index] if stream is None else stream)

    def sleep(self, index: int, cycles: int) -> None:
        """Keep the current stream busy for so many clock cycles of a nominal 1.5 GHz."""
        seconds = cycles / CYCLES
        self.spend(costs.LAUNCH)
        self._enqueue(index, seconds, seconds, seconds)

    def idle(self, index: int, stream: int) -> bool:
        """Return whether a stream has nothing left to do at the present host time."""
        return self._queue(index, stream).tail <= self._now

    def mark(self, index: int, stream: int) -> costs.Span:
        """Return the time at which a stream will have done what is queued in it now: an event."""
        queue = self._queue(index, stream)
        return costs.Span(max(queue.low, self._low), max(queue.tail, self._now), max(queue.high, self._high))

    def reach(self, moment: costs.Span) -> None:
        """Let the host wait for a moment that `mark` returned, and pay for the synchronization."""
        self._until(*moment)
        self.spend(costs.SYNCHRONIZE)

    def hold(self, index: int, stream: int, moment: costs.Span) -> None:
        """Let the later work of a stream start no earlier than `moment`."""
        queue = self._queue(index, stream)
        queue.low, queue.tail, queue.high = (
            max(queue.low, moment[0]),
            max(queue.tail, moment[1]),
            max(queue.high, moment[2]),
        )

    def _queue(self, index: int, stream: int) -> Queue:
        queues = self._queues[index]
        return queues[stream] if stream in queues else queues.setdefault(stream, Queue())

    def _until(self, low: float, seconds: float, high: float) -> None:
        self._low, self._now, self._high = max(self._low, low), max(self._now, seconds), max(self._high, high)

    def _enqueue(self, index: int, low: float, seconds: float, high: float) -> None:
        """Add work to the current stream; it starts when the host has launched it and the work before it has ended."""
        stream = self.stream[index]
        queue = self._queues[index].get(stream) or self._queue(index, stream)
        ends = queue.ends
        if len(ends) == QUEUE_DEPTH:
            self._until(*ends[0])
        queue.low = low = (queue.low if queue.low > self._low else self._low) + low
        queue.tail = tail = (queue.tail if queue.tail > self._now else self._now) + seconds
        queue.high = high = (queue.high if queue.high > self._high else self._high) + high
        ends.append((low, tail, high))
        self.busy[index] += seconds
