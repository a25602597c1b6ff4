"""Run a test file in a process of its own until each of its tests has a result, whatever ends that process."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.setup.say import ROOT

from .plugin import ASKED
from .results import lines, read

PLUGIN = f"{__package__}.plugin"
COLLECTING = 900  # seconds before the first test: some files make tens of thousands
PATIENCE = 90  # seconds beyond a test's limit in which pytest should have ended it
LOOK = 1.0  # seconds
MOST_STARTS = 200


@dataclass(frozen=True)
class Asked:
    """What is run, and how."""

    card: str
    dtypes: tuple[str, ...]
    timeout: float
    memory: float
    most: int
    words: tuple[str, ...]


def run_file(test: Path, results: Path, asked: Asked) -> None:
    """Run what has no result yet of one test file, and append to `results` a line for each test."""
    starts = 0
    while starts < MOST_STARTS:
        starts += 1
        ended, ending = run_once(test, results, asked)
        running = unfinished(results)
        if running:
            append(results, {"test": running, "outcome": "failed", "seconds": 0.0, "error": ending})
        elif ended in (0, 1, 5) and begun(results):  # all passed, some failed, none was chosen
            break
        elif ended != 3:
            append(results, {"test": "(the file)", "outcome": "failed", "seconds": 0.0, "error": ending})
            break
    append(results, {"complete": True})


def run_once(test: Path, results: Path, asked: Asked) -> tuple[int, dict[str, str]]:
    """Start pytest for one file; return its exit status, and as an error how it ended."""
    log = results.with_suffix(".log")
    told = {
        "into": str(results), "dtypes": asked.dtypes, "most": asked.most, "words": asked.words, "memory": asked.memory,
        "whole": "cuda" in test.stem.lower(),
    }  # fmt: skip
    options = [
        "--simulate-gpu",
        "--simulated-gpu-card",
        asked.card,
        "--simulated-gpu-unsupported=fail",
        "--full-trace",  # else the plugin leaves the simulated card's own lines out
        "--timeout",
        str(asked.timeout),
        "--timeout-method",
        "signal",
        "-q",
        "--tb",
        "no",
    ]
    alone = [
        "--noconftest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-c",
        os.devnull,
        "--rootdir",
        str(test.parent),
    ]
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, *options, *alone, str(test)]
    variables = os.environ | {
        ASKED: json.dumps(told),
        "PYTORCH_TESTING_DEVICE_ONLY_FOR": "cuda",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
    }
    results.touch()
    began = results.stat().st_mtime
    with log.open("a", encoding="utf-8") as words:
        process = subprocess.Popen(
            command, cwd=test.parent, env=variables, stdout=words, stderr=subprocess.STDOUT
        )
        hung = False
        while True:
            try:
                code = process.wait(LOOK)
                break
            except subprocess.TimeoutExpired:
                collecting = results.stat().st_mtime <= began
                limit = COLLECTING if collecting else asked.timeout + PATIENCE
                if time.time() - max(began, results.stat().st_mtime) > limit:
                    process.kill()
                    hung = True
    if hung:
        return code, {"type": "Hung", "line": f"no answer in {asked.timeout:.0f} s, nor to pytest's timeout"}
    last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
    return code, {"type": "Crashed", "line": f"the process ended with status {code}", "more": last}


def append(results: Path, line: dict[str, Any]) -> None:
    """Add a line to a file of results."""
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def unfinished(results: Path) -> str | None:
    """Return the test that began last, if it has no result."""
    last = None
    for line in lines(results):
        if "began" in line:
            last = line["began"]
        elif line.get("test") == last:
            last = None
    return last


def begun(results: Path) -> bool:
    """Whether the tests of a file were collected."""
    return any("chosen" in line for line in lines(results))


def complete(results: Path) -> bool:
    """Whether a file was run to its end."""
    return any("complete" in line for line in lines(results))


def forget_failures(results: Path) -> None:
    """Keep the results of tests that did not fail, as those of a run that was stopped."""
    kept = [line for line in read(results) if line["outcome"] != "failed"]
    if results.exists():
        results.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
