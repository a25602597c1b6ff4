"""Why tests failed: known causes by `causes.yaml`, and the others in groups of the same error."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

KINDS = {
    "hardware": "needs a card, or what a wheel with CUDA has",
    "version": "a test of another PyTorch, or of another backend",
    "machine": "this computer was too slow or too small",
    "refused": "refused by design",
    "approximated": "approximated by design",
    "open": "the simulation's fault, or not looked at yet",
}
OURS = ("refused", "approximated", "open")  # what a person would meet who trusts the simulated card
VARYING = (
    (re.compile(r"0x[0-9a-f]+"), "0x.."),
    (re.compile(r"\d+(\.\d+)?(e[-+]?\d+)?"), "N"),
    (re.compile(r"/\S+/"), ""),
    (re.compile(r"torch\.(float|int|uint|complex|bfloat)N\w*"), "DTYPE"),
)


@dataclass(frozen=True)
class Cause:
    """A known cause: whose error it is (regular expressions), its kind, and why."""

    kind: str
    why: str
    row: str = ""  # of docs/simulated-gpu.md, its first cell
    test: str = ""
    type: str = ""
    line: str = ""

    def fits(self, file: str, result: dict[str, Any]) -> bool:
        """Whether a failure is of this cause."""
        error = result["error"]
        words = error.get("more") or error["line"]
        return all((
            re.search(self.test, f"{file}::{result['test']}"),
            re.fullmatch(self.type or ".*", error["type"]),
            re.search(self.line, words),
        ))  # fmt: skip


@cache
def known() -> tuple[Cause, ...]:
    """Return the known causes, in the order in which they are asked."""
    rows = yaml.safe_load(Path(__file__).with_name("causes.yaml").read_text(encoding="utf-8"))
    return tuple(Cause(**row) for row in rows)


def cause_of(file: str, result: dict[str, Any]) -> Cause:
    """Return the first known cause that fits a failure, or one that holds the error's own words."""
    for cause in known():
        if cause.fits(file, result):
            return cause
    return Cause("open", same(result["error"]))


def same(error: dict[str, str]) -> str:
    """Return an error in the words that it shares with others like it."""
    words = f"{error['type']}: {error['line']}"
    for varying, instead in VARYING:
        words = varying.sub(instead, words)
    return words[:160] + (f"  [{error['inside'].partition(':')[0]}]" if error.get("inside") else "")


def grouped(failures: Iterable[tuple[str, dict[str, Any]]]) -> dict[Cause, list[tuple[str, dict[str, Any]]]]:
    """Return failures by cause: each kind's together, the most frequent first."""
    groups: dict[Cause, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for file, result in failures:
        groups[cause_of(file, result)].append((file, result))
    order = list(KINDS)
    return dict(sorted(groups.items(), key=lambda one: (order.index(one[0].kind), -len(one[1]), one[0].why)))
