"""What torch.use_deterministic_algorithms(True) refuses on CUDA, from the table beside this file.

The words: aten/src/ATen/Context.cpp, alertNotDeterministic and alertCuBLASConfigNotDeterministic.
"""

import os
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml

from devicelab.simgpu.machine import state
from devicelab.simgpu.marks.place import position
from devicelab.versions import release

from .refusals import refuse

HERE = " does not have a deterministic implementation, but you set 'torch.use_deterministic_algorithms(True"
ERROR = (
    HERE
    + ")'. You can turn off determinism just for this operation, or you can use the 'warn_only=True' option, if "
    "that's acceptable for your application. You can also file an issue at https://github.com/pytorch/pytorch/issues to "
    "help us prioritize adding deterministic support for this operation."
)
WARNING = (
    HERE
    + ", warn_only=True)'. You can file an issue at https://github.com/pytorch/pytorch/issues to help us "
    "prioritize adding deterministic support for this operation."
)
CUBLAS = (
    "Deterministic behavior was enabled with either `torch.use_deterministic_algorithms(True)` or "
    "`at::Context::setDeterministicAlgorithms(true)`, but this operation is not deterministic because it uses CuBLAS and you "
    "have CUDA >= 10.2. To enable deterministic behavior in this case, you must set an environment variable before running "
    "your PyTorch application: CUBLAS_WORKSPACE_CONFIG=:4096:8 or CUBLAS_WORKSPACE_CONFIG=:16:8. For more information, go to "
    "https://docs.nvidia.com/cuda/cublas/index.html#results-reproducibility"
)
MAX = 2  # the mode of an embedding bag


def argument(func: Any, args: Any, kwargs: Any, name: str) -> Any:
    """Return an argument of a call by its name in the schema, or None."""
    at = position(func, name)
    return args[at] if 0 <= at < len(args) else kwargs.get(name)


CONDITIONS: dict[str, Callable[[Any, Any, Any], bool]] = {
    "floating": lambda func, args, kwargs: args[0].is_floating_point() or args[0].is_complex(),
    "weighted": lambda func, args, kwargs: argument(func, args, kwargs, "weights") is not None,
    "along a dimension": lambda func, args, kwargs: argument(func, args, kwargs, "dim") is not None,
    "reduced": lambda func, args, kwargs: argument(func, args, kwargs, "reduction") != 0,
    "reduces a tensor": lambda func, args, kwargs: (
        "reduce" in kwargs and isinstance(argument(func, args, kwargs, "src"), torch.Tensor)
    ),
    "a product": lambda func, args, kwargs: argument(func, args, kwargs, "reduce") == "prod",
    "of the largest": lambda func, args, kwargs: argument(func, args, kwargs, "mode") == MAX,
    "not by cuBLASLt": lambda func, args, kwargs: not (args[0].dim() == 1 and min(args[2].shape) > 1),
}


@cache
def table() -> dict[str, dict[str, str]]:
    """Return the operators of the installed PyTorch, each with the kernel's name and the condition."""
    rows = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    installed = release(torch.__version__)
    return {
        name: row for name, row in rows.items() if "until" not in row or installed <= release(row["until"])
    }


def alert(func: Any, args: Any, kwargs: Any) -> None:
    """Refuse, or warn of, a call on a card of an operator in the table, where determinism is asked for."""
    row = table()[func._schema.name.removeprefix("aten::")]
    by_cublas = row["kernel"] == "cuBLAS"
    reproducible = by_cublas and cublas_is_reproducible()
    if reproducible or not torch._C._get_deterministic_algorithms():
        return
    if "when" in row and not CONDITIONS[row["when"]](func, args, kwargs):
        return
    if not torch._C._get_deterministic_algorithms_warn_only():
        refuse(CUBLAS if by_cublas else row["kernel"] + ERROR)
    warnings.warn(CUBLAS if by_cublas else row["kernel"] + WARNING, UserWarning, stacklevel=3)


def cublas_is_reproducible() -> bool:
    """Say what CUBLAS_WORKSPACE_CONFIG said at the machine's first product: cuBLAS reads it once."""
    machine = state.current
    if machine is None:
        return True
    if machine.cublas_is_reproducible is None:
        machine.cublas_is_reproducible = os.environ.get("CUBLAS_WORKSPACE_CONFIG") in (":4096:8", ":16:8")
    return machine.cublas_is_reproducible
