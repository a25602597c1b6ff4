"""The numbers behind torch.cuda.memory_stats: what is there now, at most, and what came and went."""

from typing import Any


class Figure:
    """Pieces, their bytes, and the bytes that were asked for; each now, at its highest, and in total."""

    __slots__ = ("base", "bytes", "came", "came_bytes", "came_requested", "count", "peak", "peak_bytes", "peak_requested",
                 "requested")  # fmt: skip

    def __init__(self) -> None:
        self.count = self.bytes = self.requested = 0
        self.peak = self.peak_bytes = self.peak_requested = 0
        self.came = self.came_bytes = self.came_requested = 0
        self.base = (0, 0, 0)

    @property
    def gone(self) -> int:
        """Return how many pieces went."""
        return self.came - (self.count - self.base[0])

    def up(self, nbytes: int, requested: int = 0) -> None:
        """Count a piece that came."""
        self.count += 1
        self.bytes += nbytes
        self.requested += requested
        self.came += 1
        self.came_bytes += nbytes
        self.came_requested += requested
        if self.count > self.peak:
            self.peak = self.count
        if self.bytes > self.peak_bytes:
            self.peak_bytes = self.bytes
        if self.requested > self.peak_requested:
            self.peak_requested = self.requested

    def down(self, nbytes: int, requested: int = 0) -> None:
        """Count a piece that went."""
        self.count -= 1
        self.bytes -= nbytes
        self.requested -= requested

    def reset_peak(self) -> None:
        """Let the peak be what is there now."""
        self.peak, self.peak_bytes, self.peak_requested = self.count, self.bytes, self.requested

    def reset_accumulated(self) -> None:
        """Let nothing have come or gone yet."""
        self.came = self.came_bytes = self.came_requested = 0
        self.base = (self.count, self.bytes, self.requested)

    def entry(self, which: int) -> dict[str, int]:
        """Return pieces (0), bytes (1) or requested bytes (2) in the form of memory_stats."""
        now, peak, came = (
            (self.count, self.peak, self.came),
            (self.bytes, self.peak_bytes, self.came_bytes),
            (self.requested, self.peak_requested, self.came_requested),
        )[which]
        return {"current": now, "peak": peak, "allocated": came, "freed": came - (now - self.base[which])}


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
