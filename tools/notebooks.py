"""Run lessons and solutions and store their outputs: `python -m tools.notebooks [notebook or folder ...]`.

Each notebook runs in a fresh kernel on the simulated GPU, with private Jupyter, IPython and progress folders. Outputs of
cells tagged nbval-ignore-output stay as they are, unless REFRESH=1 is set. With --check nothing is written: the exit
status says whether the stored outputs are what the cells print now.
"""

import argparse
import asyncio
import copy
import os
import re
import sys
import tempfile
from pathlib import Path

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from tools.nbfiles import (
    CELL_SECONDS,
    IGNORED,
    LESSONS,
    ROOT,
    SOLUTIONS,
    NoNotebooks,
    device_environment,
    find,
    is_code,
    named,
    private_environment,
    read,
    sanitize_rules,
    short,
    tags,
    write,
)

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
STAMPS = (
    "papermill",
    "execution",
    "ExecuteTime",
    "scrolled",
    "trusted",
)  # left in metadata by tools that run cells


def without_paths(text: str) -> str:
    """Return the text without any path of this machine."""
    for rule, replacement in sanitize_rules("written"):
        text = rule.sub(replacement, text)
    places = {str(ROOT): "course", sys.prefix: "venv", tempfile.gettempdir(): "tmp", str(Path.home()): "~"}
    for place in sorted(places, key=len, reverse=True):
        if len(place) > 1:
            text = re.sub(re.escape(place) + r"(?![\w.-])", places[place], text)
    return text


def tidy_output(output: NotebookNode) -> NotebookNode:
    """Return one output without paths, without the random id of a widget, and without transient metadata."""
    output = copy.deepcopy(output)
    output.pop("transient", None)
    if "text" in output:
        output.text = without_paths(output.text)
    for kind, value in list(output.get("data", {}).items()):
        if kind == WIDGET_VIEW:
            del output.data[kind]  # the model behind it is gone when the notebook is opened again
        elif kind.startswith("text/") and isinstance(value, str):
            output.data[kind] = without_paths(value)
    if "traceback" in output:
        output.traceback = [without_paths(line) for line in output.traceback]
    return output


def merged(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Return the outputs with neighbouring pieces of the same stream in one: how they were cut depends on timing."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if (
            last is not None
            and output.output_type == "stream" == last.output_type
            and output.name == last.name
        ):
            last.text += output.text
        else:
            joined.append(copy.deepcopy(output))
    return joined


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook without what a run leaves behind besides its outputs; the ids of its cells stay."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = NotebookNode(name="python")
    for cell in notebook.cells:
        for stamp in STAMPS:
            cell.metadata.pop(stamp, None)
        if cell.cell_type == "code":
            cell.outputs = merged([tidy_output(output) for output in cell.outputs])
    return notebook


def keep_ignored(new: NotebookNode, old: NotebookNode) -> None:
    """Put the old outputs of cells tagged nbval-ignore-output back: they differ in every run and say the same."""
    before = {cell.id: cell for cell in old.cells}
    for cell in new.cells:
        stored = before[cell.id]
        if cell.cell_type == "code" and IGNORED in tags(cell) and stored.outputs:
            cell.outputs = stored.outputs
    # An execute_result repeats the number of its cell.
    for cell in new.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "execute_result":
                output.execution_count = cell.execution_count


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
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    await client.async_execute(env=environment)
    return notebook


async def remake(path: Path, folder: Path, device: str | None = None) -> NotebookNode:
    """Return the notebook with its outputs made anew, in the form in which it is stored."""
    environment = os.environ | private_environment(folder / path.parent.name / path.stem)
    new = tidy(await execute(path, environment | device_environment(device)))
    if os.environ.get("REFRESH") != "1":
        keep_ignored(new, tidy(read(path)))
    return new


def differences(old: NotebookNode, new: NotebookNode) -> list[str]:
    """Return the ids of the cells whose outputs differ as nbval would see it; ignored cells are left out."""
    rules = sanitize_rules()

    def seen(cell: NotebookNode) -> str:
        text = repr([{**output, "data": text_data(output)} for output in cell.outputs])
        for rule, replacement in rules:
            text = rule.sub(replacement, text)
        return text

    def text_data(output: NotebookNode) -> dict:
        return {k: v for k, v in output.get("data", {}).items() if not k.startswith("image/")}

    pairs = zip(old.cells, new.cells, strict=True)
    return [a.id for a, b in pairs if is_code(a) and IGNORED not in tags(a) and seen(a) != seen(b)]


def failure(error: Exception) -> str:
    """Return what went wrong in a notebook in one or two lines."""
    if isinstance(error, CellTimeoutError):
        return f"a cell ran longer than {CELL_SECONDS} s"
    if isinstance(error, DeadKernelError):
        return "the kernel died"
    if isinstance(error, CellExecutionError):
        return f"a cell failed with {error.ename}: {error.evalue}"
    return f"{type(error).__name__}: {error}"


async def handle(path: Path, folder: Path, check: bool) -> bool:
    """Re-make or check one notebook, print one line about it, and say whether all is well."""
    try:
        new = await remake(path, folder)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        print(f"{short(path)}: FAILED, {failure(error)}", flush=True)
        return False
    if check:
        faults = differences(tidy(read(path)), new)
        print(f"{short(path)}: {'differs in ' + ', '.join(faults) if faults else 'as stored'}", flush=True)
        return not faults
    print(f"{short(path)}: {'written' if write(path, new) else 'unchanged'}", flush=True)
    return True


async def handle_all(paths: list[Path], folder: Path, check: bool, jobs: int) -> bool:
    """Handle all notebooks, `jobs` at a time."""
    gate = asyncio.Semaphore(jobs)

    async def one(path: Path) -> bool:
        async with gate:
            return await handle(path, folder, check)

    return all(await asyncio.gather(*(one(path) for path in paths)))


def main(arguments: list[str] | None = None) -> int:
    """Re-make the outputs that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tools.notebooks", description=__doc__)
    parser.add_argument("paths", nargs="*", help="notebooks or folders (default: all lessons and solutions)")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when a stored output is outdated"
    )
    parser.add_argument(
        "--jobs", type=int, default=2, choices=range(1, 17), metavar="N", help="kernels at a time"
    )
    options = parser.parse_args(arguments)
    try:
        paths = named(options.paths) if options.paths else find(LESSONS, SOLUTIONS)
    except NoNotebooks as error:
        print(error)
        return 1
    with tempfile.TemporaryDirectory(prefix="notebooks-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        os.environ.update(private_environment(folder))
        return 0 if asyncio.run(handle_all(paths, folder, options.check, options.jobs)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
