"""`course.py catch-up 03`: a solved exercise beside the learner's own, for whoever lost the thread. Nothing is overwritten."""

import argparse
import os
import sys
from pathlib import Path

from nbformat import NotebookNode

from tools.notebooks.exercises import LEFT_OUT
from tools.notebooks.nbfiles import read, tags, text_of
from tools.setup import copies
from tools.setup.say import ROOT, Stop, say

SOLVED = "_solved"


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Make the solved copies that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.notebooks.catch_up", description=__doc__)
    parser.add_argument("numbers", nargs="+")
    try:
        found = [solution_of(number, root) for number in parser.parse_args(arguments).numbers]
        for path in found:  # only when all are known
            say(catch_up(path, copies.learners_folder() if root == ROOT else root))
    except Stop as reason:
        print(f"\n{reason}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"\n{error.filename} could not be used: {error.strerror}.", file=sys.stderr)
        return 1
    return 0


def solution_of(number: str, root: Path) -> Path:
    """Return the solution of a lesson by its number; raise Stop where there is none."""
    there = {path.name[:2]: path for path in sorted((root / "solutions").glob("[0-9][0-9]_*.ipynb"))}
    if number.zfill(2) not in there:
        raise Stop(
            f'There is no exercise "{number}".',
            f"Those there are: {', '.join(there) or 'none'}. Give one or more.",
        )
    return there[number.zfill(2)]


def catch_up(path: Path, root: Path = ROOT) -> str:
    """Make the solved copy of one exercise, unless there is one, and return a sentence about it."""
    name = copies.place_of(f"exercises/{path.name}")
    target = (root / name).with_name(f"{Path(name).stem}{SOLVED}.ipynb")
    where = target.relative_to(root).as_posix()
    if os.path.lexists(target):
        return f"{where} is there already and stays as it is. Rename it to get a new one."
    try:
        notebook = read(path)
    except ValueError:
        raise Stop(
            f"solutions/{path.name} is damaged.", f"Bring it back: git checkout -- solutions/{path.name}"
        ) from None
    copies.folder_at(root / copies.COURSE)
    copies.folder_at(target.parent)
    copies.write(target, text_of(solved(notebook, f"exercises/{path.name}")))
    own = "; your own stays beside it" if (root / name).exists() else ""
    return f"{where} holds the answers{own}. Open it, choose Run > Run All Cells, and go on from there."


def solved(solution: NotebookNode, original: str) -> NotebookNode:
    """Return a solution as a learner would have it: answers in their cells, without the wrong ones, marks and outputs."""
    kept = LEFT_OUT | copies.LEFT_OUT
    solution.cells = [cell for cell in solution.cells if not tags(cell) & kept and cell.get("id") not in kept]
    for cell in solution.cells:
        if cell.cell_type == "markdown":
            cell.source = copies.with_links(cell.source, original)
        else:
            lines = [line for line in cell.source.split("\n") if not line.strip().startswith("### ")]
            cell.source, cell.outputs, cell.execution_count = "\n".join(lines), [], None
    solution.metadata.pop("widgets", None)
    return solution


if __name__ == "__main__":
    sys.exit(main())
