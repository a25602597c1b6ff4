"""How kernels divide their work: tiles and waves of a matrix product, rows that are read twice.

Arithmetic on sizes only. The constants are those of `FITTED`, which benchmarks/fit_costs.py prints.
"""

from math import ceil, inf
from typing import NamedTuple


class Products(NamedTuple):
    """How one family of matrix products runs on a card.

    `gain` is its speed beside a large linear layer's, `whole` how much the processors wait for the last blocks of
    a wave (0: not at all, 1: all of them do), `ramp` the steps of the inner loop that a tile loses at its
    start and its end, `small` the speed of a 64 x 64 tile beside the larger ones.
    """

    gain: float
    whole: float
    ramp: float
    small: float


class Rows(NamedTuple):
    """How operators work that read each row again: `share` of the L2 cache holds rows, `edge` is how suddenly it overflows.

    `norm` and `soft` are the elements that one processor normalises, or takes the softmax of, in a second.
    """

    share: float
    edge: float
    norm: float
    soft: float


class Convolutions(NamedTuple):
    """What convolutions reach at most of the float32 peak: as a product (`direct`), by Winograd's way, and one channel at a time.

    Unlike large products they are bound by more than power and clocks, so cards differ less. `tensor` is their speed on
    tensor cores beside that of products there; `laid` says how often an image is moved to have its channels last, and back.
    """

    direct: float
    winograd: float
    depthwise: float
    tensor: float
    laid: float


class Constants(NamedTuple):
    """What all cards share; the card's own figures are in the catalogue.

    `stride` is the length of the inner dimension, on cards before Volta, beyond which a product is bound by finding its rows.
    """

    linear: Products
    batched: Products
    rows: Rows
    stride: float
    convolutions: Convolutions


# Fitted on 6,113 latencies of five cards, published by the NeuSight project (docs/sources.md).
FITTED = Constants(
    linear=Products(gain=1.0, whole=0.44, ramp=0, small=1.0),
    batched=Products(gain=1.13, whole=0.73, ramp=17, small=0.75),
    rows=Rows(share=0.73, edge=3.7, norm=2.20e9, soft=2.37e9),
    stride=23_500,
    convolutions=Convolutions(direct=0.66, winograd=0.47, depthwise=0.2, tensor=1.0, laid=2.0),
)

VOLTA, AMPERE, HOPPER = (7, 0), (8, 0), (9, 0)
Tile = tuple[int, int]  # columns, rows
LARGE, WIDE, HIGH, SMALL = (128, 128), (128, 64), (64, 128), (64, 64)
USUAL_THREADS = 2048  # that a multiprocessor holds at once, where nobody tells
ROW_THREADS = 128  # that layer norm gives to a row
SHORT = 1024  # a softmax of no more elements keeps its row in registers
VECTOR = 4  # elements that a thread reads at once
# Assumed, nothing here is fitted: with blocks for no more than an eighth of the processors, the library takes its
# smallest tile and divides the inner dimension among the others (CUTLASS calls it split-K), in parts of 256 or more.
SLICED: Tile = (32, 32)
FEW, PART = 8, 256


def tiles_of(capability: tuple[int, int], batched: bool) -> tuple[Tile, ...]:
    """Return the tiles that the library chooses from: by the kernel names in the published latencies, simplified."""
    if not batched:
        return (LARGE, WIDE, HIGH)
    if capability >= HOPPER:
        return (LARGE, WIDE, SMALL)
    return (LARGE,) if capability >= AMPERE else (WIDE, SMALL) if capability >= VOLTA else (WIDE,)


def product_flops(
    how: Products, tiles: tuple[Tile, ...], processors: int, sizes: tuple[int, int, int, int]
) -> float:
    """Return the FLOPs that a card spends its time on: those of whole tiles, of whole waves, and of the ramps.

    `sizes` are the batch, the rows, the inner dimension and the columns.
    """
    batch, rows, inner, columns = sizes
    least = inf
    for wide, high in tiles:
        waves = batch * -(-columns // wide) * -(-rows // high) / processors
        waves = how.whole * ceil(waves) + (1 - how.whole) * (waves if waves > 1 else 1)
        spent = waves * wide * high
        if wide + high == 128:
            spent /= how.small
        if spent < least:
            least = spent
    return 2 * least * processors * (inner + how.ramp) / how.gain


def parts(tiles: tuple[Tile, ...], processors: int, sizes: tuple[int, int, int, int]) -> int:
    """Return in how many parts a product of few blocks divides its inner dimension; 1 where it does not."""
    if not 0 < blocks_of(tiles[0], sizes) * FEW <= processors:
        return 1
    return max(1, min(processors // blocks_of(SLICED, sizes), sizes[2] // PART))


def blocks_of(tile: Tile, sizes: tuple[int, int, int, int]) -> int:
    """Return how many blocks compute a product, each a tile of the result."""
    batch, rows, _, columns = sizes
    wide, high = tile
    return batch * -(-columns // wide) * -(-rows // high)


def far(constants: Constants, capability: tuple[int, int], inner: int) -> float:
    """Return how many times longer a product takes because its rows lie far apart in memory."""
    return 1.0 if capability >= VOLTA else (1 + (inner / constants.stride) ** 2) ** 0.5


def both(arithmetic: float, memory: float) -> float:
    """Return the time of two things that overlap, though not perfectly where they take equally long."""
    return (arithmetic**3 + memory**3) ** (1 / 3)


def missed(rows: Rows, length: int, threads: int, resident: int, itemsize: int, l2_bytes: int) -> float:
    """Return the share of reads that the L2 cache no longer serves: `resident` threads of all processors hold rows in it."""
    in_flight = resident / threads * length * itemsize
    return 1 / (1 + (l2_bytes * rows.share / in_flight) ** rows.edge)


def softmax_threads(length: int) -> int:
    """Return the threads that PyTorch's softmax gives to a row: a power of two, each takes four elements or more."""
    most, threads = min(length / VECTOR, 1024), 32
    while threads < most / 2:
        threads *= 2
    return threads


def padded(length: int, threads: int) -> int:
    """Return the elements of a row, filled up to what its threads take in whole steps."""
    step = threads * VECTOR
    return -(-length // step) * step
