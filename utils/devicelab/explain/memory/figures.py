"""The sums in an out-of-memory error: how much was asked for, and how the memory was shared at that moment.

Wordings: PyTorch 0.4 (`cached`), 1.4 (`reserved in total`), 2.1 and newer (sentences), MPS since 1.12, XPU since 2.5; HIP says
what CUDA says. Those of 2.1 and newer are in c10/cuda/CUDACachingAllocator.cpp, of older ones in public threads.
"""

import re
from dataclasses import dataclass

_UNITS = {
    "bytes": 1,
    "B": 1,
    **{f"{letter}{i}B": 1024**power for power, letter in enumerate("KMGT", 1) for i in ("i", "")},
}
_SIZE = r"(\d+(?:\.\d+)?) ?(bytes|[KMGT]i?B|B)\b"
ROUNDED = 64 * 2**20  # bytes by which a difference of sums in GiB with two digits can be wrong, and more
# What each sum is called; the first pattern that is found counts.
_WORDS = {
    "wanted": (rf"[Tt]ried to allocate {_SIZE}",),
    "total": (rf"total capaci?ty of {_SIZE}", rf"{_SIZE} total capacity"),
    "free": (rf"of which {_SIZE} is free", rf"{_SIZE} free"),
    "process": (rf"this process has {_SIZE} memory in use",),
    "allowed": (rf"{_SIZE} allowed", rf"max allowed: {_SIZE}"),
    "allocated": (rf"{_SIZE} is allocated by PyTorch", rf"{_SIZE} already allocated", rf"MPS allocated: {_SIZE}"),
    "idle": (rf"{_SIZE} is reserved by PyTorch but unallocated", rf"{_SIZE} cached"),
    "reserved": (rf"{_SIZE} reserved in total",),
}  # fmt: skip
_OTHERS = re.compile(rf"Process \d+ has {_SIZE} memory in use")
_SETTING = re.compile(r"(PYTORCH_(?:CUDA_|HIP_)?ALLOC_CONF)=\S+?(?= |$)")


@dataclass(frozen=True)
class Figures:
    """Bytes, None where the message does not say; `idle` is reserved by PyTorch and holds no tensor.

    `others` are other processes, and CUDA itself where the message does not tell them apart; `allowed` is a limit that somebody
    set; `setting` is what this version's allocator knows against memory in pieces.
    """

    wanted: int | None = None
    total: int | None = None
    free: int | None = None
    allowed: int | None = None
    allocated: int | None = None
    idle: int | None = None
    others: int | None = None
    setting: str = "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"

    @property
    def room(self) -> int | None:
        """What PyTorch can have at all: the card's memory, or the limit that was set."""
        return min((size for size in (self.total, self.allowed) if size is not None), default=None)

    @property
    def parts(self) -> list[tuple[str, int]]:
        """The shares of the memory that the message knows, with their names."""
        named = {
            "in tensors": self.allocated,
            "in PyTorch's cache": self.idle,
            "of other programs": self.others,
            "free": self.free,
        }
        return [(name, size) for name, size in named.items() if size]


def figures_in(message: str) -> Figures:
    """Return the sums that a message tells."""
    text = " ".join(message.split())
    said = {name: _first(patterns, text) for name, patterns in _WORDS.items()}
    named = [_bytes(*found) for found in _OTHERS.findall(text)]
    setting = _SETTING.search(text)
    older = "try setting max_split_size_mb" in text  # PyTorch 1.10 to 2.1
    return Figures(
        said["wanted"],
        said["total"],
        said["free"],
        said["allowed"],
        said["allocated"],
        _idle(said),
        sum(named) if named else _others(said),
        setting[0]
        if setting
        else "PYTORCH_CUDA_ALLOC_CONF=max_split_size_mb:128"
        if older
        else Figures.setting,
    )


def _first(patterns: tuple[str, ...], text: str) -> int | None:
    found = next((found for pattern in patterns if (found := re.search(pattern, text))), None)
    return _bytes(*found.groups()) if found else None


def _bytes(number: str, unit: str) -> int:
    return round(float(number) * _UNITS[unit])


def _idle(said: dict[str, int | None]) -> int | None:
    """Return PyTorch's cache: "reserved in total" is with the tensors."""
    reserved, allocated = said["reserved"], said["allocated"]
    if said["idle"] is not None or reserved is None or allocated is None:
        return said["idle"]
    return reserved - allocated


def _others(said: dict[str, int | None]) -> int | None:
    """Return what is neither free nor this process's; of an older message, what is not PyTorch's."""
    total, free, process, allocated = (said[name] for name in ("total", "free", "process", "allocated"))
    if total is None or free is None or (process is None and allocated is None):
        return None
    own = process if process is not None else (allocated or 0) + (_idle(said) or 0)
    rest = total - free - own
    return rest if rest > ROUNDED else 0
