"""Functions that C++ takes apart otherwise on CUDA than on the CPU, so that another number of values is read.

The dispatch mode sees their parts. Those of `one_hot` are the CPU's; others C++ takes apart in a way that reads nothing,
because a mode is there (aten/src/ATen/TensorSubclassLikeUtils.h).
"""

import functools
from collections.abc import Callable
from typing import Any

import torch

from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.marks.marks import card_of

from .functions import replace, unread, where_the_first_is

Tensor = torch.Tensor


def wait_for(tensor: Any) -> None:
    """Let the host wait for the card that holds a tensor, because C++ would read a value there."""
    card = card_of(tensor) if isinstance(tensor, Tensor) and state.current is not None else None
    if card is not None:
        state.current.clock.synchronizing(card.index)  # type: ignore[union-attr]


def one_hot(original: Callable[..., Any], tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Onehot.cpp: a card is asked for the largest label only where nobody says how many classes there are."""
    if card_of(tensor) is None or tensor.dtype is not torch.int64 or (not tensor.numel() and num_classes < 1):
        return original(tensor, num_classes)
    if num_classes == -1:
        num_classes = int(tensor.max()) + 1
    elif num_classes < 1:
        raise RuntimeError("num_classes should be positive")
    zeros = torch.zeros((*tensor.shape, num_classes), dtype=torch.int64, device=tensor.device)
    return zeros.scatter_(-1, tensor.unsqueeze(-1), 1)


def cov(original: Callable[..., Any], tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Correlation.cpp: whether the degrees of freedom are positive, each kind of weights too, and their sum."""
    # The number of observations is made of nothing, and saved for the backward pass.
    out = unread(lambda *given, **named: where_the_first_is(original, given, named), (tensor, *args), kwargs)
    weights = [kwargs.get(name) for name in ("fweights", "aweights") if kwargs.get(name) is not None]
    for _ in range(1 + (len(weights) + 1 if weights else 0)):
        wait_for(tensor)
    return out


def cross_entropy(
    original: Callable[..., Any], scores: Tensor, target: Tensor, *args: Any, **kwargs: Any
) -> Tensor:
    """LossNLL.cpp, cross_entropy_loss_label_smoothing: the weights of the labels that count are selected by a mask."""
    out = original(scores, target, *args, **kwargs)
    given = dict(zip(("weight", "reduction", "ignore_index", "label_smoothing"), args, strict=False)) | kwargs
    averaged = given.get("reduction", 1) == 1
    if (
        averaged
        and given.get("label_smoothing")
        and given.get("weight") is not None
        and scores.shape != target.shape
    ):
        wait_for(scores)
    return out


def product(original: Callable[..., Any], tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """FunctionsManual.cpp, prod_backward, and ReduceOps.cpp, cumprod_backward: where the zeros are, or whether there are any."""
    out = original(tensor, *args, **kwargs)
    node = out.grad_fn if isinstance(out, Tensor) and tensor.dim() else None
    if (
        node is not None
        and node.name().startswith(("ProdBackward", "CumprodBackward"))
        and card_of(out) is not None
    ):
        node.register_prehook(lambda gradients: wait_for(gradients[0]))
    return out


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._C._nn.one_hot": one_hot,
    "torch._C._nn.cross_entropy_loss": cross_entropy,
    **{f"{owner}.{name}": cov for owner in ("torch", "torch.Tensor") for name in ("cov", "corrcoef")},
    **{f"{owner}.{name}": product for owner in ("torch", "torch.Tensor") for name in ("prod", "cumprod")},
}


def stand_in(function: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what calls `function` with the original while a card is simulated."""

    @functools.wraps(original, assigned=("__name__", "__doc__", "__module__"))
    def replaced(*args: Any, **kwargs: Any) -> Any:
        plain = state.current is None or not args or type(args[0]) not in (Tensor, torch.nn.Parameter)
        return original(*args, **kwargs) if plain else function(original, *args, **kwargs)

    return replaced


def install(machine: Machine) -> None:
    """Put the stand-ins in the place of the functions."""
    replace(machine, {path: functools.partial(stand_in, function) for path, function in FUNCTIONS.items()})
