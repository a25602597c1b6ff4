"""Results without values: what an operator would return, found on meta tensors once for each set of shapes."""

from typing import Any

import torch
from torch import Tensor

META = torch.device("meta")
CPU = torch.device("cpu")
_NOT_ON_META = ("generator", "pin_memory")
MOST = 50_000  # sets of shapes that are remembered
_Storage: Any = torch.UntypedStorage
_known: dict[Any, Any] = {}
_empty = torch.ops.aten.empty_strided.default


def sketch(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Return (size, stride, dtype) in place of each tensor that `func` would return.

    Raises what torch raises for shapes that do not fit, and NotImplementedError where it knows no rule.
    """
    try:
        key = (func, _key(args), tuple((name, _key(value)) for name, value in kwargs.items()))
        hash(key)
    except TypeError:
        return _infer(func, args, kwargs)
    if key not in _known:
        if len(_known) >= MOST:
            _known.clear()
        _known[key] = _infer(func, args, kwargs)
    return _known[key]


def _key(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    if value.__class__ in (list, tuple):
        return tuple([_key(item) for item in value])
    return value.__class__, value  # 1, 1.0 and True are one key else


def _infer(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    kwargs = {name: None if name in _NOT_ON_META else _twin(value) for name, value in kwargs.items()}
    if "device" in kwargs or any(argument.name == "device" for argument in func._schema.arguments):
        kwargs["device"] = META
    where, _Storage._simulated_card = _Storage._simulated_card, None  # torch's rules look at devices, too
    try:
        return _laid(func, args, _described(func(*[_twin(value) for value in args], **kwargs)))
    finally:
        _Storage._simulated_card = where


_CONVOLVING = {
    torch.ops.aten.convolution.default: 0,
    torch.ops.aten.convolution_backward.default: 1,
}  # where the input stands


def _laid(func: Any, args: tuple, out: Any) -> Any:
    """Lay a convolution's results out as cuDNN's: channels last where its input or its weight is, which meta forgets."""
    at = _CONVOLVING.get(func)
    if at is None or not any(_channels_last(one) for one in args[at : at + 2]):
        return out
    if out.__class__ is tuple and out.__class__ is not Sketch:
        return tuple(_last(one) for one in out)
    return _last(out)


def _channels_last(tensor: Tensor) -> bool:
    if tensor.is_contiguous():  # where both orders are the same, it is the usual one
        return False
    channels_last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.dim())
    return channels_last is not None and tensor.is_contiguous(memory_format=channels_last)


def _last(sketch: Any) -> Any:
    if sketch.__class__ is not Sketch or len(sketch[0]) not in (4, 5):
        return sketch
    size, _, dtype = sketch
    channels_last = torch.channels_last if len(size) == 4 else torch.channels_last_3d
    like = _empty(size, (1,) * len(size), dtype=dtype, device=META)
    return Sketch((size, torch.empty_like(like, memory_format=channels_last).stride(), dtype))


def _twin(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _empty(value.shape, value.stride(), dtype=value.dtype, device=META)
    if isinstance(value, torch.Generator):
        return None
    return [_twin(item) for item in value] if value.__class__ in (list, tuple) else value


def _described(out: Any) -> Any:
    if isinstance(out, Tensor):
        return Sketch((out.shape, out.stride(), out.dtype))
    return tuple(_described(item) for item in out) if out.__class__ in (list, tuple) else out


class Sketch(tuple):
    """(size, stride, dtype) of a tensor."""

    __slots__ = ()


def drawn(sketches: Any, device: torch.device) -> Any:
    """Return tensors of the described shapes, whose memory nobody writes."""
    if sketches.__class__ is Sketch:
        size, stride, dtype = sketches
        return _empty(size, stride, dtype=dtype, device=device)
    return [drawn(item, device) for item in sketches] if sketches.__class__ is tuple else sketches
