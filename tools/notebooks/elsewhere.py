"""Run each script of a cell `%%elsewhere` that has no run yet and keep what it prints: `python -m tools.notebooks.elsewhere`.

The package shows these runs where a framework is not installed. A cell's metadata `variants`, a list of [old, new], name
changes that learners are asked to make: these are run and kept too. With --check nothing is kept: what each script prints now
is compared with what it printed then. `course.py lab --frameworks` makes the Python that this needs.
"""

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from nbformat import NotebookNode

from devicelab.course.elsewhere.running import find, run
from devicelab.course.elsewhere.runs import RUNS, digest
from devicelab.course.exercises.frameworks import rules
from tools.notebooks.nbfiles import LESSONS, SOLUTIONS, is_code, read, short
from tools.notebooks.nbfiles import find as notebooks

MAGIC = "%%elsewhere "
JOBS = 2  # scripts at a time


@dataclass(frozen=True)
class Script:
    """A script of a notebook: where it stands, the package that it is for, its lines, and whether no cell shows it as it is."""

    place: str
    name: str
    code: str
    changed: bool = False

    @property
    def key(self) -> str:
        """What stands for it in the file of runs."""
        return digest(self.name, self.code)


def scripts() -> list[Script]:
    """Return all scripts of lessons, solutions and judges, each once."""
    found = {script.key: script for script in of_judges()}
    for path in notebooks(LESSONS, SOLUTIONS):
        for cell in read(path).cells:
            if is_code(cell) and cell.source.startswith(MAGIC):
                for script in of_cell(cell, short(path)):
                    found.setdefault(script.key, script)
    return list(found.values())


def of_judges() -> Iterator[Script]:
    """Yield what the judges of exercise 12 know by stored runs."""
    for name in ("tensorflow", "jax"):
        yield Script(f"12.q1, {name}", name, rules.script(name), True)
    yield Script("12.q5", "jax", rules.EVERY_PAIR, True)


def of_cell(cell: NotebookNode, place: str) -> Iterator[Script]:
    """Yield the script of a cell, then its variants; ValueError names one that changes nothing."""
    head, _, code = cell.source.partition("\n")
    name = head.removeprefix(MAGIC).strip()
    yield Script(f"{place}, {cell.id}", name, code)
    for old, new in cell.metadata.get("variants", ()):
        if code.count(old) != 1:
            raise ValueError(f"{place}, {cell.id}: {old!r} stands there {code.count(old)} times, not once.")
        yield Script(f"{place}, {cell.id} with {new!r}", name, code.replace(old, new), True)


def ran(script: Script) -> dict[str, object]:
    """Return what the file of runs holds of a script, after running it."""
    python = find(script.name)
    if python is None:
        raise SystemExit(f"{script.name} is not installed here: python3 course.py lab --frameworks")
    done = run(python, script.name, script.code)
    return {"name": script.name, "version": done.version, "printed": done.text.splitlines()}


def kept() -> dict[str, dict[str, object]]:
    """Return the runs that are kept."""
    return json.loads(RUNS.read_text(encoding="utf-8")) if RUNS.exists() else {}


def main(arguments: list[str] | None = None) -> int:
    """Run the scripts; keep or compare what they print."""
    parser = argparse.ArgumentParser(prog="python -m tools.notebooks.elsewhere", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="keep nothing; fail where a script prints another text"
    )
    parser.add_argument(
        "--changes", action="store_true", help="only what no cell shows as it is (with --check)"
    )
    parser.add_argument("--renew", action="store_true", help="also run what has a run")
    options = parser.parse_args(arguments)
    check, before, now = options.check, kept(), {}
    chosen = [script for script in scripts() if script.changed or not options.changes]
    known = {} if check or options.renew else before
    with ThreadPoolExecutor(JOBS) as two:
        for script, run in zip(
            chosen, two.map(lambda one: known.get(one.key) or ran(one), chosen), strict=True
        ):
            now[script.key] = run
            same = before.get(script.key) == run
            print(f"{script.place}: {'as kept' if same else 'ANOTHER TEXT' if check else 'kept'}", flush=True)
    if not check and not options.changes:
        RUNS.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    return 1 if check and any(before.get(key) != run for key, run in now.items()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
