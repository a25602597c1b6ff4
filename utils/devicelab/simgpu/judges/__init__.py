"""Operators whose device check CUDA PyTorch wrote by hand, and those where CUDA takes another path than the CPU.

Each judge says in which of PyTorch's files (aten/src/ATen/native unless another folder is named) the check or the path is found.
"""

from . import convolution, foreach, indexing, layers, pointwise, tensors
from .registry import Judge

BY_NAME: dict[str, Judge] = {
    **tensors.judges,
    **indexing.judges,
    **pointwise.judges,
    **layers.judges,
    **convolution.judges,
}


def find(name: str, is_checked: bool) -> Judge | None:
    """Return the judge of an operator named as in native_functions.yaml, if it has one.

    A name without overload means every overload, save for those that have a generated check (`is_checked`).
    """
    base = name.split(".")[0]
    found = BY_NAME.get(name) or (None if is_checked else BY_NAME.get(base))
    return foreach.judge if found is None and base.startswith("_foreach_") else found


__all__ = ["BY_NAME", "Judge", "find"]
