"""`course.py test` and `test-all`: every stage runs, says its name and its time, and none hides another's failure."""

import argparse
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tools.setup import frameworks
from tools.setup.say import ROOT, say

TOOLS = {  # the module of tools/ that a command stands for
    "catch-up": "notebooks.catch_up",
    "constraints": "setup.constraints",
    "exercises": "notebooks.exercises",
    "lessons": "proof.modes",
    "notebooks": "notebooks.remake",
    "preflight": "proof.preflight",
    "report": "site.report",
    "site": "site.build",
}


@dataclass(frozen=True, eq=False)
class Stage:
    """One check: its name, the arguments after `python`, what it adds to the environment variables, whether it runs beside."""

    name: str
    arguments: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    beside: bool = False  # it keeps one core busy at most, so it runs while the others do


FLOORS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
# A test that waits for ever says where it waits; in a thread, since a lock in C++ hears no signal.
# Two plugins that the units do not use are slow to load: in each worker again.
WITHOUT = ("-p", "no:nbval", "-p", "no:anyio")
PYTEST = ("-m", "pytest", "-q", *WITHOUT, "--timeout", "600", "--timeout-method", "thread")
UNITS = (*PYTEST, "-n", "2", "--dist", "worksteal", "-m")
QUICK = "not slow and not browser and not interop"
OPDB = {"DEVICELAB_OPDB_FRACTION": "1"}  # of the operators in PyTorch's database; `test` takes a tenth
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # two workers on two cores: more would wait for each other


def stages(everything: bool) -> list[Stage]:
    """Return the stages of `test`, or those of `test-all`, the quick ones first."""
    quick = [
        Stage("lint", ("-m", "ruff", "check", "."), beside=True),
        Stage("format", ("-m", "ruff", "format", "--check", "."), beside=True),
        Stage("types", ("-m", "mypy"), beside=True),
        Stage("floors", ("-c", FLOORS), beside=True),
        # Lessons and solutions: that exercises run, and more, the units test.
        Stage("notebooks", ("-m", "tools.notebooks.run_notebooks", "notebooks", "solutions")),
    ]
    core = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("notebooks/0[0-3]_*.ipynb"))
    if not everything:
        return [*quick, Stage("units", (*UNITS, QUICK, "tests"))]
    return [
        *quick,
        # Without a GPU, by papermill with another seed; that answers are judged alike there, the units test.
        Stage(
            "report", ("-m", "tools.site.report", "--renew", "-p", "seed=1"), {"DEVICELAB_GPU": "off"}, True
        ),
        Stage("again", ("-m", "tools.proof.modes", "--modes", "again", *core)),  # all: `course.py lessons`
        *(
            [Stage("frameworks", ("-m", "tools.proof.modes", "--modes", "frameworks"))]
            if frameworks.present()
            else []
        ),
        Stage("site", ("-m", "tools.site.build")),  # the browser opens what this made
        Stage("browser", (*UNITS, "browser", "tests")),
        # In processes of their own: torch's test helpers, which the units import, freeze flags that libraries set.
        Stage("libraries", (*UNITS, "interop", "tests")),
        Stage("units", (*UNITS, "not browser and not interop", "tests"), OPDB),
    ]


def run_all(python: Path, everything: bool) -> int:
    """Run all stages and return 0 only if every one of them passed."""
    chosen = stages(everything)
    done = {}
    # Those beside run one after the other, and are told when the others have ended.
    with ThreadPoolExecutor(1) as one:
        beside = [stage for stage in chosen if stage.beside]
        waiting = {stage: one.submit(run_stage, python, stage, subprocess.PIPE) for stage in beside}
        try:
            for stage in chosen:
                if not stage.beside:
                    say(head(stage))
                    done[stage.name] = run_stage(python, stage)
        except KeyboardInterrupt:
            one.shutdown(wait=False, cancel_futures=True)  # what runs was interrupted too; no other begins
            raise
        for stage, result in waiting.items():
            done[stage.name] = result.result()
            say(f"{head(stage)}\n{done[stage.name][2]}".rstrip())
    say()
    for stage in chosen:
        code, seconds, _ = done[stage.name]
        say(f"{'passed' if code == 0 else 'FAILED':<7} {stage.name:<10} {seconds:6.1f} s")
    return 0 if all(code == 0 for code, _, _ in done.values()) else 1


def head(stage: Stage) -> str:
    """Return the line above a stage's words."""
    return f"\n--- {stage.name} ---"


def run_stage(python: Path, stage: Stage, words: int | None = None) -> tuple[int, float, str]:
    """Run one stage in the repository's root; return its exit status, its seconds and, if they are kept, its words."""
    variables = {**os.environ, **ONE_THREAD, **stage.variables}
    began = time.monotonic()
    result = subprocess.run(
        [str(python), *stage.arguments],
        cwd=ROOT, env=variables, stdout=words, stderr=words and subprocess.STDOUT, text=True,
    )  # fmt: skip
    return result.returncode, time.monotonic() - began, result.stdout or ""


def run_tool(python: Path, chosen: argparse.Namespace) -> int:
    """Run the module of tools/ that a command stands for, in the Python that has the course."""
    notebooks = chosen.command == "notebooks"
    variables = {**os.environ, "REFRESH": "1"} if notebooks and chosen.refresh else dict(os.environ)
    # Given from where the person is.
    paths = [str(Path(path).resolve()) for path in getattr(chosen, "paths", ())]
    options = ["--modes", chosen.modes] if getattr(chosen, "modes", None) else []
    options += [word for pair in getattr(chosen, "parameters", ()) for word in ("-p", pair)]
    options += getattr(chosen, "numbers", [])
    options += ["--renew"] if getattr(chosen, "renew", False) else []
    command = [str(python), "-m", f"tools.{TOOLS[chosen.command]}", *paths, *options]
    return subprocess.run(command, cwd=ROOT, env=variables).returncode


def run_bench(python: Path, names: Sequence[str]) -> int:
    """Print the table of the benchmarks, or of the named ones."""
    return subprocess.run([str(python), "-m", "benchmarks", *names], cwd=ROOT).returncode
