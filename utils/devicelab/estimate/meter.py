"""The simulated clock with an account: what each stretch of time went on, in which phase, and how much work it was."""

from collections.abc import Sequence
from typing import Any

import torch

from devicelab import costs
from devicelab.gpus import Card
from devicelab.simgpu.machine.clock import Clock
from devicelab.trace.recorder import computes

FORWARD, BACKWARD, OPTIMIZER = "forward", "backward", "optimizer"
LAUNCH, COMPUTE, MEMORY, TRANSFER, HOST = "launch", "compute", "memory", "transfer", "host"
_task = torch._C._current_graph_task_id  # -1 outside of a backward pass
_grad = torch.is_grad_enabled


class Meter(Clock):
    """A clock whose every advance is booked on a part and on a phase, so that the parts add up to the whole.

    The end of all work so far moves on with an operator by its own arithmetic or memory traffic, which is booked as such,
    and by what the card waited for the host and the floor of its kernels, which is booked as launching.
    """

    def __init__(self, cards: Sequence[Card]):
        super().__init__(cards)
        self.stepping = False  # inside of an optimizer's step
        self._counts: dict[int, tuple[Any, bool]] = {}  # by id; holding the operator keeps its id
        self.restart()

    def settle(self) -> None:
        """Keep the host that was asked for: most estimates speak of a card in another computer."""
        self.is_settled = True

    def restart(self) -> None:
        """Begin a new account at the present time."""
        self.start = costs.Span(self.low, self.time, self.high)
        self._end = self.time
        self.parts = dict.fromkeys((LAUNCH, COMPUTE, MEMORY, TRANSFER, HOST), 0.0)
        self.phases = dict.fromkeys((FORWARD, BACKWARD, OPTIMIZER), 0.0)
        self.flops, self.bytes, self.copied = 0.0, 0, 0
        self.operators = self.on_card = self.waits = 0
        self.waited, self.given_before = (
            0.0,
            self.given,
        )  # seconds: of the host, and of work that was given before

    @property
    def spent(self) -> costs.Span:
        """Return the seconds since the account began."""
        return costs.Span(
            *(now - then for now, then in zip((self.low, self.time, self.high), self.start, strict=True))
        )

    @property
    def phase(self) -> str:
        """Return the phase that is being run; what is neither backward nor optimizer counts as forward."""
        if _task() != -1:
            return BACKWARD
        return OPTIMIZER if self.stepping and not _grad() else FORWARD

    def kernel(self, index: int, func: Any, args: tuple, out: Any) -> None:
        """Launch an operator and book it."""
        cost = self.costs[index].operator(func, args, {}, out)
        super().kernel(index, func, args, out)
        self.flops += cost.flops
        self.bytes += cost.bytes
        self._count(func)
        self.on_card += 1
        bound = COMPUTE if cost.flops and cost.arithmetic > cost.memory else MEMORY
        self._book(bound, cost.work, self._here.queues[index].tail)

    def host(self, func: Any, args: tuple, out: Any) -> None:
        """Run an operator on the nominal host and book it."""
        super().host(func, args, out)
        self._count(func)
        self._book(
            HOST, costs.host_seconds(func, args, {}, out, self.dispatch).seconds - self.dispatch.seconds
        )

    def copy(
        self,
        source: torch.device,
        target: torch.device,
        nbytes: int,
        pinned: bool = False,
        non_blocking: bool = False,
        buffer: Any = None,
    ) -> None:
        """Copy between host and card, and count it."""
        self.copied += nbytes
        super().copy(source, target, nbytes, pinned, non_blocking, buffer)

    def _worked(self, index: int, kind: str, seconds: float) -> None:
        """Book a copy before the host waits for its end."""
        super()._worked(index, kind, seconds)
        if kind == "copy":
            self._book(TRANSFER, seconds, self._here.queues[index].tail)

    def wait(self, index: int, stream: int | None = None, why: str = "") -> None:
        """Let the host wait for the card, and count it."""
        super().wait(index, stream, why)
        self.waits += 1
        self._book(LAUNCH, 0.0)

    def until(self, low: float, seconds: float, high: float) -> None:
        """Let the host wait, and count how long."""
        self.waited += max(0.0, seconds - self.time)
        super().until(low, seconds, high)

    def context(self, index: int) -> None:
        """Leave the CUDA context out: it is made once in a program's life."""

    def finish(self) -> None:
        """Let the host wait until all cards are idle, as a stopwatch does at the end."""
        for index in range(len(self.costs)):
            super().wait(index)
        self._book(LAUNCH, 0.0)

    def _count(self, func: Any) -> None:
        known = self._counts.get(id(func))
        if known is None:
            known = self._counts[id(func)] = (func, computes(func))
        self.operators += known[1]

    def _book(self, part: str, work: float, tail: float = 0.0) -> None:
        end = max(self.time, tail)
        gained = end - self._end
        if gained <= 0:
            return
        self._end = end
        own = min(work, gained)
        self.parts[part] += own
        self.parts[LAUNCH] += gained - own
        self.phases[self.phase] += gained
