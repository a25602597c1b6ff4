"""Which operator ran on which device, what was copied, and what made the CPU wait.

On the CPU, on a simulated GPU and on Apple's a dispatch mode sees every operator of this thread. On a real CUDA GPU
torch.profiler alone is used: a Python mode would slow small steps so much that its verdict on times were false.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

import torch

from devicelab import devices
from devicelab.errors import InputError
from devicelab.source import Line

from .result import Copy, Event, Hazard, Operator, Phase, Synchronization
from .shown import Trace
from .timeline import timelines

__all__ = [
    "Copy",
    "Event",
    "Hazard",
    "Line",
    "Operator",
    "Phase",
    "Synchronization",
    "Trace",
    "timelines",
    "trace",
]


class trace:  # lower case: it reads as a function
    """Note what runs on which device inside a `with` block: `with lab.trace() as t: ...`, then look at `t`.

    Operators of this thread are seen, and of a simulated card the copies and waits of all threads. `on_step` is called
    after each step of an optimizer. `early` is for whole scripts: CUDA is left alone until the block initializes it.
    """

    def __init__(self, *, on_step: Callable[[], object] | None = None, early: bool = False) -> None:
        self._on_step, self._early = on_step, early
        self._result: Trace | None = None
        self._source: Any = None

    def __enter__(self) -> Trace:
        if self._result is not None:
            raise InputError("This trace has run already. Make another: `with lab.trace() as t:`.")
        self._result = object.__new__(Trace)  # filled when the block ends, frozen from then on
        self._source = _source(self._on_step, self._early)
        self._source.__enter__()
        return self._result

    def on_thread(self) -> AbstractContextManager[object]:
        """Watch the present thread as well, while a block runs; the profiler of a real GPU cannot, and does not."""
        return getattr(self._source, "on_thread", nullcontext)()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._source is not None:  # a second call does nothing
            self._source.__exit__(kind, error, tb)
            Trace.__init__(self._result, **self._source.parts())  # type: ignore[arg-type]
            self._source = None


def _source(on_step: Callable[[], object] | None, early: bool) -> Any:
    if early and torch.backends.cuda.is_built() and devices.simulated() is None:
        from .before_cuda import BeforeCuda

        return BeforeCuda(on_step)
    present = devices.present()
    if present.type == "cuda" and present.origin == "measured":
        from .profiled import Profiled

        return Profiled(on_step)
    from .build import Watch

    return Watch(on_step)
