"""Modules of torch that are loaded while a simulation runs: as torch wrote them, and replaced in once they are there.

Some keep what they find as they are loaded (torch._dynamo, which takes longer than torch itself), so what is replaced is put
back meanwhile. Other threads would see that: where there are any, torch._dynamo was loaded before, and nothing is put back.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.machine.patches import Patches
from devicelab.simgpu.machine.undivided import undivided

COMPILER = "torch._dynamo"
TESTS = "torch.testing"  # asks for a card as it is loaded, to know which tests to make: it shall find the simulated one


def is_alone() -> bool:
    """Whether no other thread of Python runs."""
    return len(sys._current_frames()) == 1


def load() -> None:
    """Load what must not be loaded while others run, unless it is there or just being loaded."""
    if COMPILER not in sys.modules:
        import_module(COMPILER)


class Finder(MetaPathFinder):
    """Finds torch's modules as the other finders do, and has them run without what a simulation has replaced."""

    def __init__(self, patches: Patches):
        self._patches, self._is_loading = patches, False

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the others find, for modules of torch (but its tests) that others do not load just now."""
        if self._is_loading or not name.startswith("torch.") or name.startswith(TESTS) or not is_alone():
            return None
        others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and hasattr(spec.loader, "__dict__"):
            self._follow(spec.loader)
        return spec

    def _follow(self, loader: Any) -> None:
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module
            if self._is_loading:
                run(module)
                return
            with undivided():
                self._is_loading, before = True, set(sys.modules)
                try:
                    # In 2.8 torch._dynamo runs operators as it is loaded: not the program's, nor on its default device.
                    with self._patches.lifted(), _disable_current_modes(), torch.device("cpu"):
                        run(module)
                finally:
                    self._is_loading = False
                self._patches.arrived(set(sys.modules) - before | {module.__name__})

        loader.exec_module = exec_module


def starting(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what starts a thread, with loaded before what must not be loaded beside it."""

    @functools.wraps(original)
    def start(*args: Any, **kwargs: Any) -> Any:
        load()
        return original(*args, **kwargs)

    return start


def install(machine: Machine) -> None:
    """Find torch's modules so until the simulation stops."""
    if not is_alone():
        load()
    finder = Finder(machine.patches)
    sys.meta_path.insert(0, finder)
    machine.on_stop(lambda: sys.meta_path.remove(finder))
    machine.patches.wrap("threading.Thread.start", starting)
