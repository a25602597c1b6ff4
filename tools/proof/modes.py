"""Run the notebooks in every way in which people run them: `python3 course.py lessons`, or `python -m tools.proof.modes`.

What this machine cannot do is named with the reason. Without --modes all of them are tried:
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from devicelab.course.elsewhere.running import SECONDS
from devicelab.course.elsewhere.running import VARIABLE as FRAMEWORKS
from tools.notebooks import colab_kernel, elsewhere
from tools.notebooks.kernel_runs import Run, rerun
from tools.notebooks.nbfiles import (
    EXERCISES,
    LESSONS,
    SOLUTIONS,
    NoNotebooks,
    device_environment,
    find,
    named,
    private_environment,
)
from tools.notebooks.run_notebooks import run as run_nbval
from tools.setup import frameworks
from tools.setup.say import Stop, this_command

JOBS = 2  # kernels at a time
REAL_GPU = "import torch; print(torch.version.cuda is not None and torch.cuda.is_available())"


@dataclass(frozen=True)
class Mode:
    """One way to run: what it is, the folders it is for, how it runs the notebooks, and why it may not run here."""

    text: str
    folders: tuple[Path, ...]
    run: Callable[[list[Path]], bool]
    why_not: Callable[[], str | None] = lambda: None


def no_real_gpu() -> str | None:
    """Return why notebooks cannot run on a real GPU here, or None."""
    answer = subprocess.run([sys.executable, "-c", REAL_GPU], capture_output=True, text=True)
    return None if answer.stdout.strip() == "True" else "torch finds no NVIDIA GPU on this machine"


def strict(paths: list[Path]) -> bool:
    """Run on the simulated GPU and compare every output."""
    return run_nbval(paths, device="simulated") == 0


def without_gpu(paths: list[Path]) -> bool:
    """Run with DEVICELAB_GPU=off; cells that need a GPU say so."""
    return run_nbval(paths, device="off", lax=True) == 0


def real_gpu(paths: list[Path]) -> bool:
    """Run on the real GPU, one kernel at a time, so that they do not share it."""
    return run_nbval(paths, device="real", lax=True, workers=1) == 0


def again(paths: list[Path]) -> bool:
    """Run all, run all again in the same kernel, then every cell once more in a shuffled order."""
    return asyncio.run(in_kernels(paths, again=True))


def colab(paths: list[Path]) -> bool:
    """Run all in kernels with Colab's versions, one environment after the other."""
    good = True
    for base in colab_kernel.bases():
        print(base.line, flush=True)
        good = asyncio.run(in_kernels(paths, again=False, python=colab_kernel.make(base))) and good
    return good


def no_frameworks() -> str | None:
    """Return why lesson 12's other frameworks cannot run here, or None."""
    if frameworks.present():
        return None
    return f".venv-frameworks is not there; {this_command('lessons', '--frameworks')} makes it"


def with_frameworks(paths: list[Path]) -> bool:
    """Run the notebooks that hold scripts for other frameworks, compare every output, and each change with its stored run."""
    chosen = [path for path in paths if elsewhere.MAGIC in path.read_text(encoding="utf-8")]
    with patch.dict(os.environ, {FRAMEWORKS: str(frameworks.present())}):
        outputs = run_nbval(chosen, device="simulated", seconds=SECONDS) == 0
        return elsewhere.main(["--check", "--changes"]) == 0 and outputs


EVERY = (LESSONS, SOLUTIONS, EXERCISES)
MODES = {
    "simulated": Mode("simulated GPU, every output compared", EVERY, strict),
    "off": Mode("DEVICELAB_GPU=off, no error cell", EVERY, without_gpu),
    "again": Mode("Run All twice, then out of order; time and memory", (LESSONS,), again),
    "colab": Mode("Colab's packages, no error cell", (LESSONS, EXERCISES), colab),
    "frameworks": Mode(
        "lesson 12 in TensorFlow, JAX, Keras and trainers", (LESSONS,), with_frameworks, no_frameworks
    ),
    "real": Mode("a real NVIDIA GPU, no error cell", EVERY, real_gpu, no_real_gpu),
}


async def in_kernels(paths: list[Path], again: bool, python: Path | None = None) -> bool:
    """Run the notebooks, JOBS at a time, print a line each and say whether all is well."""
    gate = asyncio.Semaphore(JOBS)
    with tempfile.TemporaryDirectory(prefix="modes-", ignore_cleanup_errors=True) as temporary:
        folder, name = Path(temporary), "python3"
        if python is not None:
            name = colab_kernel.install_kernel(python, folder)
            os.environ["JUPYTER_PATH"] = str(folder)  # where this process looks for kernels

        async def one(path: Path) -> Run:
            private = private_environment(folder / path.parent.name / path.stem)
            async with gate:
                variables = os.environ | private | device_environment("simulated")
                run = await rerun(path, variables, again, name, bounds=python is None)
            print(run.line, flush=True)
            return run

        return not any(run.faults for run in await asyncio.gather(*map(one, paths)))


def report(results: list[tuple[str, str, float]]) -> None:
    """Print each mode's outcome and seconds."""
    print()
    for name, outcome, seconds in results:
        print(f"{name:10} {MODES[name].text:50} {outcome}" + (f", {seconds:.0f} s" if seconds else ""))


def run_modes(names: list[str], paths: list[Path] | None) -> bool:
    """Run the modes one after the other and report; say whether none of them failed."""
    results = []
    for name in names:
        mode = MODES[name]
        reason = mode.why_not()
        if reason:
            results.append((name, f"NOT RUN: {reason}", 0.0))
            continue
        print(f"\n--- {name}: {mode.text} ---", flush=True)
        began = time.monotonic()
        good = mode.run(paths or find(*mode.folders))
        results.append((name, "passed" if good else "FAILED", time.monotonic() - began))
    report(results)
    return not any(outcome == "FAILED" for _, outcome, _ in results)


def chosen_modes(text: str) -> list[str]:
    """Return the modes of a list with commas; raise argparse's error, with the names there are, for a wrong one."""
    names = text.split(",")
    for name in names:
        if name not in MODES:
            raise argparse.ArgumentTypeError(f"{name!r} is no mode; there are {', '.join(MODES)}.")
    return names


def main(arguments: list[str] | None = None) -> int:
    """Run the modes and notebooks that the command line names, or all of them."""
    text = "\n".join(f"  {name:10} {mode.text}" for name, mode in MODES.items())
    parser = argparse.ArgumentParser(
        prog="python -m tools.proof.modes",
        description=f"{__doc__}\n{text}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", help="notebooks or folders (default: all that a mode is for)")
    parser.add_argument(
        "--modes",
        type=chosen_modes,
        default=list(MODES),
        metavar="MODE,MODE",
        help="only these, such as off,again",
    )
    options = parser.parse_args(arguments)
    try:
        return 0 if run_modes(options.modes, named(options.paths) if options.paths else None) else 1
    except (NoNotebooks, Stop) as reason:
        print(reason)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
