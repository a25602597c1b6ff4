"""What the host pays for each operator, and the least that a kernel or a copy takes."""

from typing import Any, NamedTuple

from devicelab.operators import NOTHING, flops, kind_of, traffic


class Span(NamedTuple):
    """Seconds: low, the best guess, high."""

    low: float
    seconds: float
    high: float


def _us(low: float, seconds: float, high: float) -> Span:
    return Span(low * 1e-6, seconds * 1e-6, high * 1e-6)


# What a nominal host pays; `here` measures this machine's. A small training step spends 3 to 9 us on every operator that
# is dispatched, whatever its device: Python, modules, autograd, the optimizer (benchmarks/bench_host_overhead.py). A launch
# comes on top: an eager operator on a full queue costs 8 us on an A100's host where it costs 2 us on a CPU. With a
# synchronization after each it is 17 us, and `.item()` 6 to 12 us on an idle queue.
DISPATCH = _us(1.5, 5, 9)
LAUNCH = _us(3.5, 6, 11)
SYNCHRONIZE = _us(2, 4, 8)
CONTEXT = Span(0.1, 0.3, 3.0)  # creating the CUDA context: from tenths of a second to seconds

# What the card pays.
KERNEL = _us(1.5, 2.5, 5)
COPY = _us(4, 8, 16)

# What a nominal host's CPU reaches: the work of operators on the CPU is not measured.
HOST_BANDWIDTH, HOST_FLOPS, HOST_SPREAD = 10e9, 50e9, 2.0


def host_seconds(func: Any, args: tuple, kwargs: dict[str, Any], out: Any, dispatch: Span = DISPATCH) -> Span:
    """Return what an operator costs on the host, which waits for it: its dispatch, and its work on a nominal CPU."""
    kind = kind_of(func)
    if kind.rule == NOTHING:
        return dispatch
    work = max(
        traffic(kind.rule, args, out) / HOST_BANDWIDTH, flops(kind, func, args, kwargs, out) / HOST_FLOPS
    )
    return Span(
        dispatch.low + work / HOST_SPREAD, dispatch.seconds + work, dispatch.high + work * HOST_SPREAD
    )
