"""A trace on a real CUDA GPU: torch.profiler alone, read after the block has ended.

The tree of events comes from the profiler's `experimental_event_tree`, which torch.profiler's own memory view reads
too: operators with the devices of their inputs, Python calls with the line that called, and CUDA runtime calls; the
card's kernels and copies are joined to them by their correlation number. What reads them is tested on trees that the
profiler recorded on a CPU and on hand-written CUDA trees; it has not run on a real card yet.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.optim import optimizer as torch_optimizer

from devicelab import devices

from .nodes import Node, Work
from .recorder import BACKWARD
from .steps import Steps
from .tree import judge_tree

MOST_STEPS = 25  # the profiler keeps every event, about 1 KB each: it watches so many steps and then stops
_NS = 1e-9


class Profiled:
    """Runs torch.profiler over a block, for at most MOST_STEPS optimizer steps."""

    def __init__(self, on_step: Any = None, activities: Any = None):
        kinds = torch.profiler.ProfilerActivity
        self._profiler = torch.profiler.profile(
            activities=activities or [kinds.CPU, kinds.CUDA], record_shapes=True, with_stack=True
        )
        self._on_step = on_step
        self.present = devices.present()
        self.steps = Steps()
        self._running = False

    def __enter__(self) -> "Profiled":
        self._handle = torch_optimizer.register_optimizer_step_post_hook(self._step_ends)
        self.began = self._last = devices.clock()
        self._profiler.__enter__()
        self._running = True
        return self

    def __exit__(self, *error: Any) -> None:
        self._stop()
        self._handle.remove()

    def _stop(self) -> None:
        if self._running:
            self._running = False
            self._profiler.__exit__(None, None, None)
            self._last = devices.clock()

    def _step_ends(self, optimizer: Any, *_: Any) -> None:
        if self._running:
            self.steps.add(optimizer)
            if self.steps.count >= MOST_STEPS:
                self._stop()
        if self._on_step is not None:
            self._on_step()

    def parts(self) -> dict[str, Any]:
        """Return the fields of a Trace."""
        judged = judge_tree(*read(self._profiler))
        watched = self.steps.count
        notes = []
        if any(operator.phase == BACKWARD and operator.line is None for operator in judged["operators"]):
            notes.append("backward ran in another thread, without your frames: its lines are not known")
        if watched >= MOST_STEPS:
            notes.append(f"only the first {watched} steps were watched; the profiler keeps every event")
        return {
            **judged,
            "steps": watched,
            "seconds": self._last - self.began,
            "origin": self.present.origin,
            "card": self.present.type,
            "name": self.present.name,
            "notes": tuple(notes),
        }


def read(profiler: Any) -> tuple[list[Node], list[Work]]:
    """Return the profiler's events as trees, and the card's work that no runtime call in them started."""
    results = profiler.profiler.kineto_results
    work: dict[int, list[Work]] = {}
    for event in results.events():
        is_note = getattr(event, "is_user_annotation", bool)()
        if event.device_type() == torch.autograd.DeviceType.CUDA and not is_note:
            done = Work(
                event.name(),
                event.device_index(),
                event.start_ns() * _NS,
                event.duration_ns() * _NS,
                event.nbytes(),
            )
            work.setdefault(event.correlation_id(), []).append(done)
    roots = [_converted(root, work) for root in results.experimental_event_tree()]
    return roots, [done for rest in work.values() for done in rest]


def _converted(root: Any, work: dict[int, list[Work]]) -> Node:
    top = _node(root, work)
    waiting = [(root, top)]
    while waiting:
        source, target = waiting.pop()
        for child in source.children:
            node = _node(child, work)
            target.add(node)
            waiting.append((child, node))
    return top


def _node(event: Any, work: dict[int, list[Work]]) -> Node:
    kind, fields = event.typed
    when = (event.name, event.start_time_ns * _NS, event.duration_time_ns * _NS)
    if kind.name == "TorchOp":
        return Node("op", *when, fields.sequence_number, tuple(_inputs(fields.inputs)), event.start_tid)
    if kind.name in ("PyCall", "PyCCall"):
        called = getattr(fields, "callsite", None)
        caller, function = _place(fields.caller), _place(called) if called else None
        return Node("python", *when, thread=event.start_tid, caller=caller, function=function)
    started = tuple(work.pop(event.correlation_id, ())) if kind.name == "Kineto" else ()
    return Node("runtime", *when, thread=event.start_tid, work=started)


def _place(frame: Any) -> tuple[str, int]:
    return frame.file_name, frame.line_number


def _inputs(values: Iterable[Any]) -> Iterator[tuple[str, int]]:
    for value in values:
        if isinstance(value, list):
            yield from _inputs(value)
        elif hasattr(value, "sizes") and hasattr(value, "device"):
            yield str(value.device), len(value.sizes)
