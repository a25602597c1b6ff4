"""What the CPU's kernels say of types, in the words of CUDA's."""

import re
from typing import Any

from torch.utils._pytree import tree_flatten

from devicelab.simgpu.marks.marks import Tensor, device_of
from devicelab.simgpu.marks.place import home
from devicelab.simgpu.rules import convolution, dtypes

CPUS = re.compile(r"on CPU\.?$")
UNLIKE = re.compile(
    r"^expected scalar type \w+ but found \w+$"
)  # where oneDNN has no convolution for this processor
KINDS = (RuntimeError, TypeError)
WORDS = (  # (what the CPU says, what CUDA says)
    (r" or input should be a MKLDNN tensor and \w+ is a dense tensor", ""),  # Convolution.cpp
    (r"expected m1 and m2 to have", "expected mat1 and mat2 to have"),  # cuda/Blas.cpp
    (r"\btorch\.(\w+Tensor)\b", r"torch.cuda.\1"),  # ATen/core/Tensor.cpp, toString
    (r"\bCPU(\w+Type)\b", r"CUDA\1"),
)


def translated(error: Exception, args: Any, kwargs: Any, func: Any = None) -> Exception:
    """Return CUDA's error for the CPU's about a call whose tensors all lie on a card; others as they are."""
    given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    text = str(error)
    if type(error) not in KINDS and not CPUS.search(text):
        return error
    if not given or any(home(tensor) is None for tensor in given):
        return error
    try:
        if func is not None and CPUS.search(text):
            dtypes.check(func, args, kwargs, given[0].dtype)
        if func is not None and func._schema.name == "aten::convolution" and UNLIKE.search(text):
            first, weight, *bias = [(tensor, device_of(tensor)) for tensor in given]
            convolution.same_types(first, weight, bias, "")
    except RuntimeError as lacks:
        return lacks
    for theirs, ours in WORDS:
        text = re.sub(theirs, ours, text)
    return error if text == str(error) else type(error)(text)
