"""What PyTorch publishes about its CUDA kernels: which ones check devices, which arguments, under which name.

Source: `native_functions.yaml`, which torchgen ships with every PyTorch, read by the rules of torchgen's own generator
(`torchgen/dest/register_dispatch_key.py`, `torchgen/api/native.py`, `torchgen/api/dispatcher.py`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import torch
import yaml

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BEGIN = "- func: "
_AUTOGEN = re.compile(r"^  autogen: (.*(?:\n   .*)*)", re.MULTILINE)


@dataclass(frozen=True)
class Kernel:
    """The CUDA side of one operator overload.

    `wrapper` is the name that the generated check prints; `checked` are the arguments that it looks at, in its order, and None
    where it looks at nothing; `native` is False where CUDA has no kernel of its own and a composite one runs; `iterator` says
    that the kernel is driven by TensorIterator.
    """

    wrapper: str
    checked: tuple[str, ...] | None
    native: bool
    structured: bool
    iterator: bool


class Entries(Mapping[str, dict[str, Any]]):
    """The entries of native_functions.yaml by operator name ("add.Tensor"), each read when it is asked for.

    A program needs a few of the 2,600; to read them all takes 0.1 to 0.3 s.
    """

    def __init__(self, text: str):
        parts = re.split(f"^{_BEGIN}", text, flags=re.MULTILINE)[1:]
        self.texts = {part.partition("(")[0]: part for part in parts}
        self._read: dict[str, dict[str, Any]] = {}

    def __getitem__(self, name: str) -> dict[str, Any]:
        if name not in self._read:
            [self._read[name]] = yaml.load(_BEGIN + self.texts[name], Loader=Loader)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)


@cache
def published() -> Entries:
    """Return native_functions.yaml by operator name."""
    path = resources.files("torchgen") / "packaged" / "ATen" / "native" / "native_functions.yaml"
    return Entries(path.read_text(encoding="utf-8"))


@cache
def origins() -> dict[str, str]:
    """Return for each operator that torchgen derives from another ("embedding.out" from "embedding") that other's name."""
    return {
        derived.strip(): name
        for name, text in published().texts.items()
        for found in _AUTOGEN.findall(text)
        for derived in found.split(",")
    }


def origin(func: torch._ops.OpOverload) -> torch._ops.OpOverload | None:
    """Return the operator that a derived one calls, or None."""
    base, _, overload = origins().get(overload_name(func), "").partition(".")
    return getattr(getattr(torch.ops.aten, base), overload or "default", None) if base else None


def overload_name(func: torch._ops.OpOverload) -> str:
    """Return the name that native_functions.yaml uses: "mm", "mm.out", "add.Tensor"."""
    name = func._schema.name.split("::")[1]
    return f"{name}.{func._schema.overload_name}" if func._schema.overload_name else name


def dispatch_keys(entry: dict[str, Any]) -> set[str]:
    """Return the dispatch keys for which the yaml entry names a kernel of its own."""
    return {key.strip() for keys in entry.get("dispatch") or {} for key in keys.split(",")}


def tensor_arguments(schema: torch.FunctionSchema) -> tuple[str, ...]:
    """Return the arguments in the order of the generated check: out= first, then the positional; keyword-only ones never."""
    tensors = [argument for argument in schema.arguments if "Tensor" in str(argument.real_type)]
    out = [argument.name for argument in tensors if argument.is_out]
    return (*out, *(argument.name for argument in tensors if not argument.kwarg_only))


def wrapper_name(name: str, is_out: bool, structured: bool, key: str) -> str:
    """Return the generated wrapper's name, e.g. "wrapper_CUDA_addmm" or "wrapper_CUDA__index_select"."""
    base, _, overload = name.partition(".")
    base += "_out" if is_out else ""
    if structured:
        return f"wrapper_{key}_{base}_{overload}" if overload else f"wrapper_{key}_{base}"
    return f"wrapper_{key}_{overload}_{base}"


@cache
def kernel(func: torch._ops.OpOverload, key: str = "CUDA") -> Kernel:
    """Return what is published about `func` for a dispatch key ("CUDA", "SparseCUDA", "SparseCsrCUDA", "QuantizedCUDA")."""
    name = overload_name(func)
    entry = published().get(name)
    if entry is None or func.namespace != "aten":
        return Kernel(f"wrapper_{key}_{name}", None, False, False, False)
    out = published()[entry["structured_delegate"]] if "structured_delegate" in entry else entry
    structured = bool(out.get("structured")) and key == "CUDA"
    native = key in dispatch_keys(entry) or (structured and key in dispatch_keys(out))
    is_out = any(argument.is_out for argument in func._schema.arguments)
    checked = tensor_arguments(func._schema) if native and entry.get("device_check") != "NoCheck" else None
    wrapper = wrapper_name(name, is_out, structured, key)
    iterator = out.get("structured_inherits") == "TensorIteratorBase"
    return Kernel(wrapper, checked, native, structured, iterator)


def dispatch_key(tensors: list[torch.Tensor], layout: torch.layout | None = None) -> str:
    """Return the dispatch key to which CUDA's build would send a call with these operands, or with this option `layout=`."""
    layouts = {tensor.layout for tensor in tensors} | {layout}
    if layouts & {torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc}:
        return "SparseCsrCUDA"
    if torch.sparse_coo in layouts:
        return "SparseCUDA"
    return "QuantizedCUDA" if any(tensor.is_quantized for tensor in tensors) else "CUDA"
