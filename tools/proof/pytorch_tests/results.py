"""The results of a test file, a line a test: a run that goes on reads there what has been done."""

import json
from pathlib import Path
from typing import Any


def lines(results: Path) -> list[dict[str, Any]]:
    """Return all lines of a file of results; the last may have been cut off."""
    found = []
    if results.exists():
        for line in results.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return found


def read(results: Path) -> list[dict[str, Any]]:
    """Return one result for each test that has one."""
    return list({line["test"]: line for line in lines(results) if "test" in line}.values())
