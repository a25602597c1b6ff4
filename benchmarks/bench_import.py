"""What `import devicelab` costs beside `import torch`: fresh processes, taken in turns, the ratio of the medians.

`python -m benchmarks import` prints it, `python -m benchmarks.bench_import` the medians too.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

LIMIT, ROUNDS = 1.1, 7
STATEMENTS = {
    "import torch": "import torch",
    "import devicelab": "import devicelab",
    "all its names": "import devicelab; [getattr(devicelab, name) for name in devicelab.__all__]",
}


def seconds(statement: str) -> float:
    """Return how long a fresh Python takes for `statement`, its own start and end included."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - began


def measure() -> dict[str, float]:
    """Return the median seconds of each statement, taken in turns after one round that warms the disk."""
    taken = [{name: seconds(code) for name, code in STATEMENTS.items()} for _ in range(ROUNDS + 1)][1:]
    return {name: statistics.median(times[name] for times in taken) for name in STATEMENTS}


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield name, value and bound."""
    medians = measure()
    yield "import devicelab to import torch", medians["import devicelab"] / medians["import torch"], LIMIT


def main() -> None:
    """Print the medians and their ratios."""
    medians = measure()
    print(
        f"Measured, medians of {ROUNDS} fresh processes; devicelab imports torch when a name is first used."
    )
    for name, median in medians.items():
        print(f"{name:<18}{median:7.3f} s{median / medians['import torch']:8.3f} of import torch")


if __name__ == "__main__":
    main()
