"""Run lessons and solutions and store their outputs: `python -m tools.notebooks.remake [notebook or folder ...]`.

Each notebook runs in a fresh kernel on the simulated GPU, with private Jupyter, IPython and progress folders.
Outputs of cells tagged nbval-ignore-output stay as they are, unless REFRESH=1 is set or --fresh names the cell. With --check
nothing is written: the exit status says whether the stored outputs are what the cells print now.
"""

import argparse
import asyncio
import os
import subprocess
import tempfile
from collections.abc import Collection
from pathlib import Path

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from tools.notebooks import warm
from tools.notebooks.nbfiles import (
    CELL_SECONDS,
    LESSONS,
    SOLUTIONS,
    NoNotebooks,
    device_environment,
    find,
    named,
    private_environment,
    read,
    short,
    write,
)
from tools.notebooks.tidy import differences, keep_ignored, tidy


async def execute(path: Path, environment: dict[str, str]) -> NotebookNode:
    """Return the notebook as a fresh kernel runs it; raise what nbclient raises at the first failing cell."""
    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    with warm.kernels():
        await client.async_execute(env=environment, stderr=subprocess.DEVNULL)
    return notebook


async def remake(
    path: Path, folder: Path, device: str | None = None, fresh: Collection[str] = ()
) -> NotebookNode:
    """Return the notebook with its outputs made anew, of ignored cells those in `fresh`, as it is stored."""
    environment = os.environ | private_environment(folder / path.parent.name / path.stem)
    new = tidy(await execute(path, environment | device_environment(device)))
    if os.environ.get("REFRESH") != "1":
        keep_ignored(new, tidy(read(path)), fresh)
    return new


def failure(error: Exception) -> str:
    """Return what went wrong in a notebook in one or two lines."""
    if isinstance(error, CellTimeoutError):
        return f"a cell ran longer than {CELL_SECONDS} s"
    if isinstance(error, DeadKernelError):
        return "the kernel died"
    if isinstance(error, CellExecutionError):
        return f"a cell failed with {error.ename}: {error.evalue}"
    return f"{type(error).__name__}: {error}"


async def handle(path: Path, folder: Path, check: bool, fresh: Collection[str] = ()) -> bool:
    """Re-make or check one notebook, print one line about it, and say whether all is well."""
    before = path.read_bytes()
    try:
        new = await remake(path, folder, fresh=fresh)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        print(f"{short(path)}: FAILED, {failure(error)}", flush=True)
        return False
    if check:
        faults = differences(tidy(read(path)), new)
        print(f"{short(path)}: {'differs in ' + ', '.join(faults) if faults else 'as stored'}", flush=True)
        return not faults
    if path.read_bytes() != before:
        print(f"{short(path)}: NOT WRITTEN, somebody changed it while it ran; run it again", flush=True)
        return False
    print(f"{short(path)}: {'written' if write(path, new) else 'unchanged'}", flush=True)
    return True


async def handle_all(paths: list[Path], folder: Path, check: bool, jobs: int, fresh: Collection[str]) -> bool:
    """Handle all notebooks, `jobs` at a time."""
    gate = asyncio.Semaphore(jobs)

    async def one(path: Path) -> bool:
        async with gate:
            return await handle(path, folder, check, fresh)

    return all(await asyncio.gather(*(one(path) for path in paths)))


def main(arguments: list[str] | None = None) -> int:
    """Re-make the outputs that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tools.notebooks.remake", description=__doc__)
    parser.add_argument("paths", nargs="*", help="notebooks or folders (default: all lessons and solutions)")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when a stored output is outdated"
    )
    parser.add_argument(
        "--jobs", type=int, default=2, choices=range(1, 17), metavar="N", help="kernels at a time"
    )
    parser.add_argument(
        "--fresh", action="append", default=[], metavar="ID", help="renew the output of this ignored cell too"
    )
    options = parser.parse_args(arguments)
    try:
        paths = named(options.paths) if options.paths else find(LESSONS, SOLUTIONS)
    except NoNotebooks as error:
        print(error)
        return 1
    if unknown := set(options.fresh) - {cell.id for path in paths for cell in read(path).cells}:
        print(f"None of these notebooks has a cell {', '.join(sorted(unknown))}.")
        return 1
    with tempfile.TemporaryDirectory(prefix="notebooks-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        os.environ.update(private_environment(folder))
        return 0 if asyncio.run(handle_all(paths, folder, options.check, options.jobs, options.fresh)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
