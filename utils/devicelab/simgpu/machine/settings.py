"""The caching allocator's settings: PYTORCH_ALLOC_CONF, and what torch.cuda.memory._set_allocator_settings is given.

What is wrong with them is said in PyTorch's words. From 2.10 on C++ itself reads those that all accelerators share
(c10/core/AllocatorConfig.cpp), on a CPU build too; CUDA's own, and all of older releases, are read here
(c10/cuda/CUDAAllocatorConfig.cpp).
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Any, NamedTuple

import torch

from .texts import RELEASE

MIB = 2**20
STEP = 512  # every request is rounded up to a multiple of this
LEAST_SPLIT = 20  # MiB
INTERVALS = 16  # from 1 MiB to 64 GiB, each twice as long as the one before
SHARED_FROM = (2, 10)
# PyTorch 2.10 renamed the variable (docs/sources.md), and goes on reading the older one.
VARIABLES = (
    ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
    if RELEASE >= SHARED_FROM
    else ("PYTORCH_CUDA_ALLOC_CONF",)
)
VARIABLE = VARIABLES[0]
COMMON = (
    "max_split_size_mb", "max_non_split_rounding_mb", "garbage_collection_threshold", "roundup_power2_divisions",
    "expandable_segments", "pinned_use_background_threads", "large_segment_size_mb", "pinned_max_cached_size_mb",
    "pinned_max_round_threshold_mb",
)  # fmt: skip
SWITCHES = (
    "expandable_segments", "pinned_use_background_threads", "release_lock_on_cudamalloc", "pinned_use_cuda_host_register",
    "graph_capture_record_stream_reuse", "pinned_free_catch_all", "throw_on_cudamalloc_oom",
)  # fmt: skip
BACKENDS = ("native", "cudaMallocAsync")
BACKEND = re.compile(r"(?:^|,)backend:\w+")
Value = str | list[str]
shared: Callable[[str], None] | None = getattr(torch._C, "_accelerator_setAllocatorSettings", None)


class Given(NamedTuple):
    """One setting, and which token its value is; one in brackets is a list of tokens."""

    key: str
    value: Value
    at: int


@dataclass(frozen=True)
class Settings:
    """What the simulated allocator heeds; sizes in bytes. The other settings are read, and change nothing."""

    max_split: float = inf  # a larger block is not split, and not given to a smaller request
    rounding: int = LEAST_SPLIT * MIB  # how much larger than its request a block may be that is not split
    divisions: tuple[int, ...] = ()  # of each interval
    fraction: float | None = None  # of the card
    backend: str = BACKENDS[0]

    def refuses(self, size: int, block: int) -> bool:
        """Say whether a free block is too large for a request: CUDACachingAllocator.cpp, get_free_block."""
        return block >= (self.max_split if size < self.max_split else size + self.rounding)

    def rounded(self, nbytes: int) -> int:
        """Return the size that a request occupies: CUDACachingAllocator.cpp, round_size."""
        least = max(STEP, -(-nbytes // STEP) * STEP)
        if not self.divisions:
            return least
        interval = min(max(nbytes.bit_length() - MIB.bit_length(), 0), INTERVALS - 1)
        divisions = self.divisions[interval]
        if divisions <= 1 or nbytes <= STEP * divisions or nbytes & (nbytes - 1) == 0:
            return least
        step = (1 << (nbytes.bit_length() - 1)) // divisions
        return -(-nbytes // step) * step


def in_environment() -> str:
    """Return the text of the variable that PyTorch reads, empty where none is set."""
    return next((os.environ[name] for name in VARIABLES if name in os.environ), "")


def from_environment() -> Settings:
    """Return what the environment says, as PyTorch reads it when the allocator is first used."""
    found = in_environment()
    backend = re.search(r"backend:(\w+)", "".join(found.split()))
    known = Settings(backend=backend[1]) if backend and backend[1] in BACKENDS else Settings()
    return read(found, known)


def read(text: str, before: Settings) -> Settings:
    """Return the settings of a text such as "max_split_size_mb:50,expandable_segments:True", or raise what PyTorch does."""
    if RELEASE >= SHARED_FROM and shared is not None:
        words = "".join(text.split())
        if words:
            known(re.split(r"[:,\[\]]", words)[0])  # a CPU build does not know which keys CUDA has
        shared(shareable(words))
    settings = replace(before, max_split=inf, rounding=LEAST_SPLIT * MIB, divisions=())
    for given in pairs(text, check=known):
        settings = replace(settings, **READERS.get(given.key, nothing)(given, settings))
    return settings


def shareable(text: str) -> str:
    """Return settings without the backend: a CUDA build asserts that it is the one with which it was loaded."""
    return BACKEND.sub("", "".join(text.split())).lstrip(",")


def pairs(text: str, check: Callable[[str], object] = str) -> Iterator[Given]:
    """Yield what a text sets; each key is checked before its value is looked for."""
    tokens = re.findall(r"[:,\[\]]|[^:,\[\]]+", "".join(text.split()))
    whole = len(tokens)
    while tokens:
        key = tokens.pop(0)
        check(key)
        expect(tokens, ":")
        if not tokens:
            fail(f"Error, expecting {key} value")
        at = whole - len(tokens)
        value: Value = tokens.pop(0)
        if value == "[":
            end = tokens.index("]") if "]" in tokens else len(tokens)
            value, tokens = tokens[:end], tokens[end + 1 :]
        yield Given(key, value, at)
        if tokens:
            expect(tokens, ",")


def expect(tokens: list[str], wanted: str) -> None:
    """Take one token, which must be this one."""
    if not tokens or tokens.pop(0) != wanted:
        fail(f"Error parsing CachingAllocator settings, expected {wanted}")


def fail(words: str) -> Any:
    """Raise as PyTorch does for settings that it cannot use: a RuntimeError before 2.10."""
    raise (ValueError if RELEASE >= SHARED_FROM else RuntimeError)(words)


def known(key: str) -> None:
    """Refuse a key that is none."""
    if key not in READERS and key not in COMMON:
        newer = f"Unrecognized key '{key}' in Accelerator allocator config."
        fail(newer if RELEASE >= SHARED_FROM else f"Unrecognized CachingAllocator option: {key}")


def nothing(given: Given, settings: Settings) -> dict[str, Any]:
    """Read a setting that C++ has read already, and that nothing here depends on."""
    return {}


def number(value: Value, kind: Callable[[str], Any], who: str) -> Any:
    """Return a number at the beginning of a value, as C++'s `stoi` and its like read it."""
    found = re.match(r"[+-]?\d+" if kind is int else r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", str(value))
    return kind(found[0]) if found else fail(who)


def split(given: Given, settings: Settings) -> dict[str, Any]:
    """Read the sizes from which on blocks are not split, and up to which they may be too large."""
    size = number(given.value, int, "stoi")
    if size <= LEAST_SPLIT and RELEASE < SHARED_FROM:
        fail(f"CachingAllocator option {given.key} too small, must be > {LEAST_SPLIT}")
    return {"max_split" if given.key == "max_split_size_mb" else "rounding": size * MIB}


def threshold(given: Given, settings: Settings) -> dict[str, Any]:
    """Read the threshold of the garbage collection."""
    part = number(given.value, float, "stod")
    if not 0 < part < 1 and RELEASE < SHARED_FROM:
        fail(f"garbage_collect_threshold too {'small' if part <= 0 else 'big'}, set it 0.0~1.0")
    return {}


def divisions(given: Given, settings: Settings) -> dict[str, Any]:
    """Read into how many parts each interval is divided: one number for all, or [256:1,512:2,>:4]."""
    if isinstance(given.value, str):
        return {
            "divisions": (power(given.value, "For roundups, the divisions has to be power of 2 "),)
            * INTERVALS
        }
    found = [0] * INTERVALS
    last, first = 0, True
    for part in pairs("".join(given.value)):
        count = power(
            str(part.value),
            "For roundups, the divisions has to be power of 2 or 0 to disable roundup ",
            zero=True,
        )
        if part.key == ">":
            found[last:] = [count] * (INTERVALS - last)
            continue
        at = min(
            power(part.key, "For roundups, the intervals have to be power of 2 ").bit_length() - 1,
            INTERVALS - 1,
        )
        found[: at + 1] = [count] * (at + 1) if first else [*found[:at], count]
        last, first = at, False
    return {"divisions": tuple(found)}


def power(value: str, words: str, zero: bool = False) -> int:
    """Return a power of two."""
    found = number(value, int, "stoi")
    return found if (found > 0 and found & (found - 1) == 0) or (zero and found == 0) else fail(words)


def switch(given: Given, settings: Settings) -> dict[str, Any]:
    """Read a True or False."""
    if given.value not in ("True", "False"):
        newer = f"Expected 'True' or 'False' at index {given.at} in ConfigTokenizer but got '{given.value}'"
        fail(newer if RELEASE >= SHARED_FROM else f"Expected a single True/False argument for {given.key}")
    return {}


def backend(given: Given, settings: Settings) -> dict[str, Any]:
    """Read the backend, which is chosen before Python's first line and never again."""
    if given.value not in BACKENDS:
        fail("Unknown allocator backend, options are native and cudaMallocAsync")
    if given.value != settings.backend:
        raise RuntimeError(
            f"Allocator backend parsed at runtime != allocator backend parsed at load time, {given.value} != {settings.backend}"
        )
    return {}


def threads(given: Given, settings: Settings) -> dict[str, Any]:
    """Read how many threads register pinned memory."""
    count = power(str(given.value), f"Number of register threads has to be power of 2, got {given.value}")
    return (
        {}
        if count <= 128
        else fail(f"Number of register threads should be less than or equal to 128, got {count}")
    )


def reserve(given: Given, settings: Settings) -> dict[str, Any]:
    """Read how much pinned memory is reserved at the start."""
    return (
        {}
        if number(given.value, int, "stoull") > 0
        else fail("Pinned reserve segment size has to be greater than 0")
    )


def fraction(given: Given, settings: Settings) -> dict[str, Any]:
    """Read how much of the card the process may have."""
    part = number(given.value, float, "stod")
    if not 0 <= part <= 1:
        fail("per_process_memory_fraction is invalid, set it in [0.0, 1.0]")
    return {"fraction": part}


READERS: dict[str, Callable[[Given, Settings], dict[str, Any]]] = {
    **dict.fromkeys(SWITCHES, switch),
    "max_split_size_mb": split,
    "max_non_split_rounding_mb": split,
    "garbage_collection_threshold": threshold,
    "roundup_power2_divisions": divisions,
    "backend": backend,
    "pinned_num_register_threads": threads,
    "pinned_reserve_segment_size_mb": reserve,
    "per_process_memory_fraction": fraction,
}
