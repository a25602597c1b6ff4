"""Run every notebook and compare each output with the stored one: `python -m tools.notebooks.run_notebooks [paths]`.

nbval does the work, two kernels at a time, on the simulated GPU unless --device says otherwise. Exercises hold no
outputs: nbval then asks only that every cell runs. With --lax that is asked of all notebooks (for other devices, where
times and names differ).
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.notebooks.nbfiles import (
    CELL_SECONDS,
    EXERCISES,
    LESSONS,
    ROOT,
    SANITIZE,
    SOLUTIONS,
    NoNotebooks,
    device_environment,
    find,
    named,
    private_environment,
)


def nbval_command(
    paths: list[Path],
    workers: int = 2,
    lax: bool = False,
    seconds: float = CELL_SECONDS,
    forked: bool = False,
) -> list[str]:
    """Return the pytest command for these notebooks; a notebook's cells stay together on one worker."""
    count = min(workers, len(paths))
    return [
        *(sys.executable, "-m", "pytest", "--nbval-lax" if lax else "--nbval", "--nbval-current-env", "-q"),
        *(f"--nbval-cell-timeout={seconds}", f"--nbval-sanitize-with={SANITIZE}"),
        *(("-n", str(count), "--dist", "loadfile") if count > 1 else ()),
        *("-p", "tools.notebooks.nbval_folders", "-p", "no:cacheprovider", "-p", "no:anyio"),
        *(("-p", "tools.notebooks.warm") if forked else ()),
        *map(str, paths),
    ]


def run(
    paths: list[Path],
    workers: int = 2,
    lax: bool = False,
    device: str | None = "simulated",
    seconds: float = CELL_SECONDS,
) -> int:
    """Run the notebooks and return pytest's exit status (0 only when something ran and all of it passed)."""
    with tempfile.TemporaryDirectory(prefix="nbval-", ignore_cleanup_errors=True) as folder:
        environment = os.environ | private_environment(Path(folder)) | device_environment(device)
        command = nbval_command(
            paths, workers, lax, seconds, forked=len(paths) > workers
        )  # else nothing is saved
        return subprocess.run(command, cwd=ROOT, env=environment).returncode


def main(arguments: list[str] | None = None) -> int:
    """Run the notebooks that the command line names, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tools.notebooks.run_notebooks", description=__doc__)
    parser.add_argument("paths", nargs="*", help="notebooks or folders (default: all)")
    parser.add_argument(
        "--lax", action="store_true", help="compare no outputs, only ask that every cell runs"
    )
    parser.add_argument("--device", default="simulated", choices=["simulated", "off", "real", "auto"])
    parser.add_argument("--workers", type=int, default=2, choices=range(1, 17), metavar="N")
    options = parser.parse_args(arguments)
    try:
        paths = named(options.paths) if options.paths else find(LESSONS, SOLUTIONS, EXERCISES)
    except NoNotebooks as error:
        print(error)
        return 1
    return run(paths, options.workers, options.lax, options.device)


if __name__ == "__main__":
    raise SystemExit(main())
