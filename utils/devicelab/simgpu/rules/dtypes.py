"""Types for which only one of CUDA and the CPU has a kernel, from the table beside this file: refused, or computed wider."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml

from devicelab.simgpu.machine.texts import SCALAR_TYPES
from devicelab.simgpu.marks.marks import COMPRESSED_COLUMNS, COMPRESSED_ROWS

from .nondeterministic import argument
from .refusals import lacking, refuse

UNKNOWN = "CUDA has no kernel of {} for '{}', says PyTorch's operator database; CUDA's own words for it are not known here."
YOUNG = ("Float8", "Float4", "UInt")
NARROWER = {  # the wider type that computes for each
    "Half": torch.float32,
    "BFloat16": torch.float32,
    "ComplexHalf": torch.complex64,
    "Bool": torch.uint8,
    **dict.fromkeys(("Byte", "Char", "Short", "Int", "Long"), torch.float64),
}
CONDITIONS: dict[str, Callable[[Any, Any, Any], bool]] = {
    "one matrix sparse": lambda func, args, kwargs: (
        {value.layout for value in args[-2:] if isinstance(value, torch.Tensor)}
        == {torch.sparse_coo, torch.strided}
    ),
    "an extreme or a product": lambda func, args, kwargs: (
        argument(func, args, kwargs, "reduce") in ("prod", "amin", "amax")
    ),
    "multiplied by a tensor": lambda func, args, kwargs: (
        argument(func, args, kwargs, "reduce") == "multiply"
        and argument(func, args, kwargs, "src") is not None
    ),
    "multiplied by a number": lambda func, args, kwargs: (
        argument(func, args, kwargs, "reduce") == "multiply" and argument(func, args, kwargs, "src") is None
    ),
    # Two tensors give the same either way; the CPU rounds a number before it adds it.
    "by a number": lambda func, args, kwargs: (
        not isinstance(args[1], torch.Tensor) or argument(func, args, kwargs, "alpha") not in (1, None)
    ),
    "no tensor of numbers": lambda func, args, kwargs: (
        not isinstance(argument(func, args, kwargs, "scalars"), torch.Tensor)
    ),
    "stays small": lambda func, args, kwargs: not argument(func, args, kwargs, "half_to_float"),
}


def name_of(func: Any) -> str:
    """Return an operator's name, without the underscore of its in-place form."""
    return func._schema.name.removeprefix("aten::").removesuffix("_")


@cache
def table() -> dict[str, Any]:
    """Return the table."""
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def rows(func: Any) -> list[dict[str, str]]:
    """Return what the table says of an operator's types on CUDA."""
    return table()["lacks"].get(name_of(func), [])


def check(func: Any, args: Any, kwargs: Any, dtype: torch.dtype) -> None:
    """Refuse a type that CUDA's kernel lacks, in its words."""
    name = SCALAR_TYPES.get(dtype, "")
    for row in rows(func):
        if name in row["types"].split() and (
            "when" not in row or CONDITIONS[row["when"]](func, args, kwargs)
        ):
            if "says" in row:
                refuse(row["says"].format(name))
            raise (
                lacking(row["kernel"], name)
                if "kernel" in row
                else NotImplementedError(UNKNOWN.format(name_of(func), name))
            )


@cache
def rounding() -> dict[str, str]:
    """Return the operators that CUDA rounds once, each with the condition for it."""
    found = table()["rounds"].values()
    return {name: row.get("when", "") for row in found for name in row["names"].split()}


def rounds(func: Any, args: Any, kwargs: Any) -> bool:
    """Say whether a call is one of those that CUDA rounds once, where the CPU rounds on the way."""
    when = rounding()[name_of(func)]
    return not when or CONDITIONS[when](func, args, kwargs)


def without(func: Any, name: str) -> str | None:
    """Return how CUDA's error calls an operator's kernel that has a type no more than the CPU's, where that is known."""
    kernels = table()["neither"] | (table()["young"] if name.startswith(YOUNG) else {})
    return kernels.get(name_of(func))


def by_cusparse(given: list[torch.Tensor]) -> bool:
    """Say whether cuSPARSE makes a product: where a matrix is sparse and compressed, or both are sparse."""
    layouts = {tensor.layout for tensor in given}
    return bool(layouts & {*COMPRESSED_ROWS, *COMPRESSED_COLUMNS}) or layouts == {torch.sparse_coo}


@cache
def wider(func: Any, name: str, cusparse: bool = False) -> torch.dtype | None:
    """Return in which type to compute an operator on a type that only CUDA has a kernel for."""
    kinds = (name, f"{name} by cuSPARSE") if cusparse else (name,)
    known = any(name_of(func) in table()["wider"].get(kind, "").split() for kind in kinds)
    return NARROWER[name] if known else None
