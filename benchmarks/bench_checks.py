"""How long a check takes to answer: every cell of every solution that checks something, right and wrong, slowest first.

`python -m benchmarks.bench_checks` measures on the simulated GPU; `--off` without one, so that each check simulates its own.
"""

import argparse
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from devicelab import simulate_gpu
from tools.notebooks.nbfiles import SOLUTIONS, find, is_code, read
from tools.proof.mutants import run_cell

LIMIT = 2.0  # seconds in which a check has to answer
SHOWN = 10
NOT_HERE = re.compile(r"^\s*%|lab\.start\(|lab\.progress\(", re.MULTILINE)


def measure(off: bool = False) -> dict[str, float]:
    """Return the seconds of each checking cell, such as "02 q2-wrong-criterion", each run once as a learner does."""
    taken: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, nullcontext() if off else simulate_gpu("Tesla T4"):
        os.environ["DEVICELAB_HOME"] = folder
        for path in find(SOLUTIONS):
            space: dict[str, Any] = {"__name__": "__main__"}
            for cell in read(path).cells:
                if not is_code(cell) or "%pip" in cell.source:
                    continue
                source = "\n".join(line for line in cell.source.split("\n") if not NOT_HERE.search(line))
                began = time.perf_counter()
                run_cell(source, space, f"<{cell.id}>")
                if ".check(" in source:
                    taken[f"{path.name[:2]} {cell.id}"] = time.perf_counter() - began
    return taken


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield name, value and bound."""
    yield "slowest check, seconds", max(measure().values()), LIMIT


def main() -> None:
    """Print the slowest checks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--off", action="store_true", help="without a GPU, real or simulated")
    taken = sorted(measure(parser.parse_args().off).items(), key=lambda item: -item[1])
    print(f"Measured, one run each of {len(taken)} checking cells; {sum(t for _, t in taken):.1f} s in all.")
    for name, seconds in taken[:SHOWN]:
        print(f"{seconds:7.3f} s  {name}")


if __name__ == "__main__":
    main()
