"""Cut exercises/ from solutions/: `python -m tools.notebooks.exercises`, and `--check` to fail when they drifted apart.

In a code cell of a solution, the lines from `### BEGIN SOLUTION` to `### END SOLUTION` become a placeholder.
Lines `### STUB: ...` among them are the placeholder's text (without one: a comment and `...`); it must not raise,
because an unsolved exercise runs from top to bottom. Cells tagged wrong-answer, other-right-answer or solution-only
are left out. The package gets a file of its own: of each question the answer, and what stands in its place (answers.json).
"""

import argparse
import copy
import json
import re
from pathlib import Path

from nbformat import NotebookNode

from tools.notebooks.nbfiles import EXERCISES, SOLUTIONS, NoNotebooks, find, read, short, tags, text_of, write
from tools.setup.say import ROOT

BEGIN, END, STUB = "### BEGIN SOLUTION", "### END SOLUTION", "### STUB:"
PLACEHOLDER = ["# Your code here", "..."]
LEFT_OUT = {"wrong-answer", "other-right-answer", "solution-only"}
ANSWERS = ROOT / "utils" / "devicelab" / "course" / "question" / "answers.json"
ANSWER_CELL = re.compile(r"q(\d+)-answer")
IMPORTS = re.compile(r"\A(?:import .+\n)+\n*")  # above an answer: the cell's, not the answer's


class CutError(ValueError):
    """The markers in a solution do not pair up."""


def indent_of(line: str) -> str:
    """Return the spaces at the start of a line."""
    return line[: len(line) - len(line.lstrip())]


def cut(source: str) -> str:
    """Return a cell's source with each marked solution replaced by its placeholder."""
    kept: list[str] = []
    inside: list[str] | None = None  # the placeholder of the solution that we are in
    indent = ""
    for line in source.split("\n"):
        mark = line.strip()
        if mark == BEGIN:
            if inside is not None:
                raise CutError(f"a second {BEGIN!r} before {END!r}")
            inside, indent = [], indent_of(line)
        elif mark == END:
            if inside is None:
                raise CutError(f"{END!r} without {BEGIN!r}")
            kept += [(indent + text).rstrip() for text in inside or PLACEHOLDER]
            inside = None
        elif mark.startswith(STUB):
            if inside is None:
                raise CutError(f"{STUB!r} outside of a solution")
            inside.append(mark.removeprefix(STUB).removeprefix(" "))
        elif mark.startswith(("### BEGIN", "### END", "### STUB")):
            raise CutError(f"{mark!r} is not one of {BEGIN!r}, {END!r} and '{STUB} ...'")
        elif inside is None:
            kept.append(line)
    if inside is not None:
        raise CutError(f"{BEGIN!r} without {END!r}")
    return "\n".join(kept)


def cut_cell(cell: NotebookNode) -> NotebookNode:
    """Return a solution's cell as the exercise has it: same id, no answer, no output."""
    cell = copy.deepcopy(cell)
    if cell.cell_type == "code":
        try:
            cell.source = cut(cell.source)
        except CutError as error:
            raise CutError(f"cell {cell.id}: {error}") from None
        cell.outputs, cell.execution_count = [], None
        cell.metadata = NotebookNode(
            {key: cell.metadata[key] for key in ("tags", "jupyter") if cell.metadata.get(key)}
        )
    return cell


def cut_notebook(solution: NotebookNode, origin: str) -> NotebookNode:
    """Return the exercise of a solution; `origin` is the solution's path, noted in the exercise."""
    exercise = copy.deepcopy(solution)
    exercise.cells = [cut_cell(cell) for cell in solution.cells if not tags(cell) & LEFT_OUT]
    if [cell.source for cell in exercise.cells] == [cell.source for cell in solution.cells]:
        raise CutError("there is nothing to cut: no marked solution and no tagged cell")
    note = f"This notebook is generated from {origin}: edit that one, then run `python course.py exercises`."
    kept = {
        key: solution.metadata[key] for key in ("kernelspec", "language_info") if key in solution.metadata
    }
    exercise.metadata = NotebookNode(kept | {"devicelab": {"generated": note}})
    return exercise


def texts(solutions: Path, exercises: Path) -> dict[Path, NotebookNode]:
    """Return what each exercise must be, by its path; raise NoNotebooks when there is no solution at all."""
    wanted = {}
    for path in find(solutions):
        try:
            wanted[exercises / path.name] = cut_notebook(read(path), f"{solutions.name}/{path.name}")
        except CutError as error:
            raise CutError(f"{short(path)}: {error}") from None
    return wanted


def drift(solutions: Path = SOLUTIONS, exercises: Path = EXERCISES) -> list[str]:
    """Return one sentence for every exercise that is missing, outdated or without a solution."""
    wanted = texts(solutions, exercises)
    faults = [f"{short(path)} is missing." for path in wanted if not path.exists()]
    for path, notebook in wanted.items():
        if path.exists() and path.read_text(encoding="utf-8") != text_of(notebook):
            faults.append(f"{short(path)} is not what its solution gives.")
    strays = sorted(set(exercises.glob("*.ipynb")) - set(wanted))
    return faults + [f"{short(path)} has no solution." for path in strays]


def solved(source: str) -> str:
    """Return a cell's source as a learner would write it: the answer without markers and placeholder."""
    lines = [line for line in source.split("\n") if not line.strip().startswith("### ")]
    return IMPORTS.sub("", "\n".join(lines))


def answers(solutions: Path = SOLUTIONS) -> str:
    """Return the package's file of answers: by question, line by line, the answer and what is given in its place."""
    found = {}
    for path in find(solutions):
        for cell in read(path).cells:
            number = ANSWER_CELL.fullmatch(cell.id)
            if number:
                pair = {"answer": solved(cell.source), "given": IMPORTS.sub("", cut(cell.source))}
                key = f"{path.name[:2]}.q{number[1]}"
                found[key] = {name: text.split("\n") for name, text in pair.items()}
    if not found:
        raise NoNotebooks(f"There is no cell with an answer in {solutions}.")
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def answers_drift(solutions: Path = SOLUTIONS, path: Path = ANSWERS) -> list[str]:
    """Return one sentence if the package's answers are not those of the solutions."""
    same = path.exists() and path.read_text(encoding="utf-8") == answers(solutions)
    return [] if same else [f"{short(path)} is not what the solutions give."]


def generate_answers(solutions: Path = SOLUTIONS, path: Path = ANSWERS) -> list[str]:
    """Write the package's answers, and return one line about them."""
    changed = bool(answers_drift(solutions, path))
    if changed:
        path.write_text(answers(solutions), encoding="utf-8", newline="\n")
    return [f"{short(path)}: {'written' if changed else 'unchanged'}"]


def generate(solutions: Path = SOLUTIONS, exercises: Path = EXERCISES) -> list[str]:
    """Write every exercise, remove those without a solution, and return one line about each."""
    wanted = texts(solutions, exercises)
    lines = [f"{short(path)}: {'written' if write(path, nb) else 'unchanged'}" for path, nb in wanted.items()]
    for path in sorted(set(exercises.glob("*.ipynb")) - set(wanted)):
        path.unlink()
        lines.append(f"{short(path)}: removed, it has no solution")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Write or check the exercises."""
    parser = argparse.ArgumentParser(prog="python -m tools.notebooks.exercises", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when an exercise drifted")
    options = parser.parse_args(arguments)
    try:
        lines = drift() + answers_drift() if options.check else generate() + generate_answers()
    except (CutError, NoNotebooks) as error:
        print(error)
        return 1
    print("\n".join(lines) or "Every exercise is what its solution gives.")
    if options.check and lines:
        print("Run `python course.py exercises` to write them anew.")
    return 1 if options.check and lines else 0


if __name__ == "__main__":
    raise SystemExit(main())
