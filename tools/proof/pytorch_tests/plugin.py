"""A pytest plugin, loaded into the run of one of PyTorch's test files: choose its CUDA tests and write a line for each result.

The command line of `runs.py` names this module with `-p`; what it needs to know stands in the variable of ASKED.
"""

import json
import os
import re
import sys
import traceback
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from .results import read

ASKED = "DEVICELAB_PYTORCH_TESTS"
# A string, because the tests' modules take it apart when they are imported. It speaks of the wheel that they are meant for.
CUDA = "12.6"
DTYPES = {
    str(value).removeprefix("torch.") for value in vars(torch).values() if isinstance(value, torch.dtype)
}
DTYPE = re.compile(rf"_({'|'.join(sorted(DTYPES, key=len, reverse=True))})(?=_|$)")
HERE = ("torch", "devicelab")
DIGITS = 300  # of an error's first line

asked: dict[str, Any] = json.loads(os.environ.get(ASKED, "{}"))
errors: dict[str, dict[str, str]] = {}
outcomes: dict[str, dict[str, Any]] = {}

if asked:
    torch.version.cuda = CUDA


def pytest_configure() -> None:
    """Keep a test that asks for the card's memory from taking this computer's."""
    if asked and sys.platform == "linux":
        import resource

        limit = int(asked["memory"] * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the chosen tests that have no result yet, those of one run in order."""
    chosen = [item for item in items if wanted(item)]
    if asked["most"] and len(chosen) > asked["most"]:
        # The same ones each time, spread over the file.
        kept = sorted(chosen, key=lambda item: zlib.crc32(name(item).encode()))[: asked["most"]]
        chosen = [item for item in chosen if item in set(kept)]
    write({"chosen": len(chosen), "collected": len(items)})
    done = {result["test"] for result in read(Path(asked["into"]))}  # more than a variable holds
    items[:] = [item for item in chosen if name(item) not in done]


def wanted(item: pytest.Item) -> bool:
    """Whether a test is one of CUDA's, in a chosen dtype, with the words that were asked for."""
    short = name(item)
    if "cuda" not in f"{short} {item.path.stem if asked['whole'] else ''}".lower():
        return False
    if asked["words"] and not any(word in short for word in asked["words"]):
        return False
    after = short.lower().rpartition("_cuda")[2]
    named = DTYPE.findall(after)
    return not named or all(dtype in asked["dtypes"] for dtype in named)


def name(item: pytest.Item) -> str:
    """Return a test's name without its file."""
    return item.nodeid.partition("::")[2]


def write(line: dict[str, Any]) -> None:
    """Append a line to the results, at once: the next test may end this process."""
    with Path(asked["into"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart(nodeid: str) -> None:
    """Say which test begins."""
    write({"began": nodeid.partition("::")[2]})


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Keep what became of a test, and of its first error."""
    result = yield
    report = result.get_result()  # type: ignore[attr-defined]
    key = name(item)
    kept = outcomes.setdefault(key, {"test": key, "outcome": "passed", "seconds": 0.0})
    kept["seconds"] = round(kept["seconds"] + call.duration, 2)
    if report.failed:
        kept["outcome"] = "failed"
        if "error" not in kept:
            kept["error"] = told(call.excinfo) if call.excinfo else {"type": "Unexpected success", "line": ""}
    elif report.skipped and kept["outcome"] != "failed":
        expected = hasattr(report, "wasxfail")
        kept["outcome"] = "passed" if expected else "skipped"
        if not expected:
            kept["reason"] = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(call.excinfo)


def told(info: pytest.ExceptionInfo[BaseException]) -> dict[str, str]:
    """Return an error's type, first line, the last line of torch or devicelab that it came from, and that of the test."""
    text = str(info.value).strip()
    frames = traceback.extract_tb(info.value.__traceback__)
    inside = [frame for frame in frames if package(frame.filename) and "torch/testing" not in frame.filename]
    test = [frame for frame in frames if Path(frame.filename).name.startswith("test_")]
    return {
        "type": info.type.__name__,
        "line": text.partition("\n")[0][:DIGITS],
        "more": text[:2000],
        "inside": place(inside),
        "at": place(test),
    }


def package(filename: str) -> bool:
    """Whether a file belongs to torch or devicelab."""
    return any(f"/{one}/" in filename for one in HERE)


def place(frames: list[traceback.FrameSummary]) -> str:
    """Return the last of these frames as file:line."""
    if not frames:
        return ""
    path = frames[-1].filename
    for one in HERE:
        path = path.rpartition(f"/{one}/")[2] if f"/{one}/" in path else path
    return f"{Path(path).name if path.startswith('/') else path}:{frames[-1].lineno}"


@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish(nodeid: str) -> None:
    """Write a test's result; a card that an assert has made unusable ends this process, and a new one goes on."""
    key = nodeid.partition("::")[2]
    kept = outcomes.pop(key, None)
    if kept is None:
        return
    write(kept)
    if kept["outcome"] == "failed" and unusable():
        os._exit(3)


def unusable() -> bool:
    """Whether the card answers nothing any more."""
    try:
        torch.cuda.synchronize()
    except Exception as error:
        return "device-side assert" in str(error)
    return False
