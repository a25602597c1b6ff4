"""Several processes, a simulated card each: NCCL's groups, whose collectives carry real values over gloo underneath.

Each process has its own simulation. A tensor's values lie in the host's memory, which gloo sends; where the tensor is stays
marked. What NCCL refuses is refused in its words (rules/collectives.py).
"""

import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from devicelab.errors import SimulationError
from devicelab.simgpu.machine import groups
from devicelab.simgpu.machine.machine import Machine, SimCard
from devicelab.simgpu.marks.marks import card_of, put

from . import later
from .threads import simulated_thread

C10D = "torch.distributed.distributed_c10d"
TIMEOUT = timedelta(minutes=10)  # of NCCL's groups: torch/distributed/constants.py
SEVERAL = "DistributedDataParallel over a model that lies on several simulated cards is not simulated: use one card a process."
MIXED = (
    "DistributedDataParallel(mixed_precision=...) is not simulated: its C++ would give wrong gradients here. Use torch.autocast "
    "around the forward pass, which is simulated."
)
EMPTY = torch.ops.aten.empty.memory_format


def install(machine: Machine) -> None:
    """Let NCCL be there."""
    if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
        return
    patches = machine.patches
    for name in names():
        patches.answer(f"{C10D}.{name}", backend())
    patches.wrap("torch._C._distributed_c10d.Backend.supports_splitting", whole)
    patches.replace(f"{C10D}._NCCL_AVAILABLE", True)
    patches.replace(f"{C10D}.default_pg_nccl_timeout", TIMEOUT)
    patches.wrap(f"{C10D}._new_process_group_helper", grouping)
    patches.wrap("torch.distributed.ProcessGroup._device_types", kinds)
    patches.replace("torch.distributed.Reducer", reducer())
    for name in ("then", "add_done_callback"):
        patches.wrap(f"torch._C.Future.{name}", following)
    patches.wrap("torch.distributed._verify_params_across_processes", comparing)


def names() -> list[str]:
    """Return the classes of NCCL's groups: from PyTorch 2.15 on "nccl" means the second of them."""
    later = hasattr(torch.distributed.distributed_c10d, "_create_nccl2_process_group")
    return ["ProcessGroupNCCL", *(["ProcessGroupNCCL2", "ProcessGroupNCCLLazy"] if later else [])]


def whole(_original: Any) -> property:
    """Return the property by which torch makes every group anew: gloo's cannot be split as NCCL's can."""
    return property(lambda _group: False)


@functools.cache
def backend() -> type:
    """Return the class that answers as ProcessGroupNCCL."""

    class ProcessGroupNCCL(torch.distributed.ProcessGroupGloo):  # type: ignore[name-defined,misc]
        """NCCL's group, whose bytes gloo carries."""

        class Options:
            """What a program may ask of NCCL; nothing of it changes a value."""

            def __init__(self, is_high_priority_stream: bool = False) -> None:
                self.is_high_priority_stream = is_high_priority_stream
                self._timeout = TIMEOUT
                self.config = type("NCCLConfig", (), {})()

        def __init__(
            self, store: Any, rank: int, size: int, options: Any = None, _device: torch.device | None = None
        ) -> None:
            super().__init__(store, rank, size, timeout=getattr(options, "_timeout", TIMEOUT))
            groups.known[getattr(options, "group_name", "")] = groups.Group(store, rank, size)

    return ProcessGroupNCCL


def grouping(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes a group, so that gloo is found where C++ looks: by a tensor's real device, the CPU."""

    named = inspect.signature(original)

    @functools.wraps(original)
    def _new_process_group_helper(*args: Any, **kwargs: Any) -> Any:
        later.load()  # gloo's threads may come to Python, and beside others it must not be loaded
        name = named.bind(*args, **kwargs).arguments["group_name"]
        groups.known.pop(name, None)  # what had this name has ended
        made = original(*args, **kwargs)
        group = made[0]
        if isinstance(group, torch.distributed.ProcessGroup):
            kinds = {device.type for device in group._device_types}
            if name in groups.known:
                groups.known[name].only = kinds == {"cuda"}
            if kinds == {"cuda"}:
                nccl = group._get_backend(torch.device("cuda"))
                group._register_backend(
                    torch.device("cpu"), torch.distributed.ProcessGroup.BackendType.NCCL, nccl
                )
        return made

    return _new_process_group_helper


def kinds(original: Any) -> property:
    """Return the property that lists the kinds of devices of a group: NCCL's alone has no CPU, whatever C++ finds."""

    def _device_types(group: Any) -> list[torch.device]:
        known = groups.known.get(group.group_name)
        hidden = "cpu" if known is not None and known.only else ""
        return [device for device in original.__get__(group) if device.type != hidden]

    return property(_device_types)


def following(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what has a function run once a future is there: by a thread of gloo's, which knows no simulation."""

    @functools.wraps(original)
    def follow(future: Any, callback: Callable[..., Any]) -> Any:
        def run(done: Any) -> Any:
            with simulated_thread():
                return callback(done)

        return original(future, run)

    return follow


def comparing(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what compares the shapes of all ranks' parameters, in C++."""

    @functools.wraps(original)
    def _verify_params_across_processes(*args: Any, **kwargs: Any) -> Any:
        before = groups.inside.set(True)
        try:
            return original(*args, **kwargs)
        finally:
            groups.inside.reset(before)

    return _verify_params_across_processes


class Buckets(TorchDispatchMode):
    """Has what the reducer makes in C++, to gather gradients in, lie on their card."""

    def __init__(self, card: SimCard) -> None:
        super().__init__()
        self.card = card

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is EMPTY:
            put(out, self.card)
        return out


@functools.cache
def reducer() -> type:
    """Return the class that gathers gradients for DistributedDataParallel."""

    class Reducer(torch._C._distributed_c10d.Reducer):  # type: ignore[name-defined,misc]
        """Gathers the gradients of parameters that lie on one card, or on the CPU."""

        def __init__(self, params: Any, *args: Any, **kwargs: Any) -> None:
            cards = {card_of(parameter) for parameter in params}
            if len(cards) > 1:
                raise SimulationError(SEVERAL)
            self.card = next(iter(cards), None)
            self._on_card(super().__init__, params, *args, **kwargs)

        def _set_mixed_precision_param_dtype(self, dtype: Any) -> Any:
            if self.card is not None:
                raise SimulationError(MIXED)
            return super()._set_mixed_precision_param_dtype(dtype)  # type: ignore[misc]

        def _rebuild_buckets(self) -> Any:
            return self._on_card(super()._rebuild_buckets)

        def _on_card(self, make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if self.card is None:
                return make(*args, **kwargs)
            with Buckets(self.card):
                return make(*args, **kwargs)

    return Reducer
