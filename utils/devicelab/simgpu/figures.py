"""The numbers behind torch.cuda.memory_stats: what is there now, at most, and what came and went."""

from typing import Any


class Figure:
    """Pieces, their bytes, and the bytes that were asked for; each now, at its highest, and in total."""

    __slots__ = ("_base", "_came", "_peak", "bytes", "count", "requested")

    def __init__(self) -> None:
        self.count = self.bytes = self.requested = 0
        self._peak, self._came, self._base = [0, 0, 0], [0, 0, 0], (0, 0, 0)

    @property
    def came(self) -> int:
        """Return how many pieces ever came."""
        return self._came[0]

    @property
    def gone(self) -> int:
        """Return how many pieces ever went."""
        return self._came[0] - (self.count - self._base[0])

    def up(self, count: int, nbytes: int, requested: int = 0) -> None:
        """Count pieces that came."""
        self.count += count
        self.bytes += nbytes
        self.requested += requested
        came, peak = self._came, self._peak
        came[0] += count
        came[1] += nbytes
        came[2] += requested
        if self.bytes > peak[1]:
            peak[1] = self.bytes
        if self.count > peak[0]:
            peak[0] = self.count
        if self.requested > peak[2]:
            peak[2] = self.requested

    def down(self, count: int, nbytes: int, requested: int = 0) -> None:
        """Count pieces that went."""
        self.count -= count
        self.bytes -= nbytes
        self.requested -= requested

    def reset_peak(self) -> None:
        """Let the peak be what is there now."""
        self._peak = [self.count, self.bytes, self.requested]

    def reset_accumulated(self) -> None:
        """Let nothing have come or gone yet."""
        self._came, self._base = [0, 0, 0], (self.count, self.bytes, self.requested)

    def entry(self, which: int) -> dict[str, int]:
        """Return pieces (0), bytes (1) or requested bytes (2) in the form of memory_stats."""
        now, came = (self.count, self.bytes, self.requested)[which], self._came[which]
        return {
            "current": now,
            "peak": self._peak[which],
            "allocated": came,
            "freed": came - (now - self._base[which]),
        }


# name in memory_stats -> (which figure, pieces or bytes or requested bytes); blocks wait for no other stream,
# so active = allocated
NAMES = {
    "allocation": ("used", 0), "allocated_bytes": ("used", 1), "requested_bytes": ("used", 2),
    "active": ("used", 0), "active_bytes": ("used", 1), "segment": ("segments", 0), "reserved_bytes": ("segments", 1),
    "inactive_split": ("split", 0), "inactive_split_bytes": ("split", 1),
}  # fmt: skip


def nested(parts: dict[str, Any]) -> dict[str, Any]:
    """Return memory_stats in torch's nested form for {"all": ..., "small_pool": ..., "large_pool": ...}."""
    stats: dict[str, Any] = {
        name: {part: getattr(holder, figure).entry(which) for part, holder in parts.items()}
        for name, (figure, which) in NAMES.items()
    }
    for name in ("oversize_allocations", "oversize_segments"):
        stats[name] = {"current": 0, "peak": 0, "allocated": 0, "freed": 0}
    return stats | {"max_split_size": -1}
