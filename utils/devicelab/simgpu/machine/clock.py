"""The simulated clock: a host that runs ahead, and one queue for each stream of each card.

The card's share follows from the operators' shapes, the host's from what this machine was measured to need for each
(costs/here.py); with a nominal host the same program takes the same simulated time on every machine. Three clocks run side
by side, with the low, the guessed and the high costs. All of it is an estimate, and none of it is visible to Python's `time`.
"""

import threading
import warnings
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from devicelab import costs, devices
from devicelab.gpus import Card

from .faults import Fault

QUEUE_DEPTH = 1024  # launches that the driver keeps; where the queue is full the host waits for room
DEFAULT_STREAM = 0
MOST_CHANGES = 20_000  # of streams, which are remembered for backward passes
Streams = tuple[int, ...]  # one of each card
# Bytes to the card that the driver takes over at once: "memory copies from host to device of a memory block of 64 KB or less"
# are asynchronous, CUDA C++ Programming Guide, section "Asynchronous Concurrent Execution"; quoted from memory.
STAGED = 64 * 1024
CYCLES = 1.5e9  # per second, for torch.cuda._sleep
KERNEL_LOW, KERNEL, KERNEL_HIGH = costs.KERNEL
LAUNCH_LOW, LAUNCH, LAUNCH_HIGH = costs.LAUNCH


class Queue:
    """One stream: when the work queued so far will have ended, on the low, the guessed and the high clock."""

    __slots__ = ("busy", "ends", "high", "low", "tail")

    def __init__(self) -> None:
        self.low = self.tail = self.high = self.busy = 0.0
        self.ends: deque[tuple[float, float, float]] = deque(maxlen=QUEUE_DEPTH)

    def add(self, clock: "Clock", low: float, seconds: float, high: float) -> None:
        """Queue work: it starts when the host has launched it and the work before it has ended."""
        ends = self.ends
        if len(ends) == QUEUE_DEPTH:
            clock.until(*ends[0])
        self.low = low = (self.low if self.low > clock.low else clock.low) + low
        self.tail = tail = (self.tail if self.tail > clock.time else clock.time) + seconds
        self.high = high = (self.high if self.high > clock.high else clock.high) + high
        ends.append((low, tail, high))
        self.busy += seconds
        clock.given += seconds


class History(threading.local):
    """Which streams were current from which of autograd's nodes on; each thread counts its own."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.streams: list[Streams] = []

    def note(self, streams: Streams) -> None:
        """Note a change; of many the oldest are forgotten."""
        if len(self.numbers) == MOST_CHANGES:
            del self.numbers[: MOST_CHANGES // 2], self.streams[: MOST_CHANGES // 2]
        self.numbers.append(torch.autograd._get_sequence_nr())
        self.streams.append(streams)


class Here(threading.local):
    """The current stream of every card, and its queue: each thread has its own, and begins with the default streams."""

    def __init__(self, queues: list[dict[int, Queue]]) -> None:
        self.streams = [DEFAULT_STREAM for _ in queues]
        self.queues = [one[DEFAULT_STREAM] for one in queues]


class Clock:
    """Host seconds and queues of all simulated cards."""

    def __init__(self, cards: Sequence[Card]):
        self.costs = [costs.CardCosts(card) for card in cards]
        self.low = self.time = self.high = 0.0  # the host's clocks, in seconds
        self.host_of, self.dispatch, self.is_settled = costs.NOMINAL, costs.NOMINAL.dispatch, False
        # torch.cuda.set_sync_debug_mode: 1 warns, 2 raises where an operator makes the host wait.
        self.complain = 0
        self._ahead = 0  # blocks in which nothing waits
        self.given = 0.0  # seconds of work, to all cards
        self.watchers: list[devices.Watcher] = []
        self.faults: dict[int, Fault] = {}  # by the card's number: assertions that failed
        self.is_blocking = False
        self._queues: list[dict[int, Queue]] = [{DEFAULT_STREAM: Queue()} for _ in cards]
        self._here = Here(self._queues)
        self._history = History()

    def now(self) -> float:
        """Return the simulated host time in seconds."""
        if not self.is_settled:
            self.settle()
        return self.time

    def bounds(self) -> tuple[float, float]:
        """Return the simulated host time in seconds with all costs low, and with all costs high."""
        if not self.is_settled:
            self.settle()
        return self.low, self.high

    def settle(self) -> None:
        """Find out what this machine's host costs, before somebody reads the first time; only differences of times count."""
        self.is_settled = True
        self.host_of = costs.host()
        self.dispatch = self.host_of.dispatch

    def spend(self, span: costs.Span) -> None:
        """Let the host be busy."""
        low, seconds, high = span
        self.low += low
        self.time += seconds
        self.high += high

    def kernel(self, index: int, func: Any, args: tuple, out: Any) -> None:
        """Launch an operator on card `index`: the host pays the launches, the current stream the duration."""
        kernels, work, spread = self.costs[index].work(func, args, out)
        low, seconds, high = self.dispatch
        self.low += low + kernels * LAUNCH_LOW
        self.time += seconds + kernels * LAUNCH
        self.high += high + kernels * LAUNCH_HIGH
        if kernels:
            seconds = kernels * KERNEL + work
            low, high = kernels * KERNEL_LOW + work / spread, kernels * KERNEL_HIGH + work * spread
            self._here.queues[index].add(self, low, seconds, high)
            if self.watchers:
                self._worked(index, "kernel", seconds)

    def block(self) -> None:
        """Let the host wait for every kernel from now on: CUDA_LAUNCH_BLOCKING=1."""
        if self.is_blocking:
            return
        self.is_blocking, launch = True, self.kernel

        def kernel(index: int, func: Any, args: tuple, out: Any) -> None:
            launch(index, func, args, out)
            queue = self._here.queues[index]
            self.until(queue.low, queue.tail, queue.high)

        self.kernel = kernel  # type: ignore[method-assign]

    def notice(self, index: int) -> None:
        """Raise CUDA's error where a kernel's assertion has failed by now on a card: every call that asks the card does this."""
        fault = self.faults.get(index)
        if fault is not None and (fault.is_known or fault.end <= self.time):
            raise fault.error()

    def check(self, index: int) -> None:
        """Raise CUDA's error where the host knows already that a card is lost: every call that gives it work does this."""
        fault = self.faults.get(index)
        if fault is not None and fault.is_known:
            raise fault.error()

    def host(self, func: Any, args: tuple, out: Any) -> None:
        """Run an operator on the host, which waits for it."""
        self.spend(costs.host_seconds(func, args, {}, out, self.dispatch))

    def copy(
        self,
        source: torch.device,
        target: torch.device,
        nbytes: int,
        pinned: bool = False,
        non_blocking: bool = False,
        buffer: Any = None,
    ) -> None:
        """Copy `nbytes` between host and card or card and card; `pinned` speaks of the host's memory.

        `buffer` is the host's tensor, for those who watch. The host runs ahead of a copy that does not block, from or into
        pinned memory, and of one to the card that the driver keeps a copy of until then. Of these PyTorch asks the driver
        alone, so that debug mode never hears of them.
        """
        between_cards = source.type == target.type
        index = (source if source.type == "cuda" else target).index or 0
        self.spend(self.dispatch)
        self.spend(costs.LAUNCH)
        work = self.costs[index].copy(nbytes, pinned or between_cards, target.type == "cpu")
        self._here.queues[index].add(self, *work)
        self._worked(index, "copy", work[1])
        staged = target.type == "cuda" and nbytes <= STAGED
        waits = not (between_cards or (non_blocking and (pinned or staged)))
        for observer in devices.observers:
            queue = self._here.queues[index]
            end = (queue.low, queue.high, queue.tail)
            observer.copied(source, target, nbytes, pinned, waits, work[1], buffer, end)
        if between_cards:
            self.hold(
                target.index or 0,
                self._here.streams[target.index or 0],
                self.mark(index, self._here.streams[index]),
            )
        elif waits:
            self.synchronizing(index, why="copy", told=not non_blocking)

    def collective(self, index: int, nbytes: float) -> None:
        """Send `nbytes` to the cards of other processes, over the link of card `index`, without a wait for them."""
        self.spend(self.dispatch)
        self.spend(costs.LAUNCH)
        work = self.costs[index].copy(int(nbytes), pinned=True)
        self._here.queues[index].add(self, *work)
        self._worked(index, "kernel", work[1])

    def wait(self, index: int, stream: int | None = None, why: str = "") -> None:
        """Let the host wait for a card, or for one of its streams, and pay for the synchronization."""
        before = self.time
        queues: Iterable[Queue] = (
            self._queues[index].values() if stream is None else (self._queue(index, stream),)
        )
        for queue in queues:
            self.until(queue.low, queue.tail, queue.high)
        self.spend(costs.SYNCHRONIZE)
        self._tell(before, why)
        if self.faults:
            self.notice(index)

    def _tell(self, before: float, why: str) -> None:
        for observer in devices.observers:
            observer.waited(self.time - before, why)

    def synchronizing(self, index: int, stream: int | None = None, why: str = "", told: bool = True) -> None:
        """Let the host wait because an operator's result needs it: `.item()`, nonzero, a copy.

        `told`: torch.cuda.set_sync_debug_mode speaks of it.
        """
        if self._ahead:
            return
        if told and self.complain == 2:
            raise RuntimeError("called a synchronizing CUDA operation")
        if told and self.complain == 1:
            warnings.warn("called a synchronizing CUDA operation", UserWarning, stacklevel=2)
        self.wait(index, self._here.streams[index] if stream is None else stream, why)

    @contextmanager
    def running_ahead(self) -> Iterator[None]:
        """Let the host wait for no value: C++ reads some on the CPU that it does not read on a card."""
        self._ahead += 1
        try:
            yield
        finally:
            self._ahead -= 1

    def sleep(self, index: int, cycles: int) -> None:
        """Keep the current stream busy for so many clock cycles of a nominal 1.5 GHz."""
        self.check(index)
        seconds = cycles / CYCLES
        self.spend(costs.LAUNCH)
        self._here.queues[index].add(self, seconds, seconds, seconds)
        self._worked(index, "kernel", seconds)

    def context(self, index: int) -> None:
        """Create the CUDA context: the host is busy, the card computes nothing."""
        before = self.time
        self.spend(costs.CONTEXT)
        for watcher in self.watchers:
            watcher(index, "context", before, self.time)

    def _worked(self, index: int, kind: str, seconds: float) -> None:
        """Tell of the work that the current stream was just given."""
        end = self._here.queues[index].tail
        for watcher in self.watchers:
            watcher(index, kind, end - seconds, end)

    def busy(self, index: int) -> float:
        """Return the seconds that a card has worked, or will have once its queues are empty."""
        return sum(queue.busy for queue in self._queues[index].values())

    def idle(self, index: int, stream: int) -> bool:
        """Return whether a stream has nothing left to do at the present host time."""
        self.notice(index)
        queue = self._queue(index, stream)
        return self.has_reached(costs.Span(queue.low, queue.tail, queue.high))

    def has_reached(self, moment: costs.Span) -> bool:
        """Return whether a moment has passed; a host that heard so knows it on all three clocks."""
        if moment.seconds > self.time:
            return False
        self.until(*moment)
        return True

    def mark(self, index: int, stream: int) -> costs.Span:
        """Return the time at which a stream will have done what is queued in it now: an event."""
        self.check(index)
        queue = self._queue(index, stream)
        return costs.Span(max(queue.low, self.low), max(queue.tail, self.time), max(queue.high, self.high))

    def reach(self, index: int, moment: costs.Span) -> None:
        """Let the host wait for a moment that `mark` returned of a card, and pay for the synchronization."""
        before = self.time
        self.until(*moment)
        self.spend(costs.SYNCHRONIZE)
        self._tell(before, "")
        self.notice(index)

    def worked(self) -> float:
        """Return the seconds of work that all cards were given so far."""
        return self.given

    def hold(self, index: int, stream: int, moment: costs.Span) -> None:
        """Let the later work of a stream start no earlier than `moment`."""
        self.check(index)
        queue = self._queue(index, stream)
        queue.low, queue.tail, queue.high = (
            max(queue.low, moment[0]),
            max(queue.tail, moment[1]),
            max(queue.high, moment[2]),
        )

    def current_stream(self, index: int) -> int:
        """Return the number of a card's current stream."""
        return self._here.streams[index]

    def set_stream(self, index: int, stream: int) -> None:
        """Let later work of a card go to another stream."""
        self._here.streams[index] = stream
        self._here.queues[index] = self._queue(index, stream)
        self._history.note(self.streams)

    @property
    def streams(self) -> Streams:
        """The current stream of every card."""
        return tuple(self._here.streams)

    @property
    def has_history(self) -> bool:
        """Say whether this thread has ever changed a stream."""
        return bool(self._history.numbers)

    def streams_at(self, number: int) -> Streams:
        """Return the streams that were current as autograd made the node with a number."""
        at = bisect_right(self._history.numbers, number)
        return self._history.streams[at - 1] if at else (DEFAULT_STREAM,) * len(self._here.streams)

    def use(self, streams: Streams) -> None:
        """Let later work go to these streams, as autograd's engine does for a node."""
        self._here.streams = list(streams)
        self._here.queues = [self._queue(index, stream) for index, stream in enumerate(streams)]

    def marks(self, streams: Streams) -> list[costs.Span]:
        """Return when each of these streams will have done what is queued in it now."""
        return [self.mark(index, stream) for index, stream in enumerate(streams)]

    def hold_all(self, streams: Streams, moments: Sequence[costs.Span]) -> None:
        """Let the later work of each of these streams start no earlier than its moment."""
        for index, (stream, moment) in enumerate(zip(streams, moments, strict=True)):
            self.hold(index, stream, moment)

    def queue(self, index: int) -> Queue:
        """Return the queue of a card's current stream."""
        return self._here.queues[index]

    def _queue(self, index: int, stream: int) -> Queue:
        queues = self._queues[index]
        return queues[stream] if stream in queues else queues.setdefault(stream, Queue())

    def until(self, low: float, seconds: float, high: float) -> None:
        """Let the host wait, without paying for a synchronization."""
        self.low, self.time, self.high = max(self.low, low), max(self.time, seconds), max(self.high, high)
