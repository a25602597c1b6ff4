"""Several collectives, or sends, as one: NCCL's group calls, which gloo lacks. Each is run, and the work of all waited for."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from devicelab.simgpu.machine import groups


def start(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what begins to put several into one."""

    @functools.wraps(original)
    def _start_coalescing(group: Any, device: Any) -> Any:
        known = groups.known.get(group.group_name)
        if known is None:
            return original(group, device)
        known.coalesced = []
        return None

    return _start_coalescing


def end(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what ends it, and has the work of all."""

    @functools.wraps(original)
    def _end_coalescing(group: Any, device: Any) -> Any:
        known = groups.known.get(group.group_name)
        if known is None or known.coalesced is None:
            return original(group, device)
        works, known.coalesced = known.coalesced, None
        return work()(works)

    return _end_coalescing


@functools.cache
def work() -> type:
    """Return the class of work that consists of others'."""

    class Works(torch.distributed.Work):  # type: ignore[name-defined,misc]
        """The work of several collectives."""

        def __init__(self, works: list[Any]) -> None:
            super().__init__()
            self._works = works

        def wait(self, *timeout: Any) -> bool:
            for one in self._works:
                one.wait(*timeout)
            return True

        def is_completed(self) -> bool:
            return all(one.is_completed() for one in self._works)

        def is_success(self) -> bool:
            return all(one.is_success() for one in self._works)

        def get_future(self) -> Any:
            return torch._C._collect_all([one.get_future() for one in self._works])

    return Works
