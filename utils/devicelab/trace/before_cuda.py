"""A trace that begins before CUDA does, for whole scripts: it leaves CUDA alone until the script itself touches it.

Asking for the GPU's name, or starting the profiler, would initialize CUDA: too early for a script that sets
CUDA_VISIBLE_DEVICES, or that forks before it uses the card. So a dispatch mode watches until CUDA is initialized, and
torch.profiler from then on.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

from devicelab import devices

from .build import Watch
from .profiled import Profiled

_JOINED = ("operators", "copies", "synchronizations", "steps", "seconds", "notes")


class BeforeCuda:
    """Watches with a dispatch mode, and with a Profiled from the moment at which the script initializes CUDA."""

    def __init__(self, on_step: Callable[[], object] | None = None, profiled: Callable[[], Any] = Profiled):
        self._on_step, self._profiled = on_step, profiled
        self._recorder = Watch(self._step_ends, devices.CPU)
        self._profiler: Any = None
        self._is_wanted = self._is_over = False
        self._thread = threading.get_ident()

    def __enter__(self) -> "BeforeCuda":
        self._recorder.__enter__()
        torch.cuda._lazy_call(self._cuda_begins)  # called once CUDA is initialized, at once if it is already
        return self

    def __exit__(self, *error: Any) -> None:
        self._is_over = True
        if self._profiler is None:
            self._recorder.__exit__(*error)
        else:
            self._recorder.release()
            self._profiler.__exit__(*error)

    def on_thread(self) -> AbstractContextManager[None]:
        """Watch the present thread with the dispatch mode, to its end: the profiler is blind there."""
        return self._recorder.on_thread()

    def _cuda_begins(self) -> None:
        self._is_wanted = True
        if threading.get_ident() == self._thread:  # a loader's thread that pins memory may be the first
            self._switch()

    def _switch(self) -> None:
        if self._is_over or self._profiler is not None or devices.simulated() is not None:
            return
        if _get_current_dispatch_mode() is not self._recorder:
            return
        self._recorder.leave(None, None, None)
        self._steps_before = self._recorder.parts()["steps"]
        self._profiler = self._profiled()
        self._profiler.__enter__()

    def _step_ends(self) -> None:
        if self._is_wanted:
            self._switch()
        if self._on_step is not None:
            self._on_step()

    def parts(self) -> dict[str, Any]:
        """Return the fields of a Trace: of both watchers, where there were two."""
        before = self._recorder.parts()
        if self._profiler is not None:
            before["steps"] = self._steps_before  # of both, the profiler counts from there
        if self._profiler is None and self._recorder.simulated:
            return before  # a simulation began inside the block
        if self._profiler is None:
            present = devices.present()
            return {**before, "card": present.type, "name": present.name}
        after = self._profiler.parts()
        return {**after, "faults": before["faults"], **{name: before[name] + after[name] for name in _JOINED}}
