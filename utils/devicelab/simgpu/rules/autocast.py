"""How autocast("cuda") treats one call: which arguments it casts, to what, and which casts it keeps.

A rule takes the operator and its arguments and makes the call.
Source: PyTorch, aten/src/ATen/autocast_mode.h and autocast_mode.cpp.
"""

import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from devicelab.errors import SimulationError
from devicelab.simgpu.marks.marks import Adoptable, index_of, tag_of

from . import autocast_lists as lists

Rule = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def registered(key: str) -> set[str]:
    """Return the operators, "name" or "name.overload", with a kernel of their own for this dispatch key."""
    names = torch._C._dispatch_get_registrations_for_dispatch_key(key)
    return {name.removeprefix("aten::") for name in names if name.startswith("aten::")}


def operator(name: str) -> Any:
    """Return the operator overload of aten with this registered name."""
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")


def tensors(values: Any) -> Iterator[Tensor]:
    """Yield the tensors among arguments, also those in lists."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors(value)


class _CastCache:
    """The casts of weights made in the outermost autocast region; shared by all threads, as in PyTorch."""

    def __init__(self) -> None:
        self._casts: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}

    def get(self, weight: Tensor) -> Tensor | None:
        source, cast = self._casts.get(id(weight), (None, None))
        return cast if source is not None and source() is weight else None

    def put(self, weight: Tensor, cast: Tensor) -> Tensor:
        self._casts[id(weight)] = (weakref.ref(weight), cast)
        return cast

    def clear(self) -> None:
        self._casts.clear()


cache = _CastCache()


def eligible(value: object) -> bool:
    """Return whether autocast may cast this: a floating-point tensor on a card, or about to be there, that is not float64."""
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.dtype is not torch.float64
        and (index_of(value) is not None or tag_of(value).__class__ is Adoptable)
    )


@functools.cache
def casts_keep_gradients() -> bool:
    """Say whether a cast that is kept under no_grad has a gradient (pull request 165068), by trying it on the CPU."""
    before = torch._C.is_autocast_enabled("cpu")
    torch._C.set_autocast_enabled("cpu", True)
    try:
        with torch._C._DisableTorchDispatch():  # nobody's tensor: no trace hears of it
            weight = torch.ones(1, 1, requires_grad=True, device="cpu")
            with torch.no_grad():
                torch.mm(weight, weight)
            with torch.enable_grad():
                return torch.mm(weight, weight).requires_grad
    finally:
        torch._C.clear_autocast_cache()
        torch._C.set_autocast_enabled("cpu", before)


def _is_weight(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Return whether PyTorch keeps this cast for the next use: a float32 leaf to the autocast type."""
    return (
        tensor.dtype is torch.float32
        and tensor.requires_grad
        and tensor.is_leaf
        and dtype is torch.get_autocast_dtype("cuda")
        and not tensor._is_view()
        and torch.is_autocast_cache_enabled()
        and not (torch.is_inference_mode_enabled() and casts_keep_gradients())
    )


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """Return an argument of an operator in `dtype`, looking into lists of tensors."""
    if isinstance(value, (list, tuple)):
        return [_cast(item, dtype) for item in value]
    if not eligible(value) or value.dtype is dtype:
        return value
    if not _is_weight(value, dtype):
        return torch.ops.aten.to.dtype(value, dtype)
    kept = cache.get(value)
    if kept is None:
        with torch.set_grad_enabled(torch.is_grad_enabled() or casts_keep_gradients()):
            kept = cache.put(value, torch.ops.aten.to.dtype(value, dtype))
    return kept


def _call_in(dtype: torch.dtype, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return op(*[_cast(a, dtype) for a in args], **{name: _cast(a, dtype) for name, a in kwargs.items()})


def _lower_precision(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _call_in(torch.get_autocast_dtype("cuda"), op, args, kwargs)


def _float32(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _call_in(torch.float32, op, args, kwargs)


def _float32_output(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = dict(zip((argument.name for argument in op._schema.arguments), args, strict=False)) | kwargs
    if eligible(args[0]) and given.get("dtype") is None:
        given["dtype"] = torch.float32
    return op(**given)


def _float32_overload(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    schema = op._schema
    typed = operator(lists.FLOAT32_OVERLOAD[f"{_name(op)}.{schema.overload_name}"])
    defaults = [argument.default_value for argument in schema.arguments]
    dtype = torch.float32 if eligible(args[0]) else args[0].dtype
    return typed(*args, *defaults[len(args) :], **kwargs, dtype=dtype)


def _promote(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _call_in(_widest((*args, *kwargs.values())), op, args, kwargs)


def _widest(values: tuple[Any, ...]) -> torch.dtype:
    """Return float32 if a tensor has it, else the autocast type; a third type raises, as in PyTorch."""
    widest = torch.get_autocast_dtype("cuda")
    for tensor in filter(eligible, tensors(values)):
        if torch.float32 in (widest, tensor.dtype):
            widest = torch.float32
        elif tensor.dtype is not widest:
            raise RuntimeError("Unexpected floating ScalarType in at::autocast::prioritize")
    return widest


def _banned(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    raise RuntimeError(lists.BANNED[_name(op)])


def _unknown(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    raise SimulationError(
        f"In torch {torch.__version__}, autocast('cuda') treats {op} specially, and the simulated GPU does"
        " not know how. Take this call out of the autocast region."
    )


def _name(op: Any) -> str:
    return op._schema.name.removeprefix("aten::")


@functools.cache  # filled before a kernel of ours is registered, which would count as one of PyTorch's
def rule_of() -> dict[str, Rule]:
    """Return the rule of each operator that autocast("cuda") treats in the installed torch."""
    known: dict[str, Rule] = {
        **dict.fromkeys(lists.LOWER_PRECISION, _lower_precision),
        **dict.fromkeys(lists.FLOAT32, _float32),
        **dict.fromkeys(lists.FLOAT32_OUTPUT, _float32_output),
        **dict.fromkeys(lists.FLOAT32_OVERLOAD, _float32_overload),
        **dict.fromkeys(lists.PROMOTE, _promote),
        **dict.fromkeys(lists.BANNED, _banned),
    }
    treated = {name: known.get(name, _unknown) for name in registered("AutocastCUDA")}
    return treated | dict.fromkeys([*lists.RECURRENT, *lists.AROUND], _lower_precision)
