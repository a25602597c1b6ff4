"""What one operator costs on one card: from its FLOPs and bytes, and from how kernels divide their work.

The device's time is a floor for every kernel, then arithmetic and memory traffic, which overlap, at the
fraction of the datasheet that PyTorch was seen to reach. FLOPs come from torch's own registry of formulas,
bytes from the sizes of what goes in and out.
"""

from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, float32

from devicelab.gpus import Card
from devicelab.operators import (
    BATCHED,
    CONVOLUTION,
    GENERIC,
    KINDS,
    MATMUL,
    NOTHING,
    RNN,
    ROWS,
    Kind,
    convolutions,
    flops,
    kind_of,
    learn,
    nbytes,
    traffic,
)

from . import kernels
from .convolutions import Speed, arithmetic, relaid, winograd
from .host import COPY, KERNEL, Span
from .kernels import FITTED, Constants, both
from .reached import OTHER_SPREAD, reached_fp32, reached_half, reached_memory, spread_of

UNKNOWN_LINK, UNKNOWN_L2 = 15.8e9, 4 * 2**20
PINNED = 0.80  # of the link, 24.7 of 31.5 GB/s on an RTX 4090
# Pinning first and copying then can take twice as long as a pageable copy to the card.
PAGEABLE_UP = PINNED * 0.4
PAGEABLE_DOWN = PINNED * 1.4 / 12.6  # to the host: 1.4 GB/s where pinned memory gave 12.6, on an A100
PAGEABLE_SPREAD, PINNED_SPREAD = 2.5, 1.25
DOUBLE = 1 / 64  # of fp32, where the card has no figure for fp64
EMULATED_BF16 = 0.6  # of fp32, on a card without bf16: 2.25 of 4 TFLOP/s on a T4, 9.4 of 13 on a V100


class Cost(NamedTuple):
    """What one operator costs on a card.

    `work` is the device's seconds beyond the floor of each kernel, `spread` the factor by which low and high
    lie away from it. `arithmetic` and `memory` are the seconds that either would take alone.
    """

    kernels: int
    flops: float
    bytes: int
    work: float
    spread: float
    arithmetic: float = 0.0
    memory: float = 0.0

    @property
    def device(self) -> Span:
        """Return the device's seconds."""
        return kernel_span(self.kernels, self.work, self.spread)


def kernel_span(kernels: int, work: float, spread: float) -> Span:
    """Return the device's seconds for some kernels that together do `work`."""
    low, seconds, high = KERNEL
    return Span(kernels * low + work / spread, kernels * seconds + work, kernels * high + work * spread)


_FREE = Cost(0, 0.0, 0, 0.0, 1.0)
_FORGET = 10_000  # shapes remembered for each card


# How an argument is weighed: not at all, by its nbytes (1), or, like all others, after a closer look (2).
_WEIGH = {Tensor: 1, torch.nn.Parameter: 1, int: 0, float: 0, bool: 0, type(None): 0}


class CardCosts:
    """The costs on one card; what does not change is worked out once, since the clock asks at every operator."""

    def __init__(self, card: Card, constants: Constants = FITTED):
        self.card, self.constants = card, constants
        self.per_byte = 1 / (card.bandwidth * reached_memory(card))
        self.link = card.link or UNKNOWN_LINK
        self._memory_spread = spread_of(card, GENERIC)
        self._resident = card.multiprocessors * (card.threads or kernels.USUAL_THREADS)
        reached = reached_fp32(card)
        half = reached_half(card)
        single, double = card.fp32 * reached, card.fp64_tensor or card.fp64
        self._per_flop = {
            torch.float32: 1 / single,
            torch.float64: 1 / (double * reached if double else single * DOUBLE),
            torch.float16: 1 / (card.fp16 * half if card.fp16 else single),
            torch.bfloat16: 1 / (card.bf16 * half if card.bf16 else single * EMULATED_BF16),
        }
        self._per_flop_tf32 = 1 / (card.tf32 * half) if card.tf32 else None
        self._known: dict[Any, Cost] = {}

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
        if kind[0] != GENERIC:
            try:
                cost = self.operator(func, args, {}, out)
            except RuntimeError:  # a nested tensor has no shape
                return kind[1], (nbytes(args) + nbytes(out)) * self.per_byte, self._memory_spread
            return cost[0], cost[3], cost[4]
        try:
            total = out.nbytes if out.__class__ is Tensor else nbytes(out)
            for value in args:
                weigh = _WEIGH.get(value.__class__, 2)
                if weigh:
                    total += value.nbytes if weigh == 1 else nbytes(value)
        except (RuntimeError, TypeError):  # a sparse tensor has no nbytes
            total = nbytes(args) + nbytes(out)
        return kind[1], total * self.per_byte, self._memory_spread

    def operator(self, func: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> Cost:
        """Return what one operator costs, from the shapes and dtypes of its arguments and results."""
        kind = kind_of(func)
        if kind.rule == NOTHING:
            return _FREE
        if kind.rule in (MATMUL, BATCHED):
            return self._product(kind, func, args, out)
        if kind.rule == ROWS:
            return self._rows(kind, func, args, out)
        if kind.rule == CONVOLUTION:
            return self._convolution(kind, func, args, out)
        count, moved = flops(kind, func, args, kwargs, out), traffic(kind.rule, args, out)
        memory = moved * self.per_byte
        arithmetic = count * self.per_flop(dtype_of(args), kind.rule) if count else 0.0
        launched = args[0].shape[0] if kind.rule == RNN else kind.kernels
        work = both(arithmetic, memory) if count else memory
        spread = spread_of(self.card, kind.rule)
        return Cost(launched, count, moved, work, spread, arithmetic, memory)

    def _product(self, kind: Kind, func: Any, args: tuple, out: Tensor) -> Cost:
        """Return the cost of a matrix product, worked out once for each set of sizes."""
        first = args[kind.first]
        per_flop = self.per_flop(out.dtype, MATMUL)
        key = (id(func), out.shape, first.shape, per_flop)
        known = self._known.get(key)
        return known or self._remember(key, self._new_product(kind, args, out, per_flop))

    def _new_product(self, kind: Kind, args: tuple, out: Tensor, per_flop: float) -> Cost:
        batched, capability = kind.rule == BATCHED, self.card.capability
        batch, (rows, columns) = (out.shape[0] if batched else 1), out.shape[-2:]
        inner = args[kind.first].shape[-1]
        count, moved = 2.0 * out.numel() * inner, nbytes(args) + nbytes(out)
        how = self.constants.batched if batched else self.constants.linear
        tiles, processors = kernels.tiles_of(capability, batched), self.card.multiprocessors
        parts = kernels.parts(tiles, processors, (batch, rows, inner, columns))
        if parts > 1:
            tiles = (kernels.SLICED,)
        spent = kernels.product_flops(how, tiles, processors, (batch, rows, inner // parts, columns))
        arithmetic = spent * per_flop * kernels.far(self.constants, capability, inner) if count else 0.0
        memory = moved * self.per_byte
        known = out.dtype is float32 and parts == 1
        spread = spread_of(self.card, kind.rule) if known else OTHER_SPREAD
        return Cost(kind.kernels, count, moved, both(arithmetic, memory), spread, arithmetic, memory)

    def _convolution(self, kind: Kind, func: Any, args: tuple, out: Any) -> Cost:
        """Return the cost of a convolution, or of its gradients, worked out once for each set of sizes."""
        at = kind.first
        dtype = args[at].dtype
        per_flop = self.per_flop(dtype, CONVOLUTION)
        how = [tuple(value) if value.__class__ is list else value for value in args[at + 3 :]]
        first, weight = args[0], args[at + 1]
        key = (
            id(func),
            first.shape,
            first.stride(),
            args[at].shape,
            weight.shape,
            weight.stride(),
            dtype,
            per_flop,
            *how,
        )
        known = self._known.get(key)
        return known or self._remember(key, self._new_convolution(kind, args, out, per_flop))

    def _new_convolution(self, kind: Kind, args: tuple, out: Any, per_flop: float) -> Cost:
        dtype, whole, processors = (
            args[kind.first].dtype,
            self.constants.linear.whole,
            self.card.multiprocessors,
        )
        moved, spread = nbytes(args) + nbytes(out), spread_of(self.card, CONVOLUTION)
        tensor = per_flop < self._per_flop[float32]
        speed, parts = self._convolving(dtype, per_flop, tensor), convolutions(kind, args, out)
        memory = moved * self.per_byte
        if not parts:  # the bias's gradient alone
            return Cost(kind.kernels, 0.0, moved, memory, spread, 0.0, memory)
        work = self.constants.convolutions.laid * relaid(parts, args, out) * self.per_byte if tensor else 0.0
        for one in parts:
            spent = both(arithmetic(speed, whole, one, processors, tensor), memory / len(parts))
            if one.tiles and one.groups == 1 and dtype is float32 and not tensor:
                spent = min(spent, winograd(speed, whole, one, self.per_byte, processors))
            work += spent
        count = sum(one.flops for one in parts)
        return Cost(kind.kernels, count, moved, work, spread, work if work > 1.2 * memory else 0.0, memory)

    def _convolving(self, dtype: torch.dtype, per_flop: float, tensor: bool) -> Speed:
        """Return how fast convolutions run in a precision."""
        how, single, peak = self.constants.convolutions, self._per_flop[float32], 1 / self.card.fp32
        depthwise = max(single, peak / how.depthwise)
        if tensor:
            return Speed(per_flop / how.tensor, per_flop / how.tensor, per_flop, depthwise)
        slower = per_flop / single  # than float32, in another precision
        direct, winograd = max(single, peak / how.direct), max(single, peak / how.winograd)
        return Speed(per_flop, direct * slower, winograd, depthwise * slower)

    def _rows(self, kind: Kind, func: Any, args: tuple, out: Any) -> Cost:
        """Return the cost of an operator that normalises rows, worked out once for each set of sizes."""
        first, row = args[0], args[kind.first]
        softmax = isinstance(row, int)
        length = (first.shape[row] if first.dim() else 1) if softmax else prod(row)
        key = (id(func), first.shape, first.dtype, length)
        known = self._known.get(key)
        if known:
            return known
        moved = traffic(ROWS, args, out)
        threads = kernels.softmax_threads(length) if softmax else kernels.ROW_THREADS
        memory, core = moved * self.per_byte, 0.0
        if length and not (softmax and length <= kernels.SHORT):
            l2 = self.card.l2_bytes or UNKNOWN_L2
            missed = kernels.missed(self.constants.rows, length, threads, self._resident, first.itemsize, l2)
            memory *= 1 + missed * (1 if softmax else 0.5)
            speed = self.constants.rows.soft if softmax else self.constants.rows.norm
            core = (
                first.numel() / length * kernels.padded(length, threads) / (self.card.multiprocessors * speed)
            )
        cost = Cost(kind.kernels, 0.0, moved, both(core, memory), spread_of(self.card, ROWS), core, memory)
        return self._remember(key, cost)

    def _remember(self, key: Any, cost: Cost) -> Cost:
        if len(self._known) > _FORGET:
            self._known.clear()
        self._known[key] = cost
        return cost

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
