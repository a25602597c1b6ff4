"""What is measured for a recording: examples, operators, launch and synchronize, copies, the CUDA context."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import torch
from torch.nn import functional
from tqdm import tqdm

from devicelab import devices
from devicelab.errors import InputError
from devicelab.results import Timing

from .card import Card

Fn = Callable[[], object]
Task = Callable[[], list[dict[str, Any]]]
EXAMPLES = ((100, 10), (1_000, 10), (1_000, 100), (10_000, 100), (10_000, 1_000), (100_000, 1_000))
# x[B, M, K] @ W[N, K], x[B, M, K] @ y[B, K, N], and B rows of H.
LINEAR = tuple({"B": 1, "M": m, "N": n, "K": n} for m in (32, 512, 4096) for n in (256, 1024, 4096))
BMM = tuple({"B": b, "M": n, "N": n, "K": k} for b in (8, 64) for n in (128, 512, 1024) for k in (64, 512))
ROWS = tuple({"B": b, "H": h} for b in (512, 8192, 65536) for h in (256, 1024, 4096))
COPIES = tuple(4**n for n in range(5, 14))  # 1 KiB to 64 MiB
LAUNCHES = 100  # at once, well below the 1024 that a queue holds
REPEATS, CONTEXTS = 30, 3


def measure_all(card: Card, *, quick: bool = False) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the times and the context's costs, in the form of the schema; `quick` takes every third size."""
    seconds = 0.05 if quick else 0.3
    tasks = [
        *_examples(card, quick),
        *_operators(card, quick, seconds),
        partial(_overheads, card),
        *_copies(card, quick, seconds),
    ]
    times = [entry for task in tqdm(tasks, desc="Measuring", unit="sizes", leave=False) for entry in task()]
    contexts = [card.context() for _ in range(1 if quick else CONTEXTS)]
    taken = int(median(nbytes for _, nbytes in contexts))
    return times, {"seconds": [seconds for seconds, _ in contexts], "memory": taken if taken > 0 else None}


def entry(kind: str, sizes: dict[str, int], timing: Timing) -> dict[str, Any]:
    """Return a time in the form of the schema; one that was not measured, or not where it belongs, is refused."""
    if timing.origin != "measured":
        raise InputError(
            f"The time of {kind!r} is {timing.origin}, not measured: it cannot go into a recording."
        )
    where = "cpu" if kind == "example cpu" else Card.label
    if where not in timing.device.split(" and "):
        raise InputError(
            f"The work of {kind!r} ran on {timing.device}, not on {where}: it cannot go into a recording."
        )
    return {
        "kind": kind,
        "sizes": sizes,
        "device": timing.device,
        "calls": timing.calls,
        "samples": list(timing.samples),
        "threads": timing.threads,
        "load": timing.load,
    }


def _some(sizes: tuple, quick: bool) -> tuple:
    return sizes[::3] if quick else sizes


def _examples(card: Card, quick: bool) -> Iterator[Task]:
    for rows, width in _some(EXAMPLES, quick):
        yield partial(_example, card, rows, width)


def _example(card: Card, rows: int, width: int) -> list[dict[str, Any]]:
    sizes, compared = {"rows": rows, "width": width}, card.compare(rows, width)
    cpu, gpu = compared["cpu"].timing, compared["gpu"].timing
    if cpu is None or gpu is None:
        raise InputError(f"The examples did not run: {compared['gpu'].error or compared['gpu'].skipped}")
    return [entry("example cpu", sizes, cpu), entry("example gpu", sizes, gpu)]


def _operators(card: Card, quick: bool, seconds: float) -> Iterator[Task]:
    for kind, all_sizes in (
        ("linear", LINEAR),
        ("bmm", BMM),
        ("add", ROWS),
        ("layer_norm", ROWS),
        ("softmax", ROWS),
    ):
        for sizes in _some(all_sizes, quick):
            yield partial(_operator, card, kind, sizes, seconds)


def _operator(card: Card, kind: str, sizes: dict[str, int], seconds: float) -> list[dict[str, Any]]:
    try:
        with torch.no_grad():
            return [entry(kind, sizes, card.time(operator(kind, sizes, card.device), seconds))]
    except torch.OutOfMemoryError:
        tqdm.write(f"{kind} {sizes} does not fit on this card: left out.")
        return []


def operator(kind: str, sizes: dict[str, int], device: torch.device) -> Fn:
    """Return a call of one operator in float32, ready to run on `device`."""
    if kind in ("linear", "bmm"):
        b, m, n, k = (sizes[name] for name in "BMNK")
        x = torch.rand(b, m, k, device=device)
        other = torch.rand(n, k, device=device) if kind == "linear" else torch.rand(b, k, n, device=device)
        return (lambda: functional.linear(x, other)) if kind == "linear" else lambda: torch.bmm(x, other)
    x = torch.rand(sizes["B"], sizes["H"], device=device)
    if kind == "add":
        return lambda: x + x
    weight = torch.rand(sizes["H"], device=device)
    if kind == "layer_norm":
        return lambda: functional.layer_norm(x, weight.shape, weight, weight)
    return lambda: torch.softmax(x, 1)


def _overheads(card: Card) -> list[dict[str, Any]]:
    return [entry("launch", {}, _launch(card)), entry("synchronize", {}, _synchronize(card))]


def _launch(card: Card) -> Timing:
    """Time the host only, until the last of many tiny launches has been submitted."""
    x = torch.zeros(1, device=card.device)
    return _by_hand(card, lambda: [x.add_(1) for _ in range(LAUNCHES)], LAUNCHES)


def _synchronize(card: Card) -> Timing:
    def often() -> None:
        for _ in range(LAUNCHES):
            card.synchronize()

    return _by_hand(card, often, LAUNCHES)


def _by_hand(card: Card, fn: Fn, calls: int) -> Timing:
    fn()
    samples = []
    for _ in range(REPEATS):
        card.synchronize()
        begin = time.perf_counter()
        fn()
        samples.append((time.perf_counter() - begin) / calls)
    card.synchronize()
    return Timing(
        tuple(samples), calls, card.label, card.name, devices.present().origin, torch.get_num_threads()
    )


def _copies(card: Card, quick: bool, seconds: float) -> Iterator[Task]:
    for nbytes in _some(COPIES, quick):
        for pinned in (True, False):
            yield partial(_copy, card, nbytes, pinned, seconds)


def _copy(card: Card, nbytes: int, pinned: bool, seconds: float) -> list[dict[str, Any]]:
    host, there = card.host(nbytes, pinned), torch.zeros(nbytes, dtype=torch.uint8, device=card.device)
    memory, sizes = "pinned" if pinned else "pageable", {"bytes": nbytes}
    up = card.time(lambda: there.copy_(host), seconds)
    # The view has its result on the card: by the result of the copy alone, this were work of the CPU.
    down = card.time(lambda: host.copy_(there.view(-1)), seconds)
    return [entry(f"to card, {memory}", sizes, up), entry(f"to host, {memory}", sizes, down)]
