"""Operators whose device check CUDA PyTorch wrote by hand, and those where CUDA takes another path than the CPU.

Each rule says in which of PyTorch's files (aten/src/ATen/native unless another folder is named) the check or the path is found.
"""

from . import convolution, copying, foreach, indexing, layers, linear_algebra, pointwise, sparse
from .register import Rule

BY_NAME: dict[str, Rule] = {
    **copying.rules,
    **linear_algebra.rules,
    **indexing.rules,
    **pointwise.rules,
    **layers.rules,
    **convolution.rules,
    **foreach.rules,
    **sparse.rules,
}


def find(name: str, is_checked: bool) -> Rule | None:
    """Return the rule of an operator named as in native_functions.yaml, if it has one.

    A name without overload means every overload, save for those that have a generated check (`is_checked`).
    """
    base = name.split(".")[0]
    found = BY_NAME.get(name) or (None if is_checked else BY_NAME.get(base))
    return foreach.each if found is None and base.startswith("_foreach_") else found
