"""Numbers that the function draws and then reads: what hangs on them, another draw may do in another time."""

from collections import Counter
from collections.abc import Iterable
from os.path import basename
from typing import Any

import torch
from torch import Tensor

from .unknown import asking_frame

SEEDED = torch.Tag.nondeterministic_seeded
NAMED = 3  # lines named in a note


class Chance:
    """Follows drawn numbers from operator to operator, and counts the lines that read one."""

    def __init__(self) -> None:
        self.read_at: Counter[tuple[str, str]] = Counter()  # (line, what it read)

    def follow(self, func: Any, given: Iterable[Tensor], out: Iterable[Tensor]) -> None:
        """Mark what an operator gives as drawn where it draws, or where it was given something drawn."""
        if SEEDED in func.tags or any(is_drawn(tensor) for tensor in given):
            for tensor in out:
                tensor.untyped_storage()._drawn = True  # type: ignore[attr-defined]

    def read(self, tensor: Tensor, value: Any = "numbers") -> Any:
        """Count a line that reads a drawn value, and return the value."""
        if is_drawn(tensor):
            frame = asking_frame()
            line = f"{basename(frame.f_code.co_filename)}:{frame.f_lineno}"
            self.read_at[line, str(value) if value.__class__ is bool else "a number"] += 1
        return value

    @property
    def note(self) -> str:
        """Return what to know about the lines that read drawn numbers; empty where there is none."""
        if not self.read_at:
            return ""
        lines: dict[str, list[str]] = {}
        for (line, what), count in self.read_at.items():
            lines.setdefault(line, []).append(f"{what} {times(count)}")
        named = [f"{line} ({', '.join(what)})" for line, what in lines.items()]
        more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
        return (
            f"Drawn numbers are looked at: {', '.join(named[:NAMED])}{more}. "
            "This is the time of one draw; another may take another branch."
        )


def is_drawn(tensor: Tensor) -> bool:
    """Say whether a tensor's values hang on drawn numbers."""
    return getattr(tensor.untyped_storage(), "_drawn", False)


def times(count: int) -> str:
    """Return "once", or how many times."""
    return "once" if count == 1 else f"{count:,} times"
