"""Whose code is this, and which line of it? Every instrument that names a line, or passes over frames, asks here."""

import linecache
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import torch

Owner = Literal["torch", "devicelab", "python", "library", "user"]
TORCH: Owner = "torch"
DEVICELAB: Owner = "devicelab"
PYTHON: Owner = "python"
LIBRARY: Owner = "library"
USER: Owner = "user"
PASSED_OVER = (TORCH, DEVICELAB, PYTHON)  # what lies between a user's line, or a library's, and an operator

PACKAGE = Path(__file__).parent
TORCH_FOLDER = Path(torch.__path__[0])
WIDTH = 60  # of a line of source, as it is shown


def _below(*folders: str | Path) -> tuple[str, ...]:
    """Return what the paths of the files in these folders begin with: "torchvision" does not lie in "torch"."""
    return tuple({os.path.normcase(os.path.join(folder, "")) for folder in folders})


# In this order: torch and devicelab lie among the installed libraries, and those in a folder of Python's.
_FOLDERS: tuple[tuple[Owner, tuple[str, ...]], ...] = (
    (DEVICELAB, _below(PACKAGE, PACKAGE.resolve())),
    (TORCH, (*_below(*torch.__path__), "<eval_with_key>")),  # the name that torch.fx gives its code
)
_INSTALLED = re.compile(r"[\\/](?:site|dist)-packages[\\/]")
_COMPILED = re.compile(r"[\\/]torchinductor_[^\\/]*[\\/]")  # what torch.compile writes for itself
# A library that lies outside of site-packages: a checkout of a known project, its own folder below the project's; what torch.hub
# and transformers fetch.
_CHECKOUT = re.compile(
    r"(?i)[\\/](?:transformers|diffusers|accelerate|peft|trl|vllm|sglang|deepspeed|fairseq|detectron2|mmcv|mmengine|mmdetection|xformers"
    r"|bitsandbytes|AutoGPTQ|ultralytics|pytorch|vision|audio|pytorch-lightning|pytorch_geometric|NeMo|Megatron-LM)(?:-[\w.-]*)?[\\/]"
    r"(?:(?:src|python)[\\/])?(?:transformers|diffusers|accelerate|peft|trl|vllm|sglang|deepspeed|fairseq|detectron2|mmcv|mmengine|mmdet"
    r"|xformers|bitsandbytes|auto_gptq|ultralytics|torch|torchvision|torchaudio|lightning|pytorch_lightning|torch_geometric|nemo|megatron)[\\/]"
    r"|[\\/]torch[\\/]hub[\\/][\w.-]+[\\/]|[\\/]transformers_modules[\\/]"
)
_SOURCES = (
    _below(Path(sys.prefix, "src")) if sys.prefix != sys.base_prefix else ()
)  # where pip puts editable checkouts
_STANDARD = (
    *_below(*(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))),
    "<frozen ",
    "<__array_function__",
)
# The same in a path of another machine, where the folders above are elsewhere.
_ELSEWHERE: tuple[tuple[Owner, re.Pattern[str]], ...] = (
    (
        TORCH,
        re.compile(
            r"[\\/](?:site|dist)-packages[\\/]torch[\\/]|[\\/]torch[\\/](?:(?:nn|optim)[\\/]|_)|^code[\\/]__torch__"
        ),
    ),
    (DEVICELAB, re.compile(r"[\\/]devicelab[\\/]")),
    (LIBRARY, _INSTALLED),
    (
        LIBRARY,
        re.compile(
            r"[\\/](?:bin|Scripts)[\\/](?:torchrun|accelerate|deepspeed|lightning|fabric|pytest|ray)(?:\.exe)?$"
        ),
    ),
    (PYTHON, re.compile(r"[\\/]lib[\\/]python\d[.\d]*[\\/]|\\Lib\\")),
)
_CELL = re.compile(
    r"[<\\/]ipython-input-(?:(?P<number>\d+)-)?[0-9a-f]+(?:>|\.py)$"  # of old IPython, and of Colab
    r"|[\\/]ipykernel_\d+[\\/]\d+\.py$|^<ipython"
)


class _Owners(dict[str, Owner]):
    """The owners of the files that were met; a look-up costs little, for it is made for each frame of each operator."""

    def __missing__(self, filename: str) -> Owner:
        owner = self[filename] = _owner(filename)
        return owner


OWNERS = _Owners()


def whose(filename: str) -> Owner:
    """Return whose code a file of this machine holds; cells, and code without a file, are the user's."""
    return OWNERS[filename]


def _owner(filename: str) -> Owner:
    owner = _by_folder(filename)
    return LIBRARY if owner == USER and _is_fetched(filename) else owner


def _by_folder(filename: str) -> Owner:
    path = os.path.normcase(filename)
    for owner, folders in _FOLDERS:
        if path.startswith(folders):
            return owner
    if _INSTALLED.search(path):
        return LIBRARY
    if _COMPILED.search(path):
        return TORCH
    return PYTHON if path.startswith(_STANDARD) else USER


def is_checkout(filename: str) -> bool:
    """Say whether a file seems to be a library's that lies outside of site-packages."""
    return _CHECKOUT.search(filename) is not None


def _is_fetched(filename: str) -> bool:
    """Say whether a file belongs to a checkout that is only used here: who works on one runs a script of its own."""
    script = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    return (is_checkout(filename) and not is_checkout(script)) or os.path.normcase(filename).startswith(
        _SOURCES
    )


def whose_elsewhere(filename: str) -> Owner:
    """Return whose code a file is that a pasted traceback names, which may come from any machine."""
    owner = _by_folder(filename)  # not kept: a text can name any number of files
    if owner not in (USER, LIBRARY):
        return owner
    return next((other for other, shape in _ELSEWHERE if shape.search(filename)), owner)


def is_cell(filename: str) -> bool:
    """Say whether a file is the name that IPython gives to a cell."""
    return _CELL.search(filename) is not None


def name_of(filename: str) -> str:
    """Return the file's own name, "cell [5]" for a notebook's cell, or "your code" where there is no file."""
    cell = _CELL.search(filename)
    if cell is not None:
        number = cell["number"] or _cell_number(filename)
        return f"cell [{number}]" if number else "the cell"
    return re.split(r"[\\/]", filename)[-1] if not filename.startswith("<") else "your code"


def _cell_number(filename: str) -> int | None:
    """Ask IPython, if it runs, which cell was compiled under this name."""
    shell = getattr(sys.modules.get("IPython.core.getipython"), "get_ipython", lambda: None)()
    return getattr(getattr(shell, "compile", None), "_filename_map", {}).get(filename)


def inside(filename: str) -> str:
    """Return a library's file as seen from the folder that it is installed in: "torch/nn/functional.py"."""
    path = filename[len(str(TORCH_FOLDER.parent)) + 1 :] if whose(filename) == TORCH else filename
    return _INSTALLED.split(path)[-1].replace(os.sep, "/")


@dataclass(frozen=True, order=True)
class Line:
    """One line of source: the file as Python names it, the line's number from 1, and its text.

    `via` is the installed library's line that it led to, such as "transformers/trainer.py:1900", where there is one.
    """

    file: str
    number: int
    text: str = ""
    via: str = ""

    @property
    def place(self) -> str:
        """The line for people: "train.py:42", or "line 3" in a notebook cell."""
        if is_cell(self.file) or self.file.startswith("<"):
            return f"line {self.number}"
        return f"{Path(self.file).name}:{self.number}"

    def __str__(self) -> str:
        text = self.text if len(self.text) <= WIDTH else f"{self.text[: WIDTH - 1]}…"
        through = f", through {self.via}" if self.via else ""
        return f"{self.place} `{text}`{through}" if text else f"{self.place}{through}"


def lines_of(filename: str, variables: dict[str, Any] | None = None) -> list[str]:
    """Return a file's lines as they are now, without line ends; `variables` are those of its module, for code in archives."""
    linecache.checkcache(filename)
    return [line.rstrip("\r\n") for line in linecache.getlines(filename, variables)]


def line_at(
    filename: str, number: int, via: tuple[str, int] | None = None, variables: dict[str, Any] | None = None
) -> Line:
    """Return a line with its text, which is empty where the source is not at hand."""
    linecache.checkcache(filename)
    text = linecache.getline(filename, number, variables).strip()
    return Line(filename, number, text, f"{inside(via[0])}:{via[1]}" if via else "")


def line_here() -> Line | None:
    """Return the innermost line of the user's own code that is being run, else of a library's."""
    library, frame = None, sys._getframe(1)
    while frame is not None:
        owner = OWNERS[frame.f_code.co_filename]
        if owner == USER:
            return line_at(frame.f_code.co_filename, frame.f_lineno, variables=frame.f_globals)
        if owner == LIBRARY and library is None:
            library = frame
        frame = frame.f_back  # type: ignore[assignment]
    return line_at(library.f_code.co_filename, library.f_lineno) if library is not None else None


def own_lines(error: BaseException) -> list[Line]:
    """Return the lines of the user's own code that an error went through, the innermost one last."""
    return [
        line_at(frame.f_code.co_filename, number or 0, variables=frame.f_globals)
        for frame, number in traceback.walk_tb(error.__traceback__)
        if whose(frame.f_code.co_filename) == USER
    ]


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, then those that led to it, as Python shows them."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        hidden = following.__suppress_context__
        following = following.__cause__ or (None if hidden else following.__context__)


_OPERATORS = torch._ops.__file__


def without(trace: TracebackType | None, hides: Callable[[str], bool]) -> TracebackType | None:
    """Return a traceback without the files that `hides` names, nor the lines by which they call torch's operators."""
    kept: list[TracebackType] = []
    below = False
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        if hides(filename):
            below = True
        elif not (below and filename == _OPERATORS):
            below = False
            kept.append(trace)
        trace = trace.tb_next
    shown = None
    for frame in reversed(kept):
        shown = TracebackType(shown, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return shown
