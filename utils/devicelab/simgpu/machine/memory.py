"""The simulated card's memory: who holds how much, as PyTorch's caching allocator counts it.

Sizes and rules follow c10/cuda/CUDACachingAllocator.cpp: blocks in steps of 512 bytes, segments of 2 MiB for
small and 20 MiB for middling requests, best fit, split, merged again when freed. Only the numbers are kept;
the values lie in the host's memory.
"""

import weakref
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any

import torch

from devicelab.errors import check_range
from devicelab.gpus import Card

from .counts import Figure, nested
from .history import ALL, Frames, History, listed
from .settings import MIB, STEP, VARIABLE, Settings

SMALL = MIB  # requests up to this come from the pool of small blocks
EXABYTE = 2**60  # c10/cuda/CUDACachingAllocator.cpp, one_exa_bytes
SMALL_SEGMENT, MIDDLE_SEGMENT = 2 * MIB, 20 * MIB
LARGE, LARGE_STEP = 10 * MIB, 2 * MIB  # requests from here on get a segment of their own, in such steps
# The CUDA context of a process, outside of PyTorch's memory (seen on an RTX 4090, docs/sources.md).
CONTEXT = 386 * MIB


def rounded(nbytes: int) -> int:
    """Return the size that a request of `nbytes` occupies."""
    return max(STEP, -(-nbytes // STEP) * STEP)


def segment_size(size: int) -> int:
    """Return how much is reserved on the card where a block of `size` finds no room."""
    if size <= SMALL:
        return SMALL_SEGMENT
    return MIDDLE_SEGMENT if size < LARGE else -(-size // LARGE_STEP) * LARGE_STEP


def words(nbytes: int) -> str:
    """Return a size as the allocator writes it: "512 bytes", "1.50 KiB", "14.74 GiB"."""
    if nbytes < 1024:
        return f"{nbytes} bytes"
    for unit, size in (("KiB", 2**10), ("MiB", 2**20)):
        if nbytes < 1024 * size:
            return f"{nbytes / size:.2f} {unit}"
    return f"{nbytes / 2**30:.2f} GiB"


class Block:
    """A piece of a segment; `before` and `after` are its neighbours in the same segment."""

    __slots__ = ("address", "after", "before", "frames", "free", "made", "pool", "requested", "size")

    def __init__(
        self,
        pool: "Pool",
        address: int,
        size: int,
        before: "Block | None" = None,
        after: "Block | None" = None,
    ):
        self.pool, self.address, self.size, self.before, self.after = pool, address, size, before, after
        self.requested, self.free = 0, True
        self.frames: Frames = ()
        self.made: Frames = ()  # of a segment's first block: where the segment came from

    @property
    def split(self) -> bool:
        """Return whether the block is a part of its segment only."""
        return self.before is not None or self.after is not None


class Token:
    """Rides on the storage that occupies a block: the block is freed when it dies."""

    __slots__ = ("__weakref__",)


class Watch(weakref.ref[Token]):
    """Puts itself among the `freed` when its token dies.

    Without a line of Python: this happens in any thread, in the middle of anything, and a Ctrl-C that met such a line would be
    lost.
    """

    __slots__ = ("block", "frames")
    block: Block
    frames: Frames


class Pool:
    """The free blocks of one kind, smallest first, and the figures of memory_stats for it."""

    def __init__(self, rest: int):
        self.rest = rest  # a smaller remainder stays with its block
        self.free: list[tuple[int, int, Block]] = []  # size, address (no two alike), block
        self.ready: dict[int, list[Block]] = {}  # freed, not yet merged: for requests of just that size
        self.used, self.segments, self.split = Figure(), Figure(), Figure()

    def fit(self, size: int, settings: Settings) -> Block | None:
        """Take the smallest free block that `size` fits into, unless it is too large to be given away."""
        place = bisect_left(self.free, (size,))
        if place == len(self.free) or settings.refuses(size, self.free[place][0]):
            return None
        return self.free.pop(place)[2]

    def give(self, block: Block) -> None:
        """Have a free block."""
        insort(self.free, (block.size, block.address, block))

    def drop(self, block: Block) -> None:
        """Lose a free block."""
        self.free.pop(bisect_left(self.free, (block.size, block.address)))


class Ledger:
    """What is allocated and reserved on one simulated card."""

    def __init__(self, card: Card, index: int = 0):
        self.card, self.index = card, index
        self.small, self.large = Pool(STEP), Pool(SMALL + 1)
        self.used, self.segments, self.split = Figure(), Figure(), Figure()
        self.allowed: int | None = None  # bytes, where a fraction was set
        self.settings, self.history = Settings(), History()
        self.observers: list[Callable[[int, int, int, int], object]] = []  # told of memory that ran out
        self.ooms = self.retries = self.waits = 0
        self._freed: deque[Watch] = deque()
        self._held: dict[int, Token] = {}
        self._watches: dict[int, Watch] = {}  # of the blocks that are in use
        self._next_address = 0x7F0000000000
        self._lock = Lock()

    def take(self, nbytes: int) -> Token | None:
        """Occupy `nbytes` until the returned token dies; nothing for 0 bytes. Raises torch.OutOfMemoryError in CUDA's words."""
        if nbytes <= 0:
            return None
        size = self.settings.rounded(nbytes) if self.settings.divisions else -(-nbytes // STEP) * STEP
        pool = self.small if size <= SMALL else self.large
        where = self.history.where() if self.history.context else ()
        try:
            with self._lock:
                if self._freed:
                    self._collect()
                ready = pool.ready.get(size)
                block = ready.pop() if ready else self._find(pool, size, where)
                block.requested, block.frames = nbytes, where
                self.used.up(block.size, nbytes)
                pool.used.up(block.size, nbytes)
                if self.history.enabled:
                    self.history.add("alloc", block.address, nbytes, where)
        except torch.OutOfMemoryError:
            self._tell(size, where)
            raise
        token = Token()
        watch = Watch(token, self._freed.append if self.history.context < ALL else self._free)
        watch.block, watch.frames = block, ()
        self._watches[id(watch)] = watch  # nothing else keeps it
        return token

    def hold(self, nbytes: int) -> int:
        """Occupy memory that no tensor has, until `drop`, and return its address; 0 for no bytes."""
        token = self.take(nbytes)
        if token is None:
            return 0
        (watch,) = weakref.getweakrefs(token)
        address = watch.block.address
        self._held[address] = token
        return address

    def drop(self, address: int) -> bool:
        """Give back what `hold` occupied, if it did."""
        return self._held.pop(address, None) is not None

    def _free(self, watch: Watch) -> None:
        """Free a block, and remember which line did so."""
        try:
            watch.frames = self.history.where(ALL)
        finally:
            self._freed.append(watch)

    def _tell(self, size: int, where: Frames) -> None:
        """Tell whoever wants to know of memory that ran out; they may read the ledger."""
        left = max(0, self.card.total_memory - CONTEXT - self.segments.bytes)
        self.history.add("oom", left, size, where)
        for observer in self.observers:
            observer(self.index, size, self.card.total_memory if self.allowed is None else self.allowed, left)

    def _find(self, pool: Pool, size: int, where: Frames = ()) -> Block:
        """Find the smallest free block of at least `size`, or get a new segment, and cut off what is too much."""
        block = pool.fit(size, self.settings)
        if block is None and any(pool.ready.values()):
            self._merge_all()
            block = pool.fit(size, self.settings)
        if block is None:
            block = self._reserve(pool, size)
            block.made = where
            if self.history.enabled:
                self.history.add("segment_alloc", block.address, block.size, where)
        elif block.split:
            pool.split.down(block.size)
            self.split.down(block.size)
        if block.size - size >= pool.rest and size < self.settings.max_split:
            self._cut(block, size)
        block.free = False
        return block

    def check(self, nbytes: int) -> None:
        """Raise torch.OutOfMemoryError where `take` would, and count nothing."""
        if nbytes >= EXABYTE:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more than 1EB memory.")
        size = self.settings.rounded(nbytes)
        pool = self.small if size <= SMALL else self.large
        try:
            with self._lock:
                self._merge_all()
                if bisect_left(pool.free, (size,)) == len(pool.free):
                    self._make_room(segment_size(size))
        except torch.OutOfMemoryError:
            self._tell(size, self.history.where())
            raise

    def _cut(self, block: Block, size: int) -> None:
        """Leave `size` to the block and give the rest back."""
        pool = block.pool
        rest = Block(pool, block.address + size, block.size - size, block, block.after)
        if rest.after is not None:
            rest.after.before = rest
        block.after, block.size = rest, size
        pool.give(rest)
        pool.split.up(rest.size)
        self.split.up(rest.size)

    def _collect(self) -> None:
        """Count what was freed, and keep it ready: merging waits until it is needed or looked at."""
        while self._freed:
            watch = self._freed.popleft()
            del self._watches[id(watch)]
            block = watch.block
            pool, size = block.pool, block.size
            self.used.down(size, block.requested)
            pool.used.down(size, block.requested)
            if self.history.enabled:
                for action in ("free_requested", "free_completed"):
                    self.history.add(action, block.address, block.requested, watch.frames or block.frames)
            block.requested, block.frames = 0, ()
            pool.ready.setdefault(size, []).append(block)

    def _merge_all(self) -> None:
        """Count and merge everything that was freed."""
        self._collect()
        for pool in (self.small, self.large):
            for blocks in pool.ready.values():
                for block in blocks:
                    self._release(block)
            pool.ready.clear()

    def _release(self, block: Block) -> None:
        """Put a block back and merge it with its free neighbours."""
        pool = block.pool
        block.free = True
        for other in (block.before, block.after):
            if other is not None and other.free:
                pool.drop(other)
                pool.split.down(other.size)
                self.split.down(other.size)
                block = _merge(other, block) if other is block.before else _merge(block, other)
        pool.give(block)
        if block.split:
            pool.split.up(block.size)
            self.split.up(block.size)

    def _reserve(self, pool: Pool, size: int) -> Block:
        """Get a new segment from the card."""
        wanted = segment_size(size)
        self._make_room(wanted)
        self.segments.up(wanted)
        pool.segments.up(wanted)
        address, self._next_address = self._next_address, self._next_address + wanted
        return Block(pool, address, wanted)

    def _make_room(self, wanted: int) -> None:
        if wanted <= self._room:
            return
        self.retries += 1
        self._give_back()
        if wanted > self._room:
            self.ooms += 1
            error = torch.OutOfMemoryError(self._words(wanted))
            error.simulated = self.card.name  # type: ignore[attr-defined]  # the origin of its figures
            raise error

    @property
    def _room(self) -> int:
        """Bytes that new segments may take."""
        left = self.card.total_memory - CONTEXT - self.segments.bytes
        return left if self.allowed is None else min(left, self.allowed - self.segments.bytes)

    def _give_back(self) -> None:
        self.waits += 1  # for all streams, before cached blocks are released (CUDACachingAllocator.cpp)
        for pool in (self.small, self.large):
            whole = [entry[2] for entry in pool.free if not entry[2].split]
            pool.free = [entry for entry in pool.free if entry[2].split]
            for block in whole:
                pool.segments.down(block.size)
                self.segments.down(block.size)
                if self.history.enabled:
                    where = self.history.where(ALL) or block.made
                    self.history.add("segment_free", block.address, block.size, where)

    def empty_cache(self) -> None:
        """Give segments without any block in use back to the card."""
        with self._lock:
            self._merge_all()
            self._give_back()

    def limit(self, fraction: float) -> None:
        """Let PyTorch have no more than this fraction of the card."""
        check_range("fraction", fraction, 0.0, 1.0)
        self.allowed = int(self.card.total_memory * fraction)

    def info(self) -> tuple[int, int]:
        """Return (free, total) bytes of the card, as the driver would say."""
        with self._lock:
            self._merge_all()
        return max(0, self.card.total_memory - CONTEXT - self.segments.bytes), self.card.total_memory

    def stats(self) -> dict[str, Any]:
        """Return what torch.cuda.memory_stats_as_nested_dict gives."""
        with self._lock:
            self._merge_all()
            parts = {"all": self, "small_pool": self.small, "large_pool": self.large}
            more = {
                "num_alloc_retries": self.retries,
                "num_ooms": self.ooms,
                "num_sync_all_streams": self.waits,
            }
            return (
                nested(parts)
                | more
                | {"num_device_alloc": self.segments.came, "num_device_free": self.segments.gone}
            )

    def snapshot(self) -> list[dict[str, Any]]:
        """Return the segments with their blocks, as torch.cuda.memory_snapshot does; all of them are the default stream's."""
        with self._lock:
            self._merge_all()
            used = [watch.block for watch in self._watches.values()]
            free = [entry[2] for pool in (self.small, self.large) for entry in pool.free]
            heads = [block for block in (*used, *free) if block.before is None]
            return [self._segment(head) for head in sorted(heads, key=lambda head: head.address)]

    def _segment(self, head: Block) -> dict[str, Any]:
        blocks, block = [], head
        while block is not None:
            blocks.append(block)
            block = block.after  # type: ignore[assignment]
        used = sum(block.size for block in blocks if not block.free)
        return {
            "device": self.index,
            "address": head.address,
            "total_size": sum(block.size for block in blocks),
            "allocated_size": used,
            "active_size": used,
            "requested_size": sum(block.requested for block in blocks if not block.free),
            "stream": 0,
            "segment_type": "small" if head.pool is self.small else "large",
            "segment_pool_id": (0, 0),
            "is_expandable": False,
            "frames": listed(head.made),
            "blocks": [
                {
                    "address": block.address,
                    "size": block.size,
                    "requested_size": block.requested,
                    "state": "inactive" if block.free else "active_allocated",
                    "frames": listed(block.frames),
                }
                for block in blocks
            ],
        }

    def reset_peaks(self) -> None:
        """Forget the peaks."""
        with self._lock:
            self._merge_all()
            for part in (self, self.small, self.large):
                for figure in (part.used, part.segments, part.split):
                    figure.reset_peak()

    def reset_accumulated(self) -> None:
        """Forget what came and went."""
        with self._lock:
            self._merge_all()
            self.ooms = self.retries = self.waits = 0
            for part in (self, self.small, self.large):
                for figure in (part.used, part.segments, part.split):
                    figure.reset_accumulated()

    def _words(self, wanted: int) -> str:
        total, reserved, used = self.card.total_memory, self.segments.bytes, self.used.bytes
        allowed = "" if self.allowed is None else f"{words(self.allowed)} allowed; "
        return (
            f"CUDA out of memory. Tried to allocate {words(wanted)}. GPU {self.index} has a total capacity of "
            f"{words(total)} of which {words(max(0, total - CONTEXT - reserved))} is free. "
            f"Including non-PyTorch memory, this process has {words(reserved + CONTEXT)} memory in use. {allowed}"
            f"Of the allocated memory {words(used)} is allocated by PyTorch, and {words(reserved - used)} is reserved "
            "by PyTorch but unallocated. If reserved but unallocated memory is large try setting "
            f"{VARIABLE}=expandable_segments:True to avoid fragmentation.  See documentation for Memory Management  "
            "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
        )


def _merge(first: Block, second: Block) -> Block:
    """Join two neighbours; the first one stays."""
    first.size += second.size
    first.after = second.after
    if second.after is not None:
        second.after.before = first
    return first
