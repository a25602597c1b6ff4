"""Several processes, a simulated card each: NCCL's groups, whose collectives carry real values over gloo underneath.

Each process has its own simulation. A tensor's values lie in the host's memory, which gloo sends; where the tensor is stays
marked. What NCCL refuses is refused in its words (rules/collectives.py).
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from devicelab.errors import SimulationError
from devicelab.simgpu.machine import groups, state
from devicelab.simgpu.machine.machine import Machine, SimCard
from devicelab.simgpu.marks.marks import card_of, put
from devicelab.simgpu.rules import collectives as rules

from . import coalescing, later
from .threads import simulated_thread

C10D = "torch.distributed.distributed_c10d"
TIMEOUT = timedelta(minutes=10)  # of NCCL's groups: torch/distributed/constants.py
SEVERAL = "DistributedDataParallel over a model that lies on several simulated cards is not simulated: use one card a process."
MIXED = (
    "DistributedDataParallel(mixed_precision=...) is not simulated: its C++ would give wrong gradients here. Use torch.autocast "
    "around the forward pass, which is simulated."
)
CUDA = "12.8"  # for which PyTorch 2.9's wheels on PyPI are built
REDUCING = ("allreduce", "allreduce_coalesced", "reduce", "reduce_scatter", "_reduce_scatter_base",
            "reduce_scatter_tensor_coalesced", "reduce_scatter_single", "reduce_scatter_single_coalesced")  # fmt: skip
EMPTY = torch.ops.aten.empty.memory_format


def install(machine: Machine) -> None:
    """Let NCCL be there."""
    if not torch.distributed.is_available():
        return
    patches = machine.patches
    if not torch.distributed.is_gloo_available():
        patches.replace(f"{C10D}._NCCL_AVAILABLE", False)  # what a CUDA build has would reach for a real card
        return
    for name in names():
        patches.answer(f"{C10D}.{name}", backend())
    patches.wrap("torch._C._distributed_c10d.Backend.supports_splitting", whole)
    patches.answer("torch.distributed.ProcessGroupNCCL", backend())
    patches.replace(f"{C10D}._NCCL_AVAILABLE", True)
    patches.replace(f"{C10D}.default_pg_nccl_timeout", TIMEOUT)
    patches.wrap(f"{C10D}._new_process_group_helper", grouping)
    patches.wrap("torch.distributed.ProcessGroup._device_types", kinds)
    patches.replace("torch.distributed.Reducer", reducer())
    patches.everywhere(f"{C10D}.split_group", splitting)
    patches.everywhere(f"{C10D}.destroy_process_group", destroying)
    patches.wrap("torch.distributed.Work.wait", waiting)
    patches.wrap("torch.Tensor.record_stream", recording)
    patches.wrap("torch.nn.parallel.DistributedDataParallel._check_comm_hook", of_cuda)
    for name in REDUCING:
        patches.wrap(f"torch.distributed.ProcessGroup.{name}", asking)
    patches.wrap("torch.distributed.ProcessGroup._start_coalescing", coalescing.start)
    patches.wrap("torch.distributed.ProcessGroup._end_coalescing", coalescing.end)
    for name in ("then", "add_done_callback"):
        patches.wrap(f"torch._C.Future.{name}", following)
    patches.wrap("torch.distributed._verify_params_across_processes", comparing)
    patches.wrap("torch.distributed._broadcast_coalesced", handing_out)


def names() -> list[str]:
    """Return the classes of NCCL's groups: from PyTorch 2.15 on "nccl" means the second of them."""
    has_second = hasattr(torch.distributed.distributed_c10d, "_create_nccl2_process_group")  # from 2.14 on
    return ["ProcessGroupNCCL", *(["ProcessGroupNCCL2", "ProcessGroupNCCLLazy"] if has_second else [])]


def whole(_original: Any) -> property:
    """Return the property by which torch makes every group anew: gloo's cannot be split as NCCL's can."""
    return property(lambda _group: False)


class NCCLConfig(SimpleNamespace):
    """What a program may ask of NCCL's library (ncclConfig_t); a simulated link heeds none of it."""


@functools.cache
def backend() -> type:
    """Return the class that answers as ProcessGroupNCCL."""

    class ProcessGroupNCCL(torch.distributed.ProcessGroupGloo):  # type: ignore[name-defined,misc]
        """NCCL's group, whose bytes gloo carries."""

        supports_coalescing = True

        class Options:
            """What a program may ask of NCCL; nothing of it changes a value."""

            def __init__(self, is_high_priority_stream: bool = False) -> None:
                self.is_high_priority_stream = is_high_priority_stream
                self._timeout = TIMEOUT
                self.config = NCCLConfig()

        def __init__(
            self, store: Any, rank: int, size: int, options: Any = None, _device: torch.device | None = None
        ) -> None:
            super().__init__(store, rank, size, timeout=getattr(options, "_timeout", TIMEOUT))
            name = getattr(options, "group_name", "")
            groups.known[name] = groups.Group(name, store, rank, size, self)

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
                known, bound = groups.known[name], group.bound_device_id
                known.only, known.bound = kinds == {"cuda"}, bound.index if bound else None
            if kinds == {"cuda"}:
                nccl = group._get_backend(torch.device("cuda"))
                group._register_backend(
                    torch.device("cpu"), torch.distributed.ProcessGroup.BackendType.NCCL, nccl
                )
        return made

    return _new_process_group_helper


def splitting(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what splits a group: NCCL splits its connections, here each part is a group of its own."""

    @functools.wraps(original)
    def split_group(
        parent_pg: Any = None, split_ranks: Any = None, timeout: Any = None, pg_options: Any = None,
        group_desc: str | None = None, **rest: Any,
    ) -> Any:  # fmt: skip
        world: Any = torch.distributed.group.WORLD
        parent: Any = parent_pg or world
        is_ours = parent is not None and parent.group_name in groups.known
        if not (split_ranks and is_ours and world.bound_device_id):
            return original(parent_pg, split_ranks, timeout, pg_options, group_desc, **rest)
        mine = next((ranks for ranks in split_ranks if parent.rank() in ranks), None)
        if mine is None:
            return None
        numbers = [torch.distributed.get_global_rank(parent, rank) for rank in mine]
        return torch.distributed.new_group(
            numbers, timeout, pg_options=pg_options, group_desc=group_desc, use_local_synchronization=True
        )

    return split_group


def destroying(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what ends groups: what is known of them ends as well."""

    @functools.wraps(original)
    def destroy_process_group(*args: Any, **kwargs: Any) -> Any:
        groups.settle()
        try:
            return original(*args, **kwargs)
        finally:
            groups.keep(set(torch.distributed.distributed_c10d._world.pg_names.values()))

    return destroy_process_group


@contextmanager
def in_nccls_words() -> Iterator[None]:
    """Have NCCL tell of what gloo raises: that it waited too long, or lost another process."""
    try:
        yield
    except RuntimeError as error:
        told = rules.told(error, *groups.latest) if groups.known else error
        if told is error:
            raise
        raise told from None


def waiting(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what waits for work: it began when the last rank came, by its simulated clock."""

    @functools.wraps(original)
    def wait(*args: Any, **kwargs: Any) -> Any:
        with in_nccls_words():
            done = original(*args, **kwargs)
        groups.settle()
        while groups.barriers and state.current is not None:
            state.current.clock.wait(groups.barriers.pop(), why="barrier")
        return done

    return wait


def asking(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what has a group reduce: in which way, only C++ can read of what comes to the dispatcher before PyTorch 2.15."""

    @functools.wraps(original)
    def reduce(*args: Any, **kwargs: Any) -> Any:
        values = [getattr(value, "reduceOp", value) for value in (*args, *kwargs.values())]
        kinds = torch.distributed.ReduceOp, torch.distributed.ReduceOp.RedOpType
        way = next((value for value in values if isinstance(value, kinds)), torch.distributed.ReduceOp.SUM)
        before = groups.asked.set(torch.distributed.ReduceOp(way) if isinstance(way, kinds[1]) else way)
        try:
            return original(*args, **kwargs)
        finally:
            groups.asked.reset(before)

    return reduce


def recording(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return Tensor.record_stream, which changes nothing here; FullyShardedDataParallel calls it where no mode hears of it."""

    @functools.wraps(original)
    def record_stream(tensor: Any, stream: Any) -> None:
        if card_of(tensor) is None:
            original(tensor, stream)

    return record_stream


def of_cuda(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what looks whether a hook fits: it asks whether PyTorch was built for CUDA, and here a build for it is played."""

    @functools.wraps(original)
    def _check_comm_hook(*args: Any, **kwargs: Any) -> Any:
        before = torch.version.cuda
        torch.version.cuda = before or CUDA
        try:
            return original(*args, **kwargs)
        finally:
            torch.version.cuda = before

    return _check_comm_hook


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
            with in_nccls_words():
                return original(*args, **kwargs)
        finally:
            groups.inside.reset(before)

    return _verify_params_across_processes


def handing_out(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what hands rank 0's parameters and buffers to the others, in C++, which waits for them."""

    @functools.wraps(original)
    def _broadcast_coalesced(*args: Any, **kwargs: Any) -> Any:
        with in_nccls_words():
            return original(*args, **kwargs)

    return _broadcast_coalesced


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

        def _set_static_graph(self) -> Any:
            return self._on_card(super()._set_static_graph)

        def _rebuild_buckets(self) -> Any:
            return self._on_card(super()._rebuild_buckets)

        def _on_card(self, make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if self.card is None:
                return make(*args, **kwargs)
            with Buckets(self.card):
                return make(*args, **kwargs)

    return Reducer
