"""Operators that take functions (torch.cond, flex_attention, ...), run by what these functions do, so that it is seen.

PyTorch hands such an operator to a dispatch mode as one, and traces its functions with tensors that have no values where a
gradient is wanted. Under a mode that `sees_inside` the functions are called instead, as by PyTorch's own kernels without
compilation, and autograd follows what they compute.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch._C import DispatchKey
from torch._C._functorch import peek_interpreter_stack
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import _get_current_dispatch_mode
from torch.utils._pytree import tree_flatten, tree_unflatten

# Whose own kernel only calls the functions, whatever mode there is.
DENSE = (
    "while_loop",
    "while_loop_stack_output",
    "map_impl",
    "associative_scan",
    "flex_attention",
    "hints_wrapper",
    "print",
)
FUNCTORCH = (
    DispatchKey.FuncTorchDynamicLayerFrontMode
)  # takes an operator apart by levels of torch.func, and comes back from each
NOT_HERE = (DispatchKey.FuncTorchDynamicLayerBackMode, DispatchKey.PreDispatch, DispatchKey.Functionalize)


def cond(operator: Any, pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> Any:
    """Call the function that is chosen."""
    return true_fn(*operands) if pred else false_fn(*operands)


def cond_by_rule(rule: Callable[..., Any], pred: Any, true_fn: Any, false_fn: Any, operands: Any = ()) -> Any:
    """Apply PyTorch's rule for vmap, which computes both and chooses; it wants what the functions return as a flat tuple."""
    shapes = []

    def flat(function: Callable[..., Any]) -> Callable[..., Any]:
        def flattened(*given: Any) -> Any:
            leaves, shape = tree_flatten(function(*given))
            shapes.append(shape)
            return tuple(leaves)

        return flattened

    return tree_unflatten(rule(pred, flat(true_fn), flat(false_fn), operands), shapes[-1])


def scan(operator: Any, *args: Any, **kwargs: Any) -> Any:
    """Call the function for each element; PyTorch's own kernel does this and refuses all modes."""
    from torch._higher_order_ops.scan import generic_scan

    combine, init, xs, *others = args
    return generic_scan(
        combine, init, xs, additional_inputs=kwargs.get("additional_inputs", others[0] if others else ())
    )


def dense(operator: Any, *args: Any, **kwargs: Any) -> Any:
    """Call PyTorch's own kernel."""
    return operator.py_kernels[DispatchKey.CompositeExplicitAutograd](*args, **kwargs)


def attention(operator: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
    """Run flex_attention, whose query, key and value autocast casts, and nothing inside."""
    device = query.device.type
    if DispatchKey.AutocastCUDA not in operator.py_kernels or not torch.is_autocast_enabled(device):
        return dense(operator, query, key, value, *args, **kwargs)
    dtype = torch.get_autocast_dtype(device)
    cast = [one.to(dtype) if one.dtype != torch.float64 else one for one in (query, key, value)]
    with torch.autocast(device, enabled=False):
        return dense(operator, *cast, *args, **kwargs)


def draw(operator: Any, *args: Any, **kwargs: Any) -> Any:
    """Draw a rank's part of a distributed tensor by the kernel for cards, which sets their generator before and after."""
    return operator.py_kernels[DispatchKey.CUDA](*args, **kwargs)


RUN: dict[str, Callable[..., Any]] = dict.fromkeys(DENSE, dense) | {
    "run_dtensor_rng_op": draw,
    "cond": cond,
    "scan": scan,
    "flex_attention": attention,
}


def dispatching(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return HigherOrderOperator.dispatch, which runs what it can where a mode sees inside."""

    def dispatch(self: HigherOrderOperator, /, dispatch_key: Any, *args: Any, **kwargs: Any) -> Any:
        run = RUN.get(self._name)
        if (
            run is None
            or dispatch_key in NOT_HERE
            or not getattr(_get_current_dispatch_mode(), "sees_inside", False)
        ):
            return original(self, dispatch_key, *args, **kwargs)
        if dispatch_key == FUNCTORCH and peek_interpreter_stack().key() in self.functorch_table:
            rule = partial(original, self, dispatch_key)
            return cond_by_rule(rule, *args, **kwargs) if self._name == "cond" else rule(*args, **kwargs)
        if is_autograd(dispatch_key) and not has_gradient(self):
            return original(self, dispatch_key, *args, **kwargs)
        return run(self, *args, **kwargs)

    return dispatch


def is_autograd(key: Any) -> bool:
    """Say whether a dispatch key is one of autograd's, which there are for each backend."""
    return "Autograd" in key.name


def has_gradient(operator: HigherOrderOperator) -> bool:
    """Say whether PyTorch has a gradient for the operator; where it has none, its own kernel says so in the backward pass."""
    kernel = operator.py_kernels.get(DispatchKey.Autograd)
    inner = [cell.cell_contents for cell in getattr(kernel, "__closure__", None) or ()]
    return not any("autograd_not_implemented" in getattr(one, "__qualname__", "") for one in (kernel, *inner))
