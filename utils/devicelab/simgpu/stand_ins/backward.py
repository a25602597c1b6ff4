"""Streams of a backward pass: each node runs in the stream that was current when it was made (torch/csrc/autograd/engine.cpp).

A node has its number among those of its thread, and the clock knows from which number on which streams were current. A node
waits for those whose gradients it takes, and what comes after the pass waits for all of them.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from devicelab.simgpu.machine import groups, state
from devicelab.simgpu.machine.clock import Clock
from devicelab.simgpu.machine.machine import Machine

from . import distributed

LEAF = 2**64 - 1  # the number of every node that accumulates gradients
Graph = dict[Any, list[Any]]


def graph_of(roots: Iterable[Any]) -> Graph:
    """Return the nodes of a graph, each with those whose gradients it takes."""
    found: Graph = {root: [] for root in roots}
    todo = list(found)
    while todo:
        node = todo.pop()
        for following, _ in node.next_functions:
            if following is None:
                continue
            if following not in found:
                found[following] = []
                todo.append(following)
            found[following].append(node)
    return found


def number(node: Any, before: list[Any]) -> int:
    """Return a node's number; a leaf's node is made with the first that uses it."""
    own = node._sequence_nr()
    return own if own != LEAF else min((one._sequence_nr() for one in before), default=LEAF)


@contextmanager
def in_streams(clock: Clock, graph: Graph) -> Iterator[None]:
    """Run a backward pass, each node in its streams."""
    outside = clock.streams
    streams = {node: clock.streams_at(number(node, before)) for node, before in graph.items()}
    if all(own == outside for own in streams.values()):
        yield
        return
    ends = {None: clock.marks(outside)}

    def enter(node: Any, gradients: Any) -> None:
        for one in graph[node] or (None,):
            clock.hold_all(streams[node], ends.get(one, ends[None]))
        clock.use(streams[node])

    def leave(node: Any, inputs: Any, outputs: Any) -> None:
        ends[node] = clock.marks(streams[node])
        clock.use(outside)

    handles = [node.register_prehook(functools.partial(enter, node)) for node in graph]
    handles += [node.register_hook(functools.partial(leave, node)) for node in graph]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        clock.use(outside)
        for end in ends.values():
            clock.hold_all(outside, end)


def running(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stand-in for the function below which every backward pass runs."""

    @functools.wraps(original)
    def run(outputs: Any, *args: Any, **kwargs: Any) -> Any:
        if not groups.known:
            return in_its_streams(outputs, *args, **kwargs)
        with distributed.in_nccls_words():
            out = in_its_streams(outputs, *args, **kwargs)
        groups.settle()  # DistributedDataParallel has waited for the other ranks in C++
        return out

    def in_its_streams(outputs: Any, *args: Any, **kwargs: Any) -> Any:
        if state.current is None or not state.current.clock.has_history:
            return original(outputs, *args, **kwargs)
        roots = [
            getattr(item, "node", None) or item.grad_fn for item in outputs
        ]  # a GradientEdge, or a tensor
        with in_streams(state.current.clock, graph_of(root for root in roots if root is not None)):
            return original(outputs, *args, **kwargs)

    return run


def install(machine: Machine) -> None:
    """Stand before autograd's engine."""
    machine.patches.everywhere("torch.autograd.graph._engine_run_backward", running)
