"""What an operator costs on a card: launches for the host, seconds for the device, each with low and high.

The device's time is a roofline: a floor for every kernel, then arithmetic or memory traffic, whichever is
slower, at the fraction of the datasheet that PyTorch was seen to reach. FLOPs come from torch's own registry
of formulas, bytes from the sizes of what goes in and out. It runs nothing and reads no values. All of it is
an estimate; docs/sources.md says where each constant comes from.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, float32

from .gpus import Card
from .operators import KINDS, MATMUL, NOTHING, RNN, flops, kind_of, learn, nbytes, traffic


class Span(NamedTuple):
    """Seconds: low, the best guess, high."""

    low: float
    seconds: float
    high: float


def _us(low: float, seconds: float, high: float) -> Span:
    return Span(low * 1e-6, seconds * 1e-6, high * 1e-6)


# What the host pays. A small training step spends 3 to 9 us on every operator that is dispatched, whatever
# its device: Python, modules, autograd, the optimizer (benchmarks/bench_host_overhead.py). A launch comes on
# top: an eager operator on a full queue costs 8 us on an A100's host where it costs 2 us on a CPU. With a
# synchronization after each it is 17 us, and `.item()` 6 to 12 us on an idle queue.
DISPATCH = _us(1.5, 5, 9)
LAUNCH = _us(3.5, 6, 11)
SYNCHRONIZE = _us(2, 4, 8)
CONTEXT = Span(0.1, 0.3, 3.0)  # creating the CUDA context: from tenths of a second to seconds

# What the card pays.
KERNEL = _us(1.5, 2.5, 5)
COPY = _us(4, 8, 16)

# Fractions of the datasheet where nobody measured the card, and how far low and high lie from the guess
# (factors).
UNKNOWN_FP32, UNKNOWN_MEMORY, UNKNOWN_LINK = 0.65, 0.80, 15.8e9
COMPUTE_SPREAD, MEMORY_SPREAD, UNKNOWN_SPREAD = 1.35, 1.2, 1.8
PINNED = 0.80  # of the link, 24.7 of 31.5 GB/s on an RTX 4090
PAGEABLE_UP = (
    PINNED * 0.4
)  # pinning first and copying then can take twice as long as a pageable copy to the card
PAGEABLE_DOWN = PINNED * 1.4 / 12.6  # to the host: 1.4 GB/s where pinned memory gave 12.6, on an A100
PAGEABLE_SPREAD, PINNED_SPREAD = 2.5, 1.25
DOUBLE = 1 / 64  # of fp32, where the card has no figure for fp64
EMULATED_BF16 = 0.6  # of fp32, on a card without bf16: 2.25 of 4 TFLOP/s on a T4, 9.4 of 13 on a V100

# A nominal host for operators on the CPU, so that simulated time depends on no machine.
HOST_BANDWIDTH, HOST_FLOPS, HOST_SPREAD = 10e9, 50e9, 2.0


class Cost(NamedTuple):
    """What one operator costs on a card.

    `work` is the device's seconds beyond the floor of each kernel, `spread` the factor by which low and high
    lie away from it.
    """

    kernels: int
    flops: float
    bytes: int
    work: float
    spread: float

    @property
    def device(self) -> Span:
        """Return the device's seconds."""
        return kernel_span(self.kernels, self.work, self.spread)


def kernel_span(kernels: int, work: float, spread: float) -> Span:
    """Return the device's seconds for some kernels that together do `work`."""
    low, seconds, high = KERNEL
    return Span(kernels * low + work / spread, kernels * seconds + work, kernels * high + work * spread)


_FREE = Cost(0, 0.0, 0, 0.0, 1.0)


_WEIGH = {
    Tensor: 1,
    torch.nn.Parameter: 1,
    int: 0,
    float: 0,
    bool: 0,
    type(None): 0,
}  # 2, others: look closer


class CardCosts:
    """The costs on one card; what does not change is worked out once, since the clock asks at every operator."""

    def __init__(self, card: Card):
        self.card = card
        self.compute_spread = UNKNOWN_SPREAD if card.reached_fp32 is None else COMPUTE_SPREAD
        self.memory_spread = UNKNOWN_SPREAD if card.reached_memory is None else MEMORY_SPREAD
        self.per_byte = 1 / (card.bandwidth * (card.reached_memory or UNKNOWN_MEMORY))
        self.link = card.link or UNKNOWN_LINK
        reached = card.reached_fp32 or UNKNOWN_FP32
        half = card.reached_half or reached
        single = card.fp32 * reached
        self._per_flop = {
            torch.float32: 1 / single,
            torch.float64: 1 / (card.fp64 * reached if card.fp64 else single * DOUBLE),
            torch.float16: 1 / (card.fp16 * half if card.fp16 else single),
            torch.bfloat16: 1 / (card.bf16 * half if card.bf16 else single * EMULATED_BF16),
        }
        self._per_flop_tf32 = 1 / (card.tf32 * half) if card.tf32 else None

    def per_flop(self, dtype: torch.dtype, rule: int) -> float:
        """Return the seconds per FLOP of a large product in `dtype`; in float32 the flags decide about TF32."""
        if dtype is float32 and self._per_flop_tf32 is not None and uses_tf32(rule):
            return self._per_flop_tf32
        return self._per_flop.get(dtype) or self._per_flop[float32]

    def work(self, func: Any, args: tuple, out: Any) -> tuple[int, float, float]:
        """Return (kernels, seconds of work beyond the kernels' floors, spread) of one operator, as `operator` does.

        The clock asks this at every operator, so the loop over the arguments is written out here.
        """
        known = KINDS.get(id(func)) or learn(func)
        kind = known[1]
        if kind[0] == NOTHING:
            return 0, 0.0, 1.0
        if kind[0] > MATMUL:
            cost = self.operator(func, args, {}, out)
            return cost.kernels, cost.work, cost.spread
        try:
            total = out.nbytes if out.__class__ is Tensor else nbytes(out)
            for value in args:
                weigh = _WEIGH.get(value.__class__, 2)
                if weigh:
                    total += value.nbytes if weigh == 1 else nbytes(value)
        except (RuntimeError, TypeError):  # a sparse tensor has no nbytes
            total = nbytes(args) + nbytes(out)
        work = total * self.per_byte
        if kind[0] == MATMUL:
            compute = 2.0 * out.numel() * args[kind[2]].shape[-1] * self.per_flop(out.dtype, MATMUL)
            if compute > work:
                return kind[1], compute * kind[3], self.compute_spread
        return kind[1], work * kind[3], self.memory_spread

    def operator(self, func: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> Cost:
        """Return what one operator costs, from the shapes and dtypes of its arguments and results."""
        kind = kind_of(func)
        if kind.rule == NOTHING:
            return _FREE
        count, moved = flops(kind, func, args, kwargs, out), traffic(kind.rule, args, out)
        work, spread, kernels = moved * self.per_byte, self.memory_spread, kind.kernels
        if count:
            compute = count * self.per_flop(dtype_of(args), kind.rule)
            if compute > work:
                work, spread = compute, self.compute_spread
            if kind.rule == RNN:
                kernels = args[0].shape[0]
        return Cost(kernels, count, moved, work * kind.effort, spread)

    def copy(self, bytes: int, pinned: bool, to_host: bool = False) -> Span:
        """Return the seconds of one copy over the link between host and card."""
        pageable = PAGEABLE_DOWN if to_host else PAGEABLE_UP
        work = bytes / (self.link * (PINNED if pinned else pageable))
        spread = PINNED_SPREAD if pinned else PAGEABLE_SPREAD
        return Span(COPY.low + work / spread, COPY.seconds + work, COPY.high + work * spread)


def dtype_of(args: tuple) -> torch.dtype:
    """Return the dtype of the first tensor among the arguments."""
    return next((value.dtype for value in args if isinstance(value, Tensor)), torch.float32)


def uses_tf32(rule: int) -> bool:
    """Return whether torch's flags let a float32 product use TF32: convolutions may by default, matrix products may not."""
    getter = getattr(torch._C, "_get_fp32_precision_getter", None)
    if getter is not None:  # torch 2.9 and later, where the older flags raise once the newer ones were used
        return getter("cuda", "matmul" if rule == MATMUL else "conv") == "tf32"
    return torch.backends.cuda.matmul.allow_tf32 if rule == MATMUL else torch.backends.cudnn.allow_tf32


def host_seconds(func: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> Span:
    """Return what an operator costs on the nominal host, which waits for it."""
    kind = kind_of(func)
    if kind.rule == NOTHING:
        return DISPATCH
    work = max(
        traffic(kind.rule, args, out) / HOST_BANDWIDTH, flops(kind, func, args, kwargs, out) / HOST_FLOPS
    )
    return Span(
        DISPATCH.low + work / HOST_SPREAD, DISPATCH.seconds + work, DISPATCH.high + work * HOST_SPREAD
    )
