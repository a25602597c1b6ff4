"""Which line of the user's own code is being run: frames of torch, devicelab and Python itself are passed over."""

import linecache
import os
import sys
import sysconfig
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType

import torch

_PACKAGE = str(Path(__file__).parents[1])
_HIDDEN = (str(torch.__path__[0]), _PACKAGE, "<frozen", "<__array_function__", "<eval_with_key>")
_STANDARD = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})
_INSTALLED = ("site-packages", "dist-packages")
HIDDEN, LIBRARY, USER = 0, 1, 2
WIDTH = 60  # of a line of source, as it is shown
_kinds: dict[str, int] = {}


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
        if "ipykernel_" in self.file or self.file.startswith("<"):
            return f"line {self.number}"
        return f"{Path(self.file).name}:{self.number}"

    def __str__(self) -> str:
        text = self.text if len(self.text) <= WIDTH else f"{self.text[: WIDTH - 1]}…"
        through = f", through {self.via}" if self.via else ""
        return f"{self.place} `{text}`{through}" if text else f"{self.place}{through}"


def kind_of(filename: str) -> int:
    """Return whether a file is torch's or Python's own (HIDDEN), an installed LIBRARY, or the USER's."""
    kind = _kinds.get(filename)
    if kind is None:
        kind = _kinds[filename] = _kind_of(filename)
    return kind


def _kind_of(filename: str) -> int:
    if filename.startswith(_HIDDEN):
        return HIDDEN
    if any(word in filename for word in _INSTALLED):
        return LIBRARY
    return HIDDEN if filename.startswith(_STANDARD) else USER


def line_at(filename: str, number: int, via: tuple[str, int] | None = None) -> Line:
    """Return a line with its text, which is empty where the source is not at hand."""
    text = linecache.getline(filename, number).strip()
    return Line(filename, number, text, f"{_inside(via[0])}:{via[1]}" if via else "")


def _inside(filename: str) -> str:
    """Return a library's file as seen from the folder that it is installed in."""
    for word in _INSTALLED:
        filename = filename.rpartition(f"{word}{os.sep}")[2]
    return filename.replace(os.sep, "/")


Instruction = tuple[CodeType, int]


class Places:
    """Numbers the places in the user's code that are met, at most `most` of them; place 0 stands for all others.

    A place is a code object with the offset of an instruction: reading the line's number is left until the end,
    because it is slow.
    """

    def __init__(self, most: int = 20_000):
        self.most = most
        self._numbers: dict[tuple[int, ...], int] = {}
        self._codes: list[tuple[Instruction, Instruction | None] | None] = [None]

    def here(self, depth: int = 2) -> int:
        """Return the place of the user's innermost frame, else of a library's; 0 where there is neither."""
        frame: FrameType | None = sys._getframe(depth)
        library = None
        known = _kinds.get
        while frame is not None:
            kind = known(frame.f_code.co_filename)
            if kind != HIDDEN:
                if kind is None:
                    kind = kind_of(frame.f_code.co_filename)
                if kind == USER:
                    break
                if kind == LIBRARY:
                    library = library or frame
            frame = frame.f_back
        if frame is None:
            frame, library = library, None
        if frame is None:
            return 0
        key: tuple[int, ...] = (id(frame.f_code), frame.f_lasti)
        if library is not None:
            key = (*key, id(library.f_code), library.f_lasti)
        return self._numbers.get(key) or self._add(key, frame, library)

    def _add(self, key: tuple[int, ...], frame: FrameType, library: FrameType | None) -> int:
        if len(self._codes) > self.most:
            return 0
        via = (library.f_code, library.f_lasti) if library is not None else None
        self._codes.append(((frame.f_code, frame.f_lasti), via))  # a code that is kept keeps its id
        self._numbers[key] = len(self._codes) - 1
        return self._numbers[key]

    def line(self, place: int) -> Line | None:
        """Return the line of a place."""
        found = self._codes[place]
        if found is None:
            return None
        own, via = found
        return line_at(*_numbered(*own), _numbered(*via) if via else None)


def _numbered(code: CodeType, offset: int) -> tuple[str, int]:
    """Return the file and the number of the line that an instruction belongs to."""
    number = next(islice(code.co_positions(), offset // 2, None))[0]
    return code.co_filename, number or code.co_firstlineno


def caller_name(depth: int = 2) -> str:
    """Return the name of the function of torch that the user called, such as "torch.cuda.synchronize"."""
    frame: FrameType | None = sys._getframe(depth)
    name = ""
    while frame is not None and kind_of(frame.f_code.co_filename) == HIDDEN:
        module = frame.f_globals.get("__name__", "")
        home = (
            "torch.cuda" if module.startswith("devicelab.simgpu") else module
        )  # it stands in for torch.cuda's
        if home.startswith("torch") and not frame.f_code.co_name.startswith("_"):
            name = f"{home}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return name
