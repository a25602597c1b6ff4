"""The simulated card's memory: who holds how much, as PyTorch's caching allocator counts it.

Sizes and rules are those of c10/cuda/CUDACachingAllocator.cpp (docs/sources.md): blocks of 512 bytes, segments of 2 MiB for small and
20 MiB for middling requests, best fit, split, merged again on release. No memory of a card is used: only the numbers are kept.
"""

from bisect import bisect_left, insort
from collections import deque
from threading import Lock

import torch

from devicelab.gpus import Card

MIB = 2**20
BLOCK = 512  # every size is rounded up to this
SMALL = MIB  # requests up to this come from the small pool
SMALL_SEGMENT, MIDDLE_SEGMENT = 2 * MIB, 20 * MIB
LARGE = 10 * MIB  # requests from here on get a segment of their own, in steps of ROUND_LARGE
ROUND_LARGE = 2 * MIB
CONTEXT = 287 * MIB  # what the CUDA context takes with lazy loading, as measured on an A100 (docs/sources.md)


def rounded(nbytes: int) -> int:
    """Return the size that a request of `nbytes` occupies."""
    return max(BLOCK, -(-nbytes // BLOCK) * BLOCK)


def segment_size(size: int) -> int:
    """Return how much is reserved on the card when a block of `size` finds no room."""
    if size <= SMALL:
        return SMALL_SEGMENT
    return MIDDLE_SEGMENT if size < LARGE else -(-size // ROUND_LARGE) * ROUND_LARGE


class Block:
    """A piece of a segment; `before` and `after` are its neighbours in the same segment."""

    __slots__ = ("address", "after", "before", "free", "requested", "size")

    def __init__(self, address: int, size: int, before: "Block | None" = None, after: "Block | None" = None):
        self.address, self.size, self.before, self.after = address, size, before, after
        self.requested = 0
        self.free = True

    def __lt__(self, other: "Block") -> bool:
        return (self.size, self.address) < (other.size, other.address)


class Token:
    """Holds a block as long as it lives; it rides on the storage that occupies the memory."""

    __slots__ = ("block", "freed")

    def __init__(self, block: Block, freed: "deque[Block]"):
        self.block, self.freed = block, freed

    def __del__(self) -> None:
        self.freed.append(self.block)  # atomic: may run in the middle of anything, in any thread


class Figure:
    """One number of memory_stats: now, at its highest, and all that came and went."""

    __slots__ = ("allocated", "current", "freed", "peak")

    def __init__(self) -> None:
        self.current = self.peak = self.allocated = self.freed = 0

    def up(self, amount: int) -> None:
        self.current += amount
        self.allocated += amount
        if self.current > self.peak:
            self.peak = self.current

    def down(self, amount: int) -> None:
        self.current -= amount
        self.freed += amount

    def reset_peak(self) -> None:
        self.peak = self.current

    def reset_accumulated(self) -> None:
        self.allocated = self.freed = 0


class Pool:
    """The free blocks of one kind (small or large), and the counts of memory_stats for it."""

    NAMES = ("allocation", "segment", "active", "inactive_split")
    NAMES += ("allocated_bytes", "reserved_bytes", "active_bytes", "inactive_split_bytes", "requested_bytes")

    def __init__(self, remainder: int):
        self.remainder = remainder  # a rest of less than this stays with its block
        self.blocks: list[Block] = []
        self.figures = {name: Figure() for name in self.NAMES}

    def fit(self, size: int) -> Block | None:
        """Take the smallest free block of at least `size` out of the pool."""
        place = bisect_left(self.blocks, Block(0, size))
        return self.blocks.pop(place) if place < len(self.blocks) else None

    def give(self, block: Block) -> None:
        insort(self.blocks, block)

    def drop(self, block: Block) -> None:
        self.blocks.pop(bisect_left(self.blocks, block))


class Ledger:
    """What is allocated and reserved on one simulated card."""

    def __init__(self, card: Card, index: int = 0):
        self.card, self.index = card, index
        self.pools = {"small_pool": Pool(BLOCK), "large_pool": Pool(SMALL + 1)}
        self.fraction = 1.0
        self.ooms = self.retries = self.device_alloc = self.device_free = 0
        self._freed: deque[Block] = deque()
        self._next_address = 0x7F0000000000
        self._lock = Lock()
        self.allocated, self.reserved = Figure(), Figure()

    def take(self, nbytes: int) -> Token | None:
        """Occupy `nbytes` (rounded to 512) until the token dies; nothing for nothing. Raises torch.OutOfMemoryError in CUDA's words."""
        if nbytes <= 0:
            return None
        size = rounded(nbytes)
        pool = self.pools["small_pool" if size <= SMALL else "large_pool"]
        with self._lock:
            self._collect()
            block = pool.fit(size) or self._reserve(pool, size)
            if block.size - size >= pool.remainder:
                rest = Block(block.address + size, block.size - size, block, block.after)
                if block.after is not None:
                    block.after.before = rest
                block.after, block.size = rest, size
                pool.give(rest)
            block.free, block.requested = False, nbytes
            self.allocated.up(block.size)
        return Token(block, self._freed)

    def _collect(self) -> None:
        while self._freed:
            block = self._freed.popleft()
            self.allocated.down(block.size)
            self._release(block)

    def _release(self, block: Block) -> None:
        """Put a block back and merge it with its free neighbours."""
        pool = self.pools["small_pool" if self._is_small(block) else "large_pool"]
        block.free = True
        for other in (block.before, block.after):
            if other is not None and other.free:
                pool.drop(other)
                block = _merge(other, block) if other is block.before else _merge(block, other)
        pool.give(block)

    @staticmethod
    def _is_small(block: Block) -> bool:
        return block.requested <= SMALL

    def _reserve(self, pool: Pool, size: int) -> Block:
        wanted = segment_size(size)
        if wanted > self.free:
            self.retries += 1
            self._empty()
            if wanted > self.free:
                self.ooms += 1
                raise torch.OutOfMemoryError(self._words(wanted))
        self.device_alloc += 1
        self.reserved.up(wanted)
        address, self._next_address = self._next_address, self._next_address + wanted
        return Block(address, wanted)

    @property
    def free(self) -> int:
        """Return the bytes that the card has left for new segments: neither reserved nor taken by the CUDA context."""
        return int(self.card.total_memory * self.fraction) - CONTEXT - self.reserved.current

    def _empty(self) -> None:
        for pool in self.pools.values():
            whole = [block for block in pool.blocks if block.before is None and block.after is None]
            pool.blocks = [block for block in pool.blocks if block.before is not None or block.after is not None]
            for block in whole:
                self.reserved.down(block.size)
                self.device_free += 1

    def empty_cache(self) -> None:
        """Give segments without any block in use back to the card."""
        with self._lock:
            self._collect()
            self._empty()

    def collect(self) -> None:
        """Count what has been freed meanwhile."""
        with self._lock:
            self._collect()

    def info(self) -> tuple[int, int]:
        """Return (free, total) bytes of the card, as the driver would say."""
        self.collect()
        return self.card.total_memory - CONTEXT - self.reserved.current, self.card.total_memory

    def stats(self) -> dict:
        """Return the figures in the nested form of torch.cuda.memory_stats_as_nested_dict."""
        self.collect()
        figure = lambda f: {n: getattr(f, n) for n in ("current", "peak", "allocated", "freed")}
        kinds = lambda f: {"all": figure(f), "small_pool": figure(Figure()), "large_pool": figure(Figure())}
        return {"allocated_bytes": kinds(self.allocated), "reserved_bytes": kinds(self.reserved)}

    def reset_peak(self) -> None:
        """Forget the peaks."""
        self.collect()
        self.allocated.reset_peak()
        self.reserved.reset_peak()

    def reset_accumulated(self) -> None:
        """Forget what came and went."""
        self.allocated.reset_accumulated()
        self.reserved.reset_accumulated()

    def _words(self, wanted: int) -> str:
        unused = self.reserved.current - self.allocated.current
        return (
            f"CUDA out of memory. Tried to allocate {words(wanted)}. GPU {self.index} has a total capacity of "
            f"{words(self.card.total_memory)} of which {words(max(self.free, 0))} is free. Including non-PyTorch memory, this process has "
            f"{words(self.reserved.current + CONTEXT)} memory in use. Of the allocated memory {words(self.allocated.current)} is allocated "
            f"by PyTorch, and {words(unused)} is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try "
            "setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation for Memory Management  "
            "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
        )


def _merge(first: Block, second: Block) -> Block:
    """Join two neighbours, the first one stays."""
    first.size += second.size
    first.after = second.after
    if second.after is not None:
        second.after.before = first
    return first


def words(nbytes: int) -> str:
    """Return a size as the allocator writes it: "512 bytes", "1.50 KiB", "14.74 GiB"."""
    if nbytes < 1024:
        return f"{nbytes} bytes"
    for unit, size in (("KiB", 2**10), ("MiB", 2**20)):
        if nbytes < 1024 * size:
            return f"{nbytes / size:.2f} {unit}"
    return f"{nbytes / 2**30:.2f} GiB"
