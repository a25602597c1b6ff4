"""What the allocator remembers where _record_memory_history asks it to: lines of Python, and what came and went.

Its rules are those of torch/csrc/cuda/memory_snapshot.cpp and of record_trace in c10/cuda/CUDACachingAllocator.cpp. Frames of
C++ are not among them.
"""

import sys
import time
from collections import deque
from collections.abc import Sequence
from types import FrameType
from typing import Any

HERE = __package__.rpartition(".")[0]
NEVER, STATE, ALLOC, ALL = range(4)
CONTEXTS = {None: NEVER, "state": STATE, "alloc": ALLOC, "all": ALL}
Frames = tuple[tuple[str, int, str], ...]  # file, line, function; the innermost first


class History:
    """What one card's allocator records; at first nothing."""

    def __init__(self) -> None:
        self.enabled, self.context = False, NEVER
        self.skipped: frozenset[str] = frozenset()
        self.entries: deque[dict[str, Any]] = deque()
        self.metadata = ""

    def record(
        self, enabled: bool, context: int, most: int, clear: bool = False, skipped: Sequence[str] = ()
    ) -> None:
        """Record from now on, or no more; the newest `most` entries are kept."""
        kept = () if clear or not enabled else self.entries
        self.entries = deque(kept, max(1, min(most, sys.maxsize)))
        self.enabled, self.context = enabled, context if enabled else NEVER
        self.skipped = frozenset(skipped)

    def where(self, least: int = STATE) -> Frames:
        """Return the lines of Python that lead here, if such are recorded."""
        return frames() if self.context >= least else ()

    def add(self, action: str, address: int, size: int, where: Frames = ()) -> None:
        """Note what the allocator did."""
        if not self.enabled or action in self.skipped:
            return
        entry: dict[str, Any] = {"frames": listed(where)} if self.context >= ALLOC and where else {}
        place = {"device_free" if action == "oom" else "addr": address}
        self.entries.append(
            entry
            | {"action": action, **place, "size": size, "stream": 0, "time_us": time.time_ns() // 1000}
            | {"pool_id": (0, 0), "compile_context": "N/A", "user_metadata": self.metadata}
        )


def frames() -> Frames:
    """Return the frames of Python that lead here, without this package's own."""
    frame: FrameType | None = sys._getframe(1)
    found = []
    while frame is not None:
        if not frame.f_globals.get("__name__", "").startswith(HERE):
            found.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return tuple(found)


def listed(where: Frames) -> list[dict[str, Any]]:
    """Return frames as a snapshot holds them."""
    return [{"name": name, "filename": filename, "line": line} for filename, line, name in where]
