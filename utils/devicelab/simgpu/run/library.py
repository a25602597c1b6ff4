"""Operators whose kernels are functions of Python, by torch.library: the program's own, and its kernels for PyTorch's."""

import sys
from collections.abc import Callable
from typing import Any

import torch

from devicelab.errors import SimulationError
from devicelab.simgpu.marks.place import MIXED, NOTHING, is_on_card, place
from devicelab.simgpu.rules.refusals import missing

from . import only
from .call import Calls, beside_meta

REPLACED = (
    "The program has a kernel of its own for {} on the CPU, by torch.library, and a simulated card computes by the CPU's "
    "kernels, so what CUDA's gives is not known here. Register one for CUDA too, or none while a GPU is simulated."
)
UNSEEN = (
    "The program has a kernel of its own for {} under {}, by torch.library, and a simulated card would not call it. Register it "
    "under Autograd or CompositeExplicitAutograd, or run this part on a real GPU."
)
BELOW_PYTHON = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
OF_CUDA = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
COMPOSITES = ("CompositeImplicitAutograd", "CompositeExplicitAutograd")
AUTOGRAD = ("AutogradCUDA", "AutogradCPU")
KEYS = ("CUDA", "CPU", *AUTOGRAD)
has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key


def custom(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run an operator that is written in Python, as torch._prims and custom ones: what it does inside must be seen as well."""
    if seen is MIXED and beside_meta(func, args, kwargs):
        return mode.without_values(func, args, kwargs)
    card = seen if is_on_card(seen) else None
    if card is None and seen is not None and seen is not NOTHING:
        card = mode.settle(func, args, kwargs, seen, judged=not in_python(func))
    below = BELOW_PYTHON
    if (card is not None or seen is MIXED) and only.on_card(args, kwargs):
        refuse_unseen(func)
        below = OF_CUDA if is_in_python(func, "CUDA") else below
        if below is not OF_CUDA and is_in_python(func, "CPU") and not has_composite(func):
            missing(func.name())
    torch._C._set_dispatch_mode(mode)
    try:
        out = func.redispatch(below, *args, **kwargs)
    finally:
        torch._C._unset_dispatch_mode(mode._mode_key)
    if card is not None:
        place(out, card)
    return out


def overridden(handler: Callable[..., Any] | None) -> Callable[..., Any]:
    """Have one of PyTorch's operators run the program's kernel for the device of its tensors, as long as there is one."""

    def run(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
        here = only.on_card(args, kwargs)
        if here and not is_in_python(func, "CUDA"):
            refuse_unseen(func)
            if is_in_python(func, "CPU"):
                raise SimulationError(REPLACED.format(func.name()))
        elif is_in_python(func, "CUDA" if here else "CPU"):
            return custom(mode, func, args, kwargs, seen)
        if handler is not None:
            return handler(mode, func, args, kwargs, seen)
        return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)

    return run


def refuse_unseen(func: Any) -> None:
    """Refuse on a card what has a kernel for one device's gradients: which device it is, C++ asks too early."""
    for key in AUTOGRAD:
        if is_in_python(func, key):
            raise SimulationError(UNSEEN.format(func.name(), key))


def refuse_composite(registered: str) -> None:
    """Refuse a kernel for CUDA of what PyTorch takes apart before it asks for the device; raises SimulationError."""
    if not registered.endswith(("/CUDA", "/AutogradCUDA")) or registered in of_torch():
        return
    operator, _, key = registered.rpartition("/")
    name = operator.replace("/", "::", 1)
    if not torch._C._dispatch_has_kernel(name):
        return
    if has_kernel(name, COMPOSITES[0]) and not has_kernel(name, "CPU"):
        raise SimulationError(UNSEEN.format(name, key))


def overrides() -> set[str]:
    """Return PyTorch's operators that have kernels of the program's: "aten/sin/CUDA"."""
    found = {key for key in torch.library._impls if key.startswith("aten/") and key.endswith(KEYS)}
    return found - of_torch()


def of_torch() -> set[str]:
    """Return the kernels of Python that PyTorch itself brings for CUDA, from 2.12 on: each ends in the kernel it replaces."""
    registry = sys.modules.get("torch._native.registry")
    held = [getattr(registry, name, {}) for name in ("_libs", "_override_libs")]  # the second from 2.14 on
    return {key for libraries in held for library in libraries.values() for key in library._op_impls}


def in_python(func: Any) -> bool:
    """Say whether an operator's kernels are functions of Python, of which each operator is looked at."""
    name = func._schema.name.replace("::", "/")
    return any(key.startswith(f"{name}/") for key in torch.library._impls)


def is_in_python(func: Any, key: str) -> bool:
    """Say whether an operator has a function of Python for a key, by torch.library."""
    return f"{func.name().replace('::', '/')}/{key}" in torch.library._impls


def is_overridden(func: Any) -> bool:
    """Say whether one of PyTorch's operators has a kernel of the program's."""
    return func.namespace == "aten" and any(
        f"{func.name().replace('::', '/')}/{key}" in known for key in KEYS
    )


def has_composite(func: Any) -> bool:
    """Say whether an operator has a kernel that serves every device."""
    return any(has_kernel(func.name(), key) for key in COMPOSITES)


known: set[str] = set()  # what `overrides` found last


def look() -> None:
    """Note what the program has registered, and have operators planned anew where it is something else than before."""
    found = overrides()
    if found != known:
        known.clear()
        known.update(found)
        only.forget_plans()
