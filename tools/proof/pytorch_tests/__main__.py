"""The command line."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.setup.say import say

from . import __doc__ as what
from . import runs, sources
from .table import Results, changes, table

DTYPES = ("float32", "int64", "complex64", "float16")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m tools.proof.pytorch_tests", description=what)
    option = top.add_argument
    option("folder", type=Path, help="PyTorch's test files; subfolders too")
    option(
        "--into", type=Path, required=True, help="where results are kept; the same command goes on from there"
    )
    option("--files", nargs="*", default=["test_*.py"], metavar="PATTERN", help="only these, in this order")
    option(
        "--words", nargs="*", default=[], metavar="WORD", help="only tests with one of these in their name"
    )
    option(
        "--dtypes", nargs="*", default=DTYPES, metavar="DTYPE", help="of tests that are repeated over dtypes"
    )
    option("--most", type=int, default=0, metavar="N", help="of each file, always the same N (default: all)")
    option("--timeout", type=float, default=60, metavar="SECONDS", help="for one test")
    option("--memory", type=float, default=8, metavar="GIB", help="that a test may take of this computer")
    option("--card", default="Tesla T4")
    option("--again", action="store_true", help="first forget what failed, so that it is run again")
    option("--examples", type=int, default=3, metavar="N", help="tests named for each cause")
    option("--table", action="store_true", help="run nothing, print what there is")
    option(
        "--against", type=Path, metavar="RESULTS", help="say what changed since the run that was kept there"
    )
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what has no result yet and print the table."""
    chosen = parser().parse_args(arguments)
    asked = runs.Asked(
        chosen.card, tuple(chosen.dtypes), chosen.timeout, chosen.memory, chosen.most, tuple(chosen.words)
    )
    chosen.into.mkdir(parents=True, exist_ok=True)
    if not chosen.table:
        run(chosen, asked)
    results = kept(chosen.into)
    (chosen.into / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    say(table(results, chosen.examples))
    if chosen.against:
        say("\n" + changes(kept(chosen.against), results))
    return 0


def kept(folder: Path) -> Results:
    """Return the results in a folder, by file."""
    return {path.stem: runs.read(path) for path in sorted(folder.glob("*.jsonl"))}


def run(chosen: argparse.Namespace, asked: runs.Asked) -> None:
    """Run what has no result yet."""
    with tempfile.TemporaryDirectory() as temporary:
        copied = Path(temporary)
        tests = sources.copy(chosen.folder, copied)
        for pattern in chosen.files:
            for test in (test for test in tests if test.match(pattern)):
                results = (
                    chosen.into.resolve()
                    / f"{'.'.join(test.relative_to(copied).with_suffix('').parts)}.jsonl"
                )
                if chosen.again:
                    runs.forget_failures(results)
                if not runs.complete(results):
                    say(f"{test.relative_to(copied)} ...")
                    runs.run_file(test, results, asked)


if __name__ == "__main__":
    sys.exit(main())
