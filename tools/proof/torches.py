"""`course.py torches`: the tests that torch can change, and the lessons, on every PyTorch that the course is for."""

import argparse
import ast
import datetime
import os
import platform
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.notebooks import versions
from tools.proof import checks
from tools.setup import torches
from tools.setup.say import ROOT, Stop, run, say
from tools.setup.torches import Target

LESSONS = {"first": "0[0-5]_*.ipynb", "all": "*.ipynb"}
# What torch cannot change: the tools, the benchmarks, the course's pages and exercises. A test is about what it
# imports, but for the Python that it forks.
NOT_DEVICE = re.compile(r"(tools|benchmarks|devicelab\.course)(\.|$)(?!notebooks\.warm$)")
SUMMARY = re.compile(
    r"\d+ (passed|failed|skipped|error|deselected).* in [\d.]+s|\d+ errors? during collection"
)


@dataclass(frozen=True)
class Counts:
    """How many passed, failed and were skipped; a run that ended badly has at least one failure."""

    passed: int
    failed: int
    skipped: int


@dataclass(frozen=True)
class Result:
    """What came of one target, with seconds; `reason` says why nothing was run, `broken` whether that is a failure."""

    target: Target
    tests: Counts | None = None
    cells: Counts | None = None
    install_seconds: float = 0.0
    test_seconds: float = 0.0
    full: tuple[str, str] = ("", "")  # the versions of torch and Python
    reason: str = ""
    broken: bool = False

    @property
    def failed(self) -> bool:
        """Whether this is a failure; what could not be run for want of a Python is none."""
        return self.broken or any(part.failed for part in (self.tests, self.cells) if part)

    @property
    def line(self) -> str:
        """The row of the table."""
        head = f"{self.target.torch:8} {self.target.python:7}"
        if not self.tests or not self.cells:
            return f"{head}{'FAILED' if self.broken else 'NOT RUN'}: {self.reason}"
        tests = f"{self.tests.passed:7} {self.tests.failed:7} {self.tests.skipped:8}"
        cells = f"{self.cells.passed:8} {self.cells.failed:7}"
        return f"{head}{tests}{cells}{self.install_seconds:10.0f} s{self.test_seconds:8.0f} s"


HEAD = "torch    Python  tests  failed  skipped   cells  failed     install    tests"


# --- what is run --------------------------------------------------------------------------------------------------


def device_tests(folder: Path = ROOT / "tests") -> list[Path]:
    """Return the test files that torch can change: those that import nothing of NOT_DEVICE."""
    found = sorted(folder.rglob("test_*.py"))
    return [path for path in found if not any(map(NOT_DEVICE.match, imports(path)))]


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def lessons(which: str) -> list[Path]:
    """Return the lessons 00 to 05 ("first"), or "all"."""
    return sorted((ROOT / "notebooks").glob(LESSONS[which]))


def run_tests(python: Path, log: Path, tests: list[Path]) -> Counts:
    """Run these test files, two at a time, but for what is about pasted texts alone."""
    options = (*checks.UNITS, f"{checks.QUICK} and not text", "-p", "no:cacheprovider", "--durations=15")
    return counted([str(python), *options, *map(str, tests)], log)


def run_lessons(python: Path, log: Path, notebooks: list[Path]) -> Counts:
    """Run these notebooks and compare their outputs."""
    return counted([str(python), "-m", "tools.notebooks.run_notebooks", *map(str, notebooks)], log)


def counted(command: list[str], log: Path) -> Counts:
    """Run pytest, show what it prints and keep it in `log`; return what its last line counts.

    uv compiles nothing: where Python may write no bytecode, each of the many Pythons would compile PyTorch anew (10.6
    seconds of the processor to import it instead of 4.3). So bytecode is kept beside the log.
    """
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(log.parent / "bytecode")}
    code, words = run(command, lambda line: line.rstrip("\n"), os.environ | checks.ONE_THREAD | bytecode)
    log.write_text(words, encoding="utf-8")
    return counts(next(filter(SUMMARY.search, reversed(words.splitlines())), ""), code)


def counts(last_line: str, code: int) -> Counts:
    """Return what pytest's last line and its exit status say."""
    found = {word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", last_line)}
    failed = found.get("failed", 0) + found.get("error", 0)
    return Counts(found.get("passed", 0), failed or int(code != 0), found.get("skipped", 0))


# --- one target, then all -----------------------------------------------------------------------------------------


def try_one(home: Path, wanted: Target, chosen: argparse.Namespace) -> Result:
    """Make the environment of one target with the uv of `home`, run tests and lessons, and return what came of it."""
    wanted, interpreter = torches.python_for(home, wanted, chosen.nearest)
    if interpreter is None:
        return Result(wanted, reason=f"there is no Python {wanted.python} on this machine")
    began = time.monotonic()
    try:
        python = torches.make(home, wanted, interpreter, cpu=chosen.torch == "cpu")
        full = torches.versions(python)
    except Stop as reason:
        return Result(wanted, reason=str(reason), broken=True)
    installed = time.monotonic()
    say(f"\n--- torch {full[0]}, Python {full[1]} ---")
    tests = run_tests(python, wanted.folder / "tests.log", device_tests())
    cells = run_lessons(python, wanted.folder / "lessons.log", lessons(chosen.lessons))
    return Result(wanted, tests, cells, installed - began, time.monotonic() - installed, full)


def row(result: Result) -> dict:
    """Return a result as it is kept."""
    return {
        "torch": result.full[0],
        "python": result.full[1],
        "system": f"{platform.system()} {platform.machine()}",
        "date": datetime.date.today().isoformat(),
        "tests": vars(result.tests),
        "cells": vars(result.cells),
        "seconds": {"install": round(result.install_seconds), "test": round(result.test_seconds)},
    }


def main(home: Path, chosen: argparse.Namespace) -> int:
    """Try the chosen targets one after the other, print the table, and keep it when asked; `home` has uv."""
    targets = chosen.versions or map(torches.target, torches.TRIED)
    results = [try_one(home, wanted, chosen) for wanted in targets]
    say("\n".join(["", HEAD, *(result.line for result in results)]))
    for result in results:
        if result.failed and not result.broken:
            say(f"What failed on {result.target}: see .torches/{result.target}/*.log")
    if chosen.record:
        versions.record([row(result) for result in results if result.tests])
    return 1 if any(result.failed for result in results) or not any(result.tests for result in results) else 0
