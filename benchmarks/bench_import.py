"""What `import devicelab` costs beside `import torch`: fresh processes, taken in turns, the ratio of the medians.

`python benchmarks/bench_import.py` prints it; --check fails above the limit.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

LIMIT = 1.1
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


def measure(rounds: int) -> dict[str, float]:
    """Return the median seconds of each statement, taken in turns after one round that warms the disk."""
    taken = [{name: seconds(code) for name, code in STATEMENTS.items()} for _ in range(rounds + 1)][1:]
    return {name: statistics.median(times[name] for times in taken) for name in STATEMENTS}


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield name, value and bound."""
    medians = measure(7)
    yield "import devicelab to import torch", medians["import devicelab"] / medians["import torch"], LIMIT


def main() -> int:
    """Print the medians and their ratios; return 1 when --check finds the import above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, choices=range(3, 101), metavar="3..100")
    parser.add_argument("--check", action="store_true", help=f"fail when the import's ratio is above {LIMIT}")
    options = parser.parse_args()
    medians = measure(options.rounds)
    torch = medians["import torch"]
    print(
        f"Measured, medians of {options.rounds} fresh processes; devicelab imports torch when a name is first used."
    )
    for name, median in medians.items():
        print(f"{name:<18}{median:7.3f} s{median / torch:8.3f} of import torch")
    return int(options.check and medians["import devicelab"] > LIMIT * torch)


if __name__ == "__main__":
    sys.exit(main())
