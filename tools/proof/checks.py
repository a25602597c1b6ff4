"""`course.py test` and `test-all`: every stage runs, says its name and its time, and none hides another's failure."""

import argparse
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.setup.say import ROOT, say

TOOLS = {  # the module of tools/ that a command stands for
    "constraints": "setup.constraints",
    "exercises": "notebooks.exercises",
    "lessons": "proof.modes",
    "notebooks": "notebooks.remake",
}


@dataclass(frozen=True)
class Stage:
    """One check: its name, the arguments after `python`, and what it adds to the environment variables."""

    name: str
    arguments: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


FLOORS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
PYTEST = ("-m", "pytest", "-q")
UNITS = (*PYTEST, "tests", "-n", "2", "-m")
OPDB = {"DEVICELAB_OPDB_FRACTION": "1"}  # of the operators in PyTorch's database; `test` takes a tenth
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # two workers on two cores: more would wait for each other


def stages(everything: bool) -> list[Stage]:
    """Return the stages of `test`, or those of `test-all`, the quick ones first."""
    quick = [
        Stage("lint", ("-m", "ruff", "check", ".")),
        Stage("format", ("-m", "ruff", "format", "--check", ".")),
        Stage("types", ("-m", "mypy")),
        Stage("floors", ("-c", FLOORS)),
        Stage("notebooks", ("-m", "tools.notebooks.run_notebooks")),
    ]
    core = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("notebooks/0[0-3]_*.ipynb"))
    if not everything:
        return [*quick, Stage("units", (*UNITS, "not slow and not browser and not interop"), ONE_THREAD)]
    return [
        *quick,
        # Lessons only: that answers are judged alike without a GPU, the units test.
        Stage("off", ("-m", "tools.proof.modes", "--modes", "off", "notebooks")),
        Stage("again", ("-m", "tools.proof.modes", "--modes", "again", *core)),  # all: `course.py lessons`
        Stage("browser", (*PYTEST, "tests", "-m", "browser")),
        # In processes of their own: torch's test helpers, which the units import, freeze flags that libraries set.
        Stage("libraries", (*PYTEST, "tests", "-n", "2", "-m", "interop")),
        Stage("units", (*UNITS, "not browser and not interop"), ONE_THREAD | OPDB),
    ]


def run_all(python: Path, everything: bool) -> int:
    """Run all stages and return 0 only if every one of them passed."""
    results = []
    for stage in stages(everything):
        results.append((stage, *run_stage(python, stage)))
    say()
    for stage, code, seconds in results:
        say(f"{'passed' if code == 0 else 'FAILED':<7} {stage.name:<10} {seconds:6.1f} s")
    return 0 if all(code == 0 for _, code, _ in results) else 1


def run_stage(python: Path, stage: Stage) -> tuple[int, float]:
    """Run one stage in the repository's root; return its exit status and its seconds."""
    say(f"\n--- {stage.name} ---")
    variables = {**os.environ, **stage.variables}
    began = time.monotonic()
    code = subprocess.run([str(python), *stage.arguments], cwd=ROOT, env=variables).returncode
    return code, time.monotonic() - began


def run_tool(python: Path, chosen: argparse.Namespace) -> int:
    """Run the module of tools/ that a command stands for, in the Python that has the course."""
    notebooks = chosen.command == "notebooks"
    variables = {**os.environ, "REFRESH": "1"} if notebooks and chosen.refresh else dict(os.environ)
    paths = [
        str(Path(path).resolve()) for path in getattr(chosen, "paths", ())
    ]  # given from where the person is
    modes = ["--modes", chosen.modes] if getattr(chosen, "modes", None) else []
    command = [str(python), "-m", f"tools.{TOOLS[chosen.command]}", *paths, *modes]
    return subprocess.run(command, cwd=ROOT, env=variables).returncode


def run_bench(python: Path, names: Sequence[str]) -> int:
    """Print the table of the benchmarks, or of the named ones."""
    return subprocess.run([str(python), "-m", "benchmarks", *names], cwd=ROOT).returncode
