"""How the time of `lab.placement` grows with the number of tensors, from the look to the whole table.

    python benchmarks/bench_placement.py

Half of the tensors are misplaced, so that each is named and counted; eight times as many may take twelve times as long.
"""

from collections.abc import Iterator
from time import process_time

import torch

import devicelab as lab

FEW, MANY, ROUNDS = 1_000, 8_000, 5
GROWTH, SECONDS = 12.0, 3.0


def seconds(count: int) -> float:
    """Return the CPU seconds to place so many tensors and to write sentence, HTML and table; the best of a few."""
    batch = {f"x{n}": torch.empty(1, device="meta" if n % 2 else "cpu") for n in range(count)}
    return min(_once(batch) for _ in range(ROUNDS))


def _once(batch: dict[str, torch.Tensor]) -> float:
    begin = process_time()
    found = lab.placement(batch=batch)
    str(found), found._repr_html_(), found.table()
    return process_time() - begin


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield name, value and bound."""
    few, many = seconds(FEW), seconds(MANY)
    yield f"placement of {MANY:,} tensors over {FEW:,}", many / few, GROWTH
    yield f"placement of {MANY:,} tensors, seconds", many, SECONDS


if __name__ == "__main__":
    for name, value, bound in ratios():
        print(f"{name:<60}{value:>9.3f}  at most {bound}")
