"""What an operator costs on a card: launches on the host, seconds on the device, each with low and high.

The device time is a roofline: a floor per kernel, then the slower of arithmetic and memory traffic at the fractions that PyTorch was
seen to reach. FLOPs come from torch's own registry, bytes from the operator's inputs and outputs. Sources: docs/sources.md.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from devicelab.gpus import Card

US = 1e-6


class Span(NamedTuple):
    """Seconds: low, the best guess, high."""

    low: float
    seconds: float
    high: float

    def __mul__(self, times):  # type: ignore[override]
        return Span(self.low * times, self.seconds * times, self.high * times)


# The host's side, assumed; an A100 host in public measurements needs about 8 us for one eager operator on a full queue.
LAUNCH = Span(4 * US, 8 * US, 16 * US)
NO_LAUNCH = Span(0.5 * US, 1.5 * US, 3 * US)  # views and allocations: dispatch only
SYNCHRONIZE = Span(3 * US, 6 * US, 12 * US)
READ_BACK = Span(6 * US, 8 * US, 12 * US)  # .item() on an idle queue
HOST_OPERATOR = Span(1 * US, 2 * US, 5 * US)
CONTEXT = Span(0.1, 0.3, 3.0)  # creating the CUDA context

# The device's side.
KERNEL_FLOOR = Span(1.5 * US, 2.5 * US, 5 * US)
COPY_FLOOR = Span(5 * US, 10 * US, 20 * US)
UNKNOWN_FP32, UNKNOWN_MEMORY = 0.65, 0.80  # fractions for a card nobody measured
COMPUTE_SPREAD, MEMORY_SPREAD, UNKNOWN_SPREAD = 1.3, 1.15, 1.6
PAGEABLE, PINNED = 1.4e9 / 12.6e9, 0.80  # fractions of the link; pageable over pinned as measured on an A100
HOST_BANDWIDTH, HOST_FLOPS = 10e9, 50e9  # a nominal host, so that simulated time depends on no machine

_FREE = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view", "set_", "resize_", "lift_fresh"}
_FREE |= {"detach", "alias", "_reshape_alias", "is_same_size", "record_stream", "lift", "resize_as_", "sym_size", "_pin_memory"}
_WRITES = {"zero_", "fill_", "normal_", "uniform_", "random_", "bernoulli_", "exponential_", "zeros_like", "ones_like", "full_like"}
_WRITES |= {"copy_", "randn_like", "rand_like", "randint_like", "new_zeros", "new_ones", "new_full"}
_GATHERS = {"embedding", "index_select", "gather", "index", "take", "masked_select", "index_put_", "_index_put_impl_", "scatter_"}
_LAUNCHES = {"mse_loss": 2, "native_layer_norm_backward": 2, "native_batch_norm": 2, "native_batch_norm_backward": 2, "_cudnn_rnn": 8}
GENERIC, FREE, WRITE, GATHER, MATMUL, COUNTED, FOREACH = range(7)


@lru_cache(maxsize=None)
def kind_of(func: Any) -> tuple[int, int]:
    """Return how `func` is costed and how many kernels it launches."""
    name = func._schema.name.partition("::")[2]
    launches = _LAUNCHES.get(name, 1)
    if name in _FREE or any(a.alias_info is not None and not a.alias_info.is_write for a in func._schema.arguments):
        return FREE, 0
    if name in ("mm", "addmm", "bmm", "baddbmm"):
        return MATMUL, launches
    if func.overloadpacket in _flop_formulas() or name.startswith("_scaled_dot_product"):
        return COUNTED, launches
    if name.startswith(("_foreach", "_fused")):
        return FOREACH, launches
    return (WRITE if name in _WRITES else GATHER if name in _GATHERS else GENERIC), launches


@cache
def _flop_formulas() -> dict:
    from torch.utils.flop_counter import flop_registry

    return flop_registry


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.itemsize
    if type(value) in (list, tuple):
        return sum(_bytes(item) for item in value)
    return 0


def traffic(func: Any, args: tuple, out: Any) -> int:
    """Return the bytes that `func` reads and writes, from the sizes of its arguments and results alone."""
    kind = kind_of(func)[0]
    if kind == FREE:
        return 0
    if kind == WRITE:
        return 2 * _bytes(out) if func is _COPY else _bytes(out)
    if kind == GATHER:
        small = min(_bytes(out), _bytes(args[2]) if len(args) > 2 else _bytes(out))
        return 2 * small
    return _bytes(args) + _bytes(out)


_COPY = torch.ops.aten.copy_.default


def flops(func: Any, args: tuple, kwargs: dict, out: Any) -> float:
    """Return the floating-point operations of matrix products, convolutions and attention; 0 for all others."""
    kind = kind_of(func)[0]
    if kind == MATMUL:
        inner = args[-2].shape[-1] if len(args) < 3 else args[1].shape[-1]
        return 2.0 * out.numel() * inner
    if kind == COUNTED:
        formula = _flop_formulas().get(func.overloadpacket)
        return float(formula(*args, **kwargs, out_val=out)) if formula else _attention_flops(args)
    return 0.0


def _attention_flops(args: tuple) -> float:
    query, key = args[0], args[1]
    return 4.0 * query.numel() * key.shape[-2] if isinstance(key, Tensor) else 0.0


@dataclass(frozen=True)
class Cost:
    """What one operator costs: kernels launched, device seconds (low, guess, high), and what it counted to get there."""

    launches: int
    device: Span
    flops: float
    bytes: int


class CardCosts:
    """The costs on one card; peaks and fractions are looked up once, for the clock asks at every operator."""

    def __init__(self, card: Card):
        self.card = card
        known = card.reached_fp32 is not None
        self.compute_spread = COMPUTE_SPREAD if known else UNKNOWN_SPREAD
        self.memory_spread = MEMORY_SPREAD if card.reached_memory is not None else UNKNOWN_SPREAD
        self.per_byte = 1 / (card.bandwidth * (card.reached_memory or UNKNOWN_MEMORY))
        self._reached = card.reached_fp32 or UNKNOWN_FP32

    def peak(self, dtype: torch.dtype, tf32: bool = False) -> float:
        """Return the FLOP/s of matrix products in `dtype` that PyTorch reaches."""
        card = self.card
        peaks = {torch.float16: card.fp16, torch.bfloat16: card.bf16, torch.float64: card.fp32 / 32}
        peak = card.tf32 if tf32 and dtype is torch.float32 else peaks.get(dtype)
        return (peak or card.fp32) * self._reached

    def seconds(self, flops: float, nbytes: float, dtype: torch.dtype = torch.float32, tf32: bool = False) -> Span:
        """Return the device seconds of one kernel of so many FLOPs and bytes."""
        memory = nbytes * self.per_byte
        compute = flops / self.peak(dtype, tf32) if flops else 0.0
        spread = self.compute_spread if compute > memory else self.memory_spread
        work = compute if compute > memory else memory
        floor = KERNEL_FLOOR
        return Span(floor.low + work / spread, floor.seconds + work, floor.high + work * spread)

    def operator(self, func: Any, args: tuple, kwargs: dict, out: Any) -> Cost:
        """Return what the operator costs, from the shapes and dtypes of its arguments and results."""
        kind, launches = kind_of(func)
        if kind == FREE:
            return Cost(0, Span(0.0, 0.0, 0.0), 0.0, 0)
        count, nbytes = flops(func, args, kwargs, out), traffic(func, args, out)
        dtype = next((a.dtype for a in args if isinstance(a, Tensor)), torch.float32)
        return Cost(launches, self.seconds(count, nbytes, dtype, torch.backends.cuda.matmul.allow_tf32), count, nbytes)

    def copy(self, nbytes: int, pinned: bool) -> Span:
        """Return the seconds of one copy between host and card over the link."""
        link = (self.card.link or 15.8e9) * PINNED * (1.0 if pinned else PAGEABLE)
        work = nbytes / link
        return Span(COPY_FLOOR.low + work / 1.2, COPY_FLOOR.seconds + work, COPY_FLOOR.high + work * (1.2 if pinned else 3.0))
