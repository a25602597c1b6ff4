"""Fourier transforms of half precision, which CUDA has for sizes that are powers of two, and the CPU has not.

Source: aten/src/ATen/native/cuda/CuFFTPlanCache.h.
"""

from typing import Any

import torch
from torch import Tensor

from .refusals import refuse

WIDE = {torch.float16: torch.float32, torch.complex32: torch.complex64}
NARROW = {torch.float32: torch.float16, torch.complex64: torch.complex32}
ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
NAMES = tuple(f"fft_{name}{dims}" for name in ONE for dims in ("", "2", "n"))


def transformed(original: Any, name: str, args: Any, kwargs: Any) -> Tensor:
    """Transform in single precision and round; refuse the sizes that cuFFT does."""
    given = args[0] if args else kwargs.pop("input", None)
    given = kwargs.pop("self") if given is None else given
    out = original(given.to(WIDE[given.dtype]), *args[1:], **kwargs)
    check(signal(name, given, out, args[1:], kwargs))
    return out.to(NARROW[out.dtype])


def check(sizes: list[int]) -> None:
    """Refuse the sizes of a signal in half precision that cuFFT does."""
    if any(size & (size - 1) for size in sizes):
        refuse(
            "cuFFT only supports dimensions whose sizes are powers of two when computing in half precision, but got a "
            f"signal size of{sizes}"
        )


def signal(name: str, given: Tensor, out: Tensor, rest: Any, kwargs: Any) -> list[int]:
    """Return the sizes of the signal along the dimensions that are transformed."""
    lengths = rest[0] if rest else kwargs.get("s", kwargs.get("n"))
    dims = rest[1] if len(rest) > 1 else kwargs.get("dim")
    if dims is None:
        several = 1 if name[-1] not in "2n" else 2 if name[-1] == "2" else len(lengths or given.shape)
        dims = list(range(-several, 0))
    dims = [dims] if isinstance(dims, int) else list(dims)
    sizes = [out.shape[dim] for dim in dims]
    if name.startswith(("fft_rfft", "fft_ihfft")):  # of these only the signal is whole
        last = lengths if lengths is None or isinstance(lengths, int) else lengths[-1]
        sizes[-1] = given.shape[dims[-1]] if last in (None, -1) else last
    return sizes
