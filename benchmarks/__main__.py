"""Every ratio and time that the course promises, in one table: `python -m benchmarks`, from the folder of the course.

    python -m benchmarks              # all of them
    python -m benchmarks timing trace # only bench_timing.py and bench_trace.py
    python -m benchmarks --check      # exit with 1 when one is over its bound

A file named bench_*.py takes part by a function `ratios()`, which yields a name, a value and the bound that the value
should not exceed. Each file runs in a process of its own, one after the other. All values are measured on this machine;
on a busy one they mean little.
"""

import argparse
import json
import runpy
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).parent
LONGEST = 600  # seconds that one file may take

Row = tuple[str, float, float]


def names() -> list[str]:
    """Return the names of the benchmarks: "import" for bench_import.py."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def rows_of(name: str) -> list[Row]:
    """Run one benchmark in this process; one without `ratios` has no row."""
    ratios = runpy.run_path(str(HERE / f"bench_{name}.py")).get("ratios")
    return list(ratios()) if ratios else []


def measured(chosen: Sequence[str]) -> Iterator[tuple[str, list[Row] | None, str]]:
    """Yield name, rows and last words of each benchmark, run in a fresh process; no rows when it failed."""
    for name in chosen:
        command = [sys.executable, "-m", "benchmarks", "--rows", name]  # from the root, which has tools/
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, cwd=HERE.parent)
        except subprocess.TimeoutExpired:
            yield name, None, f"not done after {LONGEST} s"
            continue
        last = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
        if result.returncode:
            yield name, None, last
        else:
            yield name, [(str(a), b, c) for a, b, c in json.loads(result.stdout.splitlines()[-1])], ""


def line(name: str, value: float, bound: float) -> str:
    """Return a row of the table."""
    verdict = "pass" if value <= bound else "OVER"
    return f"{name:<66}{value:>9.3f}{bound:>9.3g}  {verdict}"


def table(chosen: Sequence[str]) -> int:
    """Print the table as it grows; return how many rows are over their bound or missing."""
    print(f"{'what (measured on this machine)':<66}{'value':>9}{'at most':>9}", flush=True)
    wrong = 0
    for name, rows, last in measured(chosen):
        for row in rows or []:
            print(line(*row), flush=True)
        wrong += sum(value > bound for _, value, bound in rows or [])
        if rows is None:
            print(f"bench_{name}.py FAILED: {last}", flush=True)
            wrong += 1
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 when --check finds a row over its bound, or a benchmark fails."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(names())}")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a row is over its bound")
    parser.add_argument("--rows", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in names()]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; choose from {', '.join(names())}")
    if options.rows:
        print(json.dumps(rows_of(options.names[0])))
        return 0
    return int(table(options.names or names()) > 0 and options.check)


if __name__ == "__main__":
    sys.exit(main())
