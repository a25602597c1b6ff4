"""DEVICELAB_GPU=off in a notebook: a cell that cannot run without a GPU says so in one sentence instead of failing.

Nothing is computed in its place: there is no silent fallback to the CPU. Errors of the learner's own stay errors.
"""

import ast
import os
import re
import sys
from collections.abc import Callable, Iterator
from dis import get_instructions
from types import CodeType
from typing import Any

import torch

from .expect import ExpectedErrorMissing

SKIPPED, REST = "This cell is skipped", "The rest of this cell is skipped"
NEEDS_GPU = "{what}: it needs a GPU, and DEVICELAB_GPU is off."
NEEDS_NAME = "{what}: it needs {name!r}, which a skipped cell would have made."
NO_ERROR = "The expected error did not come. Errors about devices need a GPU, and DEVICELAB_GPU is off."
VISIBLE = (
    "DEVICELAB_GPU is off, but this kernel had asked CUDA for its GPUs before this line, so they cannot be hidden any "
    "more. To hide them, restart the kernel and run this cell first, or set CUDA_VISIBLE_DEVICES to nothing."
)
# What torch says where there is no GPU: a build for the CPU, one whose GPUs are hidden, and the stand-ins for both.
WORDS = re.compile(
    r"Torch not compiled with CUDA enabled|No CUDA GPUs are available|Found no NVIDIA driver"
    r"|no NVIDIA driver on your system|Cannot access accelerator device when none is available"
    r"|CUDA device but torch\.cuda\.is_available\(\) is False|Cannot get CUDA generator"
    r"|Tried to instantiate dummy base class|'torch\._C' has no attribute '_cuda|needs? (?:an? )?(?:NVIDIA )?GPU"
    r"|requires CUDA support|requires a CUDA or other accelerator|Are you sure you have a CUDA build"
    r"|no CUDA-capable device|no usable GPU"
    r"|CUDA driver version is insufficient|invalid argument to reset_peak_memory_stats"  # a CUDA build without a driver
)


def hide_gpus() -> str | None:
    """Hide the NVIDIA GPUs from this kernel; return what to say where that is too late, else None."""
    if not torch.backends.cuda.is_built():
        return None
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return VISIBLE if torch.cuda.is_available() else None


def skip_cells() -> bool:
    """Switch the sentences on in this notebook's kernel, once; return whether there is one."""
    shell = _shell()
    if shell is None:
        return False
    if not isinstance(getattr(shell.run_code, "__self__", None), _Skipper):
        _Skipper(shell).install()
    return True


def run_cells(shell: Any) -> None:
    """Switch the sentences off again in this shell; where they are off nothing happens."""
    skipper = getattr(shell.run_code, "__self__", None)
    if isinstance(skipper, _Skipper):
        skipper.uninstall()


class _Skipper:
    """Stands before the shell's `run_code`, and decides about each error that a cell ends with."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.missing: set[str] = set()  # names that skipped cells would have made
        self.source = ""
        self.before: set[str] = set(shell.user_ns)
        self.ran = 0  # statements of this cell that ran to their end
        self.skipped = False

    def install(self) -> None:
        self.original_run, self.original_show = self.shell.run_code, self.shell.showtraceback
        self.shell.run_code, self.shell.showtraceback = self.run, self.show
        self.shell.events.register("pre_run_cell", self.begin)

    def uninstall(self) -> None:
        del self.shell.run_code, self.shell.showtraceback
        self.shell.events.unregister("pre_run_cell", self.begin)

    def begin(self, info: Any) -> None:
        """Note what there is before a cell runs."""
        self.source, self.before, self.ran = info.raw_cell, set(self.shell.user_ns), 0

    async def run(self, code: CodeType, result: Any = None, *, async_: bool = False) -> bool:
        """Run a statement of a cell as the shell does; a skipped one is no error, and ends the cell."""
        self.skipped = False
        failed = await self.original_run(code, result, async_=async_)
        self.ran += not failed
        if self.skipped:
            self._forget(code)
            if result is not None:
                result.error_in_exec = None
        return failed

    def show(self, *arguments: Any, **options: Any) -> None:
        """Print the one sentence, or the traceback of every other error."""
        missing = self.missing - set(self.shell.user_ns)
        sentence = reason(sys.exc_info()[1], missing, REST if self.ran else SKIPPED)
        if sentence is None:
            self.original_show(*arguments, **options)
            return
        self.skipped = True
        print(sentence)

    def _forget(self, code: CodeType) -> None:
        """Remember the names that this cell would have made; a half-made one of the failing statement goes.

        So does a default device that is not there: the line that would have put it back was skipped.
        """
        try:
            torch.empty(0)
        except Exception:
            torch.set_default_device(None)
        stored = {i.argval for i in get_instructions(code) if i.opname in ("STORE_NAME", "STORE_GLOBAL")}
        for name in stored - self.before:
            self.shell.user_ns.pop(name, None)
        self.missing |= (names_made(self.shell.transform_cell(self.source)) | stored) - self.before


def reason(error: BaseException | None, missing: set[str], what: str = SKIPPED) -> str | None:
    """Return the sentence for an error that came only because there is no GPU, or None for every other one.

    `missing` are the names that skipped cells would have made; `what` begins the sentence.
    """
    if isinstance(error, ExpectedErrorMissing) and error.__cause__ is None:
        return NO_ERROR
    for one in _chain(error):
        if isinstance(one, NameError) and one.name in missing:
            return NEEDS_NAME.format(what=what, name=one.name)
        if WORDS.search(str(one)):
            return NEEDS_GPU.format(what=what)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def names_made(source: str) -> set[str]:
    """Return the names that a cell's own statements bind, those inside its functions and classes left out."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()
    return set(_bound(tree.body))


def _bound(nodes: list[Any]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif not isinstance(node, ast.Lambda):
            yield from _bound(list(ast.iter_child_nodes(node)))


def _shell() -> Any:
    get: Callable[[], Any] = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    return get()
