"""Which line of the user's own code is being run: frames of torch, devicelab and Python itself are passed over."""

import sys
from itertools import islice
from types import CodeType, FrameType

from devicelab.source import LIBRARY, OWNERS, PASSED_OVER, USER, Line, line_at, whose

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
        while frame is not None:
            owner = OWNERS[frame.f_code.co_filename]
            if owner == USER:
                break
            if owner == LIBRARY:
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
    while frame is not None and whose(frame.f_code.co_filename) in PASSED_OVER:
        module = frame.f_globals.get("__name__", "")
        home = (
            "torch.cuda" if module.startswith("devicelab.simgpu") else module
        )  # it stands in for torch.cuda's
        if home.startswith("torch") and not frame.f_code.co_name.startswith("_"):
            name = f"{home}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return name
