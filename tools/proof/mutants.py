"""Break the device handling of every reference answer and see what its check says: `python -m tools.proof.mutants [NN ...]`.

For each question of kind write, mend, find or faster, the answer in solutions/ is broken in one place at a time
(tools/proof/breakers.py) and checked on the simulated GPU. A broken answer that passes shows a hole in the judge, unless it is
equivalent: same operators, copies, waits and values on the check's inputs. Exit status 1: one passes, a question has
fewer than FEWEST that change anything, or more than MOST_EQUIVALENT of all are equivalent.
"""

import argparse
import ast
import contextlib
import io
import linecache
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from nbformat import NotebookNode

from devicelab import simulate_gpu
from devicelab.course.looking import seen as looking
from devicelab.course.question import Question
from tools.notebooks.exercises import BEGIN, END
from tools.notebooks.nbfiles import SOLUTIONS, find, is_code, read, short, tags, text_of
from tools.proof.breakers import Mutant, mutants

FEWEST = 5
MOST_EQUIVALENT = 0.1
BREAKABLE = {"write", "mend", "find", "faster"}  # a prediction has no device handling to break
DIGITS = 4
CHECKED = re.compile(r"\b(\w+)\.check\(")


@dataclass
class Tried:
    """What became of the mutants of one question; `equivalent` and `passed` hold one line each."""

    name: str
    caught: int = 0
    equivalent: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All mutants."""
        return self.caught + len(self.equivalent) + len(self.passed)

    @property
    def faults(self) -> list[str]:
        """One sentence for each thing that must not be."""
        few = [f"{self.name}: only {self.caught} mutants change anything, {FEWEST} are wanted"]
        passed = [f"{self.name}: PASSED although {line}" for line in self.passed]
        return passed + (few if self.caught < FEWEST else [])


def run_cell(source: str, namespace: dict[str, Any], name: str) -> Any:
    """Run a cell as a notebook does and return the value of its last expression; its lines can be looked up by name."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), namespace)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), name, "eval"), namespace)  # type: ignore[attr-defined]


def answer_lines(source: str) -> range:
    """Return the lines of a cell that hold the answer, counted from 1."""
    lines = [line.strip() for line in source.split("\n")]
    return range(lines.index(BEGIN) + 1, lines.index(END) + 1)


def is_plain(cell: NotebookNode) -> bool:
    """Say whether a cell belongs to the way through the solution that a learner takes."""
    return (
        is_code(cell)
        and not tags(cell) & {"wrong-answer", "other-right-answer"}
        and not re.search(r"^\s*%|lab\.start\(", cell.source, re.M)
    )


def try_solution(path: Path) -> Iterator[Tried]:
    """Try the mutants of each question of a solution."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    answer: NotebookNode | None = None
    for cell in read(path).cells:
        if is_code(cell) and "lab.start(" in cell.source:
            run_cell(re.sub(r".*lab\.start\(.*", "", cell.source), namespace, f"<{cell.id}>")
        if not is_plain(cell):
            continue
        checked = CHECKED.search(cell.source)
        if checked and answer is not None:
            question = namespace[checked[1]]
            if question.kind in BREAKABLE:
                yield try_question(question, answer, cell.source, namespace)
            answer = None
        if BEGIN in cell.source:
            answer = cell
        run_cell(cell.source, namespace, f"<{cell.id}>")


def try_question(question: Question, answer: NotebookNode, check: str, namespace: dict[str, Any]) -> Tried:
    """Check every mutant of one answer."""
    tried = Tried(question.key)
    state, wanted = judged(answer.source, check, dict(namespace))
    if state != "passed":
        tried.passed.append(f"the reference answer does not pass: {state}")
    for mutant in mutants(answer.source, answer_lines(answer.source)):
        state, seen = judged(mutant.source, check, dict(namespace))
        if state != "passed":
            tried.caught += 1
        elif seen and seen == wanted:
            tried.equivalent.append(words(mutant))
        else:
            tried.passed.append(words(mutant))
    return tried


def words(mutant: Mutant) -> str:
    """Return a mutant in one line."""
    return f"line {mutant.line}: {mutant.what}"


def judged(source: str, check: str, namespace: dict[str, Any]) -> tuple[str, list[Any]]:
    """Return what the check says to a cell, and what it saw while it looked."""
    looking.watched = []
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run_cell(source, namespace, "<mutant>")
            outcome = run_cell(check, namespace, "<check>")
        return outcome.state, [fingerprint(seen) for seen in looking.watched]
    except Exception as error:  # the cell itself fails, which no learner overlooks
        return type(error).__name__, []
    finally:
        looking.watched = None


def fingerprint(seen: looking.Seen) -> Any:
    """Return operators, copies, waits and values of one call, without lines and times."""
    operators: Counter[Any] = Counter()
    for one in seen.trace.operators:
        operators[one.name, one.device] += one.count
    copies: Counter[Any] = Counter()
    for copy in seen.trace.copies:
        copies[copy.direction, copy.pinned, copy.waits] += copy.nbytes
        copies[copy.direction] += copy.count
    waits: Counter[Any] = Counter()
    for wait in seen.trace.synchronizations:
        waits[wait.kind] += wait.count
    return operators, copies, waits, plain(seen.value)


def plain(value: Any) -> Any:
    """Return a value as something that can be compared: tensors with device and rounded content."""
    if isinstance(value, torch.nn.Module):
        return plain(dict(value.state_dict()))
    if isinstance(value, torch.Tensor):
        content = value.detach().to("cpu", torch.float64).flatten().tolist() if not value.is_meta else []
        return str(value.device), tuple(value.shape), str(value.dtype), [f"{x:.{DIGITS}g}" for x in content]
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    return re.sub(r" at 0x\w+", "", repr(value))


def try_all(paths: list[Path]) -> list[Tried]:
    """Try all mutants of these solutions on a simulated GPU, with progress in a folder of its own."""
    with (
        TemporaryDirectory() as folder,
        simulate_gpu("Tesla T4"),
        patch.dict(os.environ, DEVICELAB_HOME=folder),
    ):
        return [tried for path in paths for tried in try_solution(path)]


def report(results: list[Tried]) -> list[str]:
    """Return the table, the equivalent mutants, and one sentence about each fault."""
    lines = ["question  mutants  caught  equivalent  passed"]
    for one in results:
        equivalent, passed = len(one.equivalent), len(one.passed)
        lines.append(f"{one.name:<8} {one.total:8} {one.caught:7} {equivalent:11} {passed:7}")
    return lines + [f"equivalent, {one.name} {line}" for one in results for line in one.equivalent]


def counts(paths: list[Path], results: list[Tried]) -> str:
    """Return what the course's checks were tried with: the stored outputs of the solutions, and the mutants."""
    code = [cell for path in paths for cell in read(path).cells if is_code(cell)]
    found = [(tags(cell), said(cell)) for cell in code if ".check(" in cell.source]
    rejected = sum("wrong-answer" in kinds and words.startswith("Not yet.") for kinds, words in found)
    accepted = sum("other-right-answer" in kinds and words.startswith("Passed.") for kinds, words in found)
    questions = {(path, name) for path in paths for name in CHECKED.findall(text_of(read(path)))}
    return (
        f"{len(questions)} questions, {rejected} wrong answers rejected, {accepted} alternatives accepted; of "
        f"{len(results)} answers with device handling {sum(one.caught for one in results)} mutants were caught"
    )


def said(cell: NotebookNode) -> str:
    """Return what a check said in a stored output."""
    texts = [str(output.get("data", {}).get("text/plain", "")) for output in cell.outputs]
    return texts[-1] if texts else ""


def faults(results: list[Tried]) -> list[str]:
    """Return one sentence about each thing that must not be."""
    found = [fault for one in results for fault in one.faults]
    total, equivalent = sum(one.total for one in results), sum(len(one.equivalent) for one in results)
    if equivalent > MOST_EQUIVALENT * total:
        found.append(f"{equivalent} of {total} mutants are equivalent; at most {MOST_EQUIVALENT:.0%} may be")
    return found if results else ["no answer was found that can be broken"]


def main(arguments: list[str] | None = None) -> int:
    """Try the solutions whose numbers the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m tools.proof.mutants", description=__doc__)
    parser.add_argument("numbers", nargs="*", metavar="NN", help="such as 02 (default: all solutions)")
    numbers = parser.parse_args(arguments).numbers
    paths = [path for path in find(SOLUTIONS) if not numbers or path.name[:2] in numbers]
    print("\n".join(f"breaking {short(path)}" for path in paths))
    results = try_all(paths)
    print("\n".join([*report(results), counts(paths, results), *faults(results)]))
    return 1 if faults(results) else 0


if __name__ == "__main__":
    raise SystemExit(main())
