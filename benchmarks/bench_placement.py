"""How the time of `lab.placement` grows with the number of tensors, from the look to the whole table.

    python -m benchmarks placement

Half of the tensors are misplaced, so that each is named and counted; eight times as many may take twelve times as long.
"""

from collections.abc import Iterator

import torch

import devicelab as lab
from benchmarks.shared import cpu_seconds

FEW, MANY, ROUNDS = 1_000, 8_000, 5
GROWTH, SECONDS = 12.0, 3.0


def seconds(count: int) -> float:
    """Return the CPU seconds to place so many tensors and to write sentence, HTML and table; the best of a few."""
    batch = {f"x{n}": torch.empty(1, device="meta" if n % 2 else "cpu") for n in range(count)}

    def look() -> None:
        found = lab.placement(batch=batch)
        str(found), found._repr_html_(), found.table()

    return min(cpu_seconds(look) for _ in range(ROUNDS))


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield name, value and bound."""
    few, many = seconds(FEW), seconds(MANY)
    yield f"placement of {MANY:,} tensors over {FEW:,}", many / few, GROWTH
    yield f"placement of {MANY:,} tensors, seconds", many, SECONDS
