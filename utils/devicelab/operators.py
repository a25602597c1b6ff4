"""What an operator does: how many kernels it launches, how many FLOPs it computes, how many bytes it moves.

Read from the operator and the shapes of what goes in and comes out; nothing is run and no value is read.
FLOPs come from torch's own formulas (torch.utils.flop_counter).
"""

from functools import cache
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, strided

NOTHING, GENERIC, MATMUL, BATCHED, ROWS, WRITE, COPY_INTO, GATHER, FORMULA, RNN, CONVOLUTION, CHANNELS = (
    range(12)
)
_NOTHING = {
    "_unsafe_view", "set_", "resize_", "resize_as_", "lift", "lift_fresh", "is_same_size", "record_stream",
    "_local_scalar_dense", "_has_same_storage_numel", "empty", "empty_like", "empty_strided", "new_empty",
    "new_empty_strided",
}  # fmt: skip
_WRITE = {
    "zero_", "fill_", "normal_", "uniform_", "random_", "bernoulli_", "exponential_", "log_normal_", "geometric_",
    "cauchy_", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "randint_like", "new_zeros",
    "new_ones", "new_full",
}  # fmt: skip
_GATHER = {
    "embedding", "index_select", "gather", "index", "take", "masked_select", "index_put", "index_put_",
    "_index_put_impl_", "scatter_", "scatter_add_", "index_add_", "index_copy_", "index_fill_",
}  # fmt: skip
_MATMUL = {"mm": 0, "addmm": 1}  # name -> where the first factor stands
_BATCHED = {"bmm": 0, "baddbmm": 1}
_CONVOLUTION = {"convolution": 0, "_convolution": 0, "convolution_backward": 1}  # where its input stands
_ROWS = {  # name -> where it says what a row is: a dimension, or the shape that is normalised
    "_softmax": 1, "_log_softmax": 1, "_softmax_backward_data": 2, "_log_softmax_backward_data": 2,
    "native_layer_norm": 1, "native_layer_norm_backward": 2,
}  # fmt: skip
# They read an image once for its statistics, and again to normalise it; backward both the gradient and the image.
_CHANNELS = {
    "native_batch_norm",
    "native_batch_norm_backward",
    "native_group_norm",
    "native_group_norm_backward",
}
_KERNELS = {  # where an operator launches more than one
    "mse_loss": 2, "l1_loss": 2, "native_layer_norm_backward": 2, "native_batch_norm": 2, "nonzero": 3, "sort": 4,
    "native_batch_norm_backward": 2, "nll_loss_backward": 2, "embedding_dense_backward": 3, "topk": 2,
    "native_group_norm_backward": 3, "convolution_backward": 3,
}  # fmt: skip


class Kind(NamedTuple):
    """How an operator is costed: which rule, how many kernels, which argument says its shape.

    That argument is the first factor of a product, what a row is where rows are normalised, or a convolution's input.
    """

    rule: int
    kernels: int
    first: int = 0


# By id, since an OpOverload's own hash is slow; holding the overload keeps its id.
KINDS: dict[int, tuple[Any, Kind]] = {}


def kind_of(func: Any) -> Kind:
    """Return how `func` (an OpOverload) is costed; decided once for each."""
    return (KINDS.get(id(func)) or learn(func))[1]


def learn(func: Any) -> tuple[Any, Kind]:
    """Decide about an operator and remember it."""
    known = KINDS[id(func)] = (func, _decide(func))
    return known


def _decide(func: Any) -> Kind:
    if not hasattr(func, "_schema"):  # a higher-order operator
        return Kind(GENERIC, 1)
    name = func._schema.name.partition("::")[2]
    kernels = _KERNELS.get(name, 1)
    if (
        name in _NOTHING
        or func.namespace == "profiler"
        or any(a.alias_info is not None and not a.alias_info.is_write for a in func._schema.arguments)
    ):
        return Kind(NOTHING, 0)
    for rule, names in ((MATMUL, _MATMUL), (BATCHED, _BATCHED), (ROWS, _ROWS), (CONVOLUTION, _CONVOLUTION)):
        if name in names:
            return Kind(rule, kernels, names[name])
    if name in _CHANNELS:
        return Kind(CHANNELS, kernels)
    if func.overloadpacket in _formulas() or name == _CPU_ATTENTION:
        return Kind(FORMULA, kernels)
    if "rnn" in name or name in ("lstm", "gru"):
        return Kind(RNN, 4)
    rules = ((_WRITE, WRITE), ({"copy_", "_to_copy"}, COPY_INTO), (_GATHER, GATHER))
    return Kind(next((rule for names, rule in rules if name in names), GENERIC), kernels)


_CPU_ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"


@cache
def _formulas() -> dict[Any, Any]:
    from torch.utils.flop_counter import flop_registry  # loads much of torch: only when first needed

    return flop_registry


def nbytes(value: Any) -> int:
    """Return the bytes of a tensor, or of all tensors in a list or tuple; 0 for anything else."""
    if isinstance(value, Tensor):
        return value._nnz() * value.itemsize if value.layout is torch.sparse_coo else value.nbytes
    total = 0
    if value.__class__ in _MANY:
        for item in value:
            total += item.nbytes if item.__class__ is Tensor and item.layout is strided else nbytes(item)
    return total


def traffic(rule: int, args: tuple, out: Any) -> int:
    """Return the bytes that an operator reads and writes, from the sizes of its arguments and results."""
    if rule == NOTHING:
        return 0
    if rule == WRITE:
        return nbytes(out)
    if rule == COPY_INTO:
        return nbytes(args[1] if len(args) > 1 else args[0]) + nbytes(out)
    if rule == GATHER:  # only the rows that are asked for move, not the whole table
        return 2 * min([nbytes(out)] + [size for size in map(nbytes, args) if size])
    total = nbytes(out)
    for value in args:
        total += nbytes(value)
    if rule == CHANNELS and not any(
        value is False for value in args
    ):  # in training; forward it says so first
        backward = isinstance(args[1], Tensor) and args[1].shape == args[0].shape
        total += nbytes(args[0]) + (nbytes(args[1]) if backward else 0)
    return total


def flops(kind: Kind, func: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> float:
    """Return the floating-point operations of matrix products, convolutions, attention and recurrent layers; 0 for all others."""
    if kind.rule in (MATMUL, BATCHED):
        return 2.0 * out.numel() * args[kind.first].shape[-1]
    if kind.rule == CONVOLUTION:
        return sum(part.flops for part in convolutions(kind, args, out))
    if kind.rule == FORMULA:
        return _by_formula(func, args, kwargs, out)
    if kind.rule == RNN:
        weights = [weight for weight in args[1:] if isinstance(weight, Tensor) and weight.dim() == 2]
        return 2.0 * args[0].shape[0] * args[0].shape[1] * sum(weight.numel() for weight in weights)
    return 0.0


class Convolution(NamedTuple):
    """One of the products that a convolution is: its result, its input's gradient, or its weight's.

    `positions` of `inputs` values by the kernel's `area` go into `outputs`, in each of `groups`. `tiles` are the places of
    4 x 4 pixels, where the kernel is 3 x 3 and goes step by step; else 0.
    """

    weight: bool  # whether it is the weight's gradient
    positions: int
    inputs: int
    outputs: int
    area: int
    groups: int
    tiles: int

    @property
    def flops(self) -> float:
        """Return the floating-point operations."""
        return 2.0 * self.positions * self.inputs * self.outputs * self.area * self.groups


def convolutions(kind: Kind, args: tuple, out: Any) -> list[Convolution]:
    """Return the products that a convolution is: one forward, up to two backward."""
    at = kind.first
    weight, backward = args[at + 1], at == 1
    stride, _, dilation, transposed, _, groups = args[at + 3 : at + 9]
    # The larger image meets the smaller one in each of its positions, for every place of the kernel.
    small = args[at] if transposed else args[0] if backward else out
    size, kernel = small.shape[2:], weight.shape[2:]
    steps = tuple(kernel) == (3, 3) and not transposed and {*stride, *dilation} == {1}
    tiles = small.shape[0] * prod(-(-length // 4) for length in size) if steps else 0
    inputs, outputs = weight.shape[1], weight.shape[0] // groups
    one = Convolution(False, small.shape[0] * prod(size), inputs, outputs, prod(kernel), groups, tiles)
    if not backward:
        return [one._replace(inputs=outputs, outputs=inputs) if transposed else one]
    to_input, to_weight, _ = args[10]
    return [one._replace(inputs=outputs, outputs=inputs)] * to_input + [one._replace(weight=True)] * to_weight


_MANY = {list, tuple}
_counted: dict[Any, float] = {}


def _by_formula(func: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> float:
    """Ask torch's registry, which takes 10 to 20 us, once for each set of shapes."""
    key = (func, _shapes(args), _shapes(out))
    if key not in _counted:
        if len(_counted) > 10_000:
            _counted.clear()
        formula = _formulas().get(func.overloadpacket)
        query, key_tensor = args[0], args[1]
        try:
            flop = (
                formula(*args, **kwargs, out_val=out) if formula else 4 * query.numel() * key_tensor.shape[-2]
            )
        except (
            AssertionError,
            IndexError,
            TypeError,
            ValueError,
        ):  # shapes that torch's formula does not know
            flop = 0
        _counted[key] = float(flop)
    return _counted[key]


def _shapes(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape
    return tuple(map(_shapes, value)) if isinstance(value, (list, tuple)) else value
