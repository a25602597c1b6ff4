"""Run a notebook several times over in one kernel, as people do, and report errors, seconds and memory."""

import asyncio
import contextlib
import random
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from tools.notebooks.nbfiles import CELL_SECONDS, is_code, read, short, tags

IN_ORDER = "in-order"  # the tag of a cell that may not be run out of order; its metadata say why
SEED = 0  # of the shuffled order, so that a fault comes again
MOST_SECONDS = 60.0
MOST_BYTES = 700e6  # of a kernel: two of them and a server fit into Binder's 2 GB
LOOK_EVERY = 0.05  # seconds between two looks at the kernel's memory


@dataclass
class Run:
    """What came of one notebook: a sentence a fault, the seconds of Run All, the most bytes held in it and in all passes."""

    path: Path
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    first_peak: float = 0.0
    peak: float = 0.0

    @property
    def line(self) -> str:
        """The outcome in one line, and a line a fault."""
        first, most = self.first_peak / 1e6, self.peak / 1e6
        facts = f"Run All {self.seconds:5.1f} s, kernel {first:4.0f} MB, {most:4.0f} MB in all passes"
        head = f"{short(self.path):50} {facts}{'' if self.faults else '  ok'}"
        return "\n".join([head, *(f"    FAULT {fault}" for fault in self.faults)])


async def watch_memory(client: NotebookClient, run: Run) -> None:
    """Keep the most bytes that the kernel's process held, until this is cancelled."""
    process = psutil.Process(client.km.provisioner.pid)  # type: ignore[union-attr] # a local kernel has one
    while True:
        with contextlib.suppress(psutil.Error):
            run.peak = max(run.peak, process.memory_info().rss)
        await asyncio.sleep(LOOK_EVERY)


@contextlib.asynccontextmanager
async def kernel(client: NotebookClient, run: Run, environment: dict[str, str]) -> AsyncIterator[None]:
    """Start the notebook's kernel and watch its memory; end both."""
    async with client.async_setup_kernel(env=environment, stderr=subprocess.DEVNULL):
        watcher = asyncio.create_task(watch_memory(client, run))
        try:
            yield
        finally:
            watcher.cancel()


def orders(cells: list[NotebookNode], again: bool) -> list[tuple[str, list[int]]]:
    """Return name and order of each pass over the cells: Run All, and with `again` Run All once more, then shuffled."""
    code = [number for number, cell in enumerate(cells) if is_code(cell)]
    if not again:
        return [("Run All", code)]
    shuffled = [number for number in code if IN_ORDER not in tags(cells[number])]
    random.Random(SEED).shuffle(shuffled)
    return [("Run All", code), ("Run All again", code), ("out of order", shuffled)]


async def rerun(
    path: Path, environment: dict[str, str], again: bool, kernel_name: str = "python3", bounds: bool = True
) -> Run:
    """Run a notebook in one fresh kernel, in each of the `orders`, and return what came of it; `bounds`: those of Binder hold."""
    notebook, run = read(path), Run(path)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name=kernel_name,
        allow_errors=True,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        async with kernel(client, run, environment):
            for name, order in orders(notebook.cells, again):
                began = time.monotonic()
                for number in order:
                    run.faults += await faults_of(client, name, number)
                if not run.seconds:
                    run.seconds, run.first_peak = time.monotonic() - began, run.peak
    except (CellTimeoutError, DeadKernelError) as error:
        run.faults.append(f"{type(error).__name__}: {str(error).splitlines()[0]}")
    if bounds and run.seconds > MOST_SECONDS:
        run.faults.append(f"Run All took longer than {MOST_SECONDS:.0f} s")
    if bounds and run.first_peak > MOST_BYTES:
        run.faults.append(f"the kernel held more than {MOST_BYTES / 1e6:.0f} MB in Run All")
    return run


async def faults_of(client: NotebookClient, name: str, number: int) -> list[str]:
    """Run one cell and return a sentence for each error that it shows."""
    cell = client.nb.cells[number]
    await client.async_execute_cell(cell, number)
    errors = [output for output in cell.outputs if output.output_type == "error"]
    words = [f"{error.ename}: {error.evalue}".splitlines()[0] for error in errors]
    return [f"{name}: cell {cell.id}: {text}" for text in words]
