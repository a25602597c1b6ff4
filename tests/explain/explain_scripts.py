"""Run a learner's script on the simulated card, explain its error, type the fix in and run it again."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from devicelab import simulate_gpu
from devicelab.explain import Explanation, explain

DATA = Path(__file__).parents[1] / "data"
PRELUDE = """import torch
import torch.nn.functional as F
from torch import nn
device = torch.device("cuda")
"""


@dataclass(frozen=True)
class Case:
    """A script that fails, and what is to be said about it."""

    code: str
    culprit: str
    fix: str
    at: str = ""
    similar: bool = False  # fails in the way of the message, but with other names in it
    message: str = ""
    cards: int = 1
    mib: int = 0  # of memory that PyTorch may have, 0 for all of the card's


def cases(file: str) -> dict[str, Case]:
    """Return the cases of a file by name."""
    return {name: Case(**fields) for name, fields in yaml.safe_load((DATA / file).read_text("utf-8")).items()}


def shared_messages() -> dict[str, dict[str, str]]:
    """Return the genuine messages of PyTorch's CUDA build."""
    return json.loads((DATA / "cuda_error_messages.json").read_text("utf-8"))["cases"]


def run(code: str, folder: Path, cards: int = 1, mib: int = 0) -> tuple[Exception | None, Explanation | None]:
    """Run a script as the file train.py and return its error, explained while the simulated card is there."""
    path = folder / "train.py"
    path.write_text(PRELUDE + code, "utf-8")
    variables: dict[str, Any] = {"__name__": "__main__", "__file__": str(path)}
    with simulate_gpu("Tesla T4", count=cards):
        if mib:
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(mib * 2**20 / total)
        try:
            exec(compile(PRELUDE + code, str(path), "exec"), variables)
        except Exception as error:
            return error, explain(error)
    return None, None


def failing(case: Case, folder: Path) -> tuple[Exception, Explanation]:
    """Run a case that must fail."""
    error, found = run(case.code, folder, case.cards, case.mib)
    assert error is not None and found is not None, "the script ran"
    return error, found


def mended(case: Case, folder: Path, rounds: int = 4) -> Exception | None:
    """Type the fix in where the explanation says and run again, as often as something else turns up; return what is left."""
    code = case.code
    error, found = run(code, folder, case.cards, case.mib)
    for _ in range(rounds):
        if error is None or found is None:
            return None
        lines = (PRELUDE + code).splitlines()
        code = "\n".join(typed_in(lines, found)).removeprefix(PRELUDE)
        error, found = run(code, folder, case.cards, case.mib)
    return error


def typed_in(lines: list[str], found: Explanation) -> list[str]:
    """Return the script with the fix, as a learner who reads `fix_at` would type it."""
    fix, place = found.fix or "", found.fix_at
    if place == "at the end of __init__":
        start = fix.partition("=")[0]
        at = next(number for number, line in enumerate(lines) if line.strip().startswith(start))
        return [*lines[: at + 1], re.match(r"\s*", lines[at])[0] + fix, *lines[at + 1 :]]  # type: ignore[index]
    left_out = re.search(r"; leave out .* line (\d+)$", place)
    if left_out:
        lines = [*lines[: int(left_out[1]) - 1], "", *lines[int(left_out[1]) :]]
    number = re.search(r"line (\d+)", place)
    at = int(number[1]) - 1 if number else _calling_line(lines, found)
    indent = re.match(r"\s*", lines[at])[0]  # type: ignore[index]
    part = re.match(r"in place of (?!line)(.*) in line", place)
    if part:
        text = part[1] if part[1] in lines[at] else part[1].replace("'", '"')
        return [*lines[:at], lines[at].replace(text, fix, 1), *lines[at + 1 :]]
    if place.startswith("after line"):
        return [*lines[: at + 1], indent + fix, *lines[at + 1 :]]
    rest = lines[at + 1 :] if place.startswith("in place of") else lines[at:]
    return [*lines[:at], indent + fix, *rest]


def _calling_line(lines: list[str], found: Explanation) -> int:
    """Return the line of the script's own level that leads to the error: the last one, or the loop around it."""
    at = (found.line or 1) - 1
    if lines[at].startswith((" ", "\t")) and not (found.fix or "").startswith("self."):
        outer = [number for number, line in enumerate(lines) if line and not line[0].isspace()]
        at = outer[-1]
    return at
