"""Kernels of the program's own, by torch.library: those for CUDA are heard of as they are registered."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.run import library


def install(machine: Machine) -> None:
    """Look at what was registered before, and hear of what is from now on."""
    for key in list(torch.library._impls):
        library.refuse_composite(key)
    library.look()
    machine.patches.wrap("torch.library.Library.impl", registering)


def registering(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return Library.impl, which says at once which kernels a simulated card would not call."""

    @functools.wraps(original)
    def impl(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = set(self._op_impls)
        out = original(self, *args, **kwargs)
        for key in self._op_impls - before:
            library.refuse_composite(key)
        library.look()
        return out

    return impl
