"""What a convolution costs: as the product that it is, or by Winograd's way where that is quicker.

cuDNN turns a convolution into a matrix product whose rows are the positions of the result. For kernels of 3 x 3 in float32
it also knows Winograd's way: 36 products of a quarter of the size, between two changes of the images, which move more memory.
On tensor cores, images whose channels come second are first laid out with the channels last, and back afterwards.
"""

from typing import Any, NamedTuple

from torch import Tensor

from devicelab.operators import Convolution, nbytes

from . import kernels
from .kernels import Products, both

NARROW = 8  # channels of half precision that tensor cores take at once; fewer are filled up
PLACES = 36  # products of Winograd's way F(4 x 4, 3 x 3), one for each place of a tile of 6 x 6
TILES = (kernels.LARGE, kernels.WIDE, kernels.HIGH, (32, 128))


class Speed(NamedTuple):
    """Seconds for each FLOP on one card in one precision.

    As a `plain` product, where the kernel is 1 x 1; as a `product` with more places; by Winograd's way; one channel at a time.
    """

    plain: float
    product: float
    winograd: float
    depthwise: float


def arithmetic(speed: Speed, whole: float, one: Convolution, processors: int, tensor: bool) -> float:
    """Return the seconds of arithmetic as a product."""
    if one.inputs == 1 and one.groups > 1:  # depthwise: nothing to multiply a tile with
        return one.flops * speed.depthwise
    per_flop = speed.product if one.area > 1 else speed.plain
    inputs = -(-one.inputs // NARROW) * NARROW if tensor else one.inputs
    if one.weight:  # its inner dimension is long, and is divided among the processors
        return one.flops * inputs / one.inputs * per_flop
    sizes = (one.groups, one.positions, inputs * one.area, one.outputs)
    return kernels.product_flops(Products(1, whole, 0, 1), TILES, processors, sizes) * per_flop


def winograd(speed: Speed, whole: float, one: Convolution, per_byte: float, processors: int) -> float:
    """Return the seconds by Winograd's way, changes of the images included."""
    sizes = (PLACES, one.tiles, one.inputs, one.outputs)
    spent = kernels.product_flops(Products(1, whole, 0, 1), (*TILES, kernels.SMALL), processors, sizes)
    moved = PLACES * (one.tiles * (one.inputs + one.outputs) + one.inputs * one.outputs) * 4
    images = (one.positions * (one.inputs + one.outputs) + one.inputs * one.outputs * one.area) * 4
    return both(spent * speed.winograd, moved * per_byte) + (moved + images) * per_byte


def relaid(parts: list[Convolution], args: tuple, out: Any) -> int:
    """Return the bytes of images whose channels come second, and which tensor cores want last.

    Forward, a kernel of 1 x 1 takes them as they are; backward, each of the two products has the gradient laid out for itself.
    """
    backward = isinstance(out, (list, tuple))
    if not any((one.area > 1 or backward) and (one.inputs > 1 or one.groups == 1) for one in parts):
        return 0
    given = (*args[:2], out[0], args[0]) if backward else (args[0], out)
    images = [one for one in given if isinstance(one, Tensor) and one.dim() > 3]
    return sum(nbytes(one) for one in images if one.shape[1] > 1 and one.stride(1) != 1)
