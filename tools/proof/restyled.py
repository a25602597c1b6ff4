"""Write right answers in other styles and see what their check says: `python -m tools.proof.restyled [NN ...]`.

The reference answer and the other right answers of each question in solutions/ are rewritten by one rule at a time (RULES); what
the reference gives is handed to the check in other ways (`handed`). All mean the same, so each must pass. Exit status 1: one
is rejected, or a question has fewer than FEWEST.
"""

import argparse
import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from devicelab import simulate_gpu
from tools.notebooks.exercises import BEGIN, solved
from tools.notebooks.nbfiles import SOLUTIONS, find, is_code, read, tags
from tools.proof.mutants import BREAKABLE, CHECKED, is_plain, judged, run_cell

FEWEST = 2
RULES = (
    ("the device by its keyword", r"\.to\((device|kind|x\.device|\"cuda\")\)", r".to(device=\1)"),
    (".to for .cpu", r"\.cpu\(\)", '.to("cpu")'),
    (".to for .cuda", r"\.cuda\(\)", '.to("cuda")'),
    (".tolist for .item", r"\.item\(\)", ".tolist()"),
    (".data for .detach", r"\.detach\(\)", ".data"),
    ("a device for its name", r"(device|map_location)=\"(cuda|cpu)\"", r'\1=torch.device("\2")'),
    ("a sum spelled out", r"(?m)^(\s*)(\w+) \+= (.+)$", r"\1\2 = \2 + (\3)"),
    ("functions for methods", r"\b(\w+)\.argmax\(dim=1\)", r"torch.argmax(\1, dim=1)"),
    ("zeros for no gradients", r"zero_grad\(\)", "zero_grad(set_to_none=False)"),
    ("a method for a comparison", r"\((\w+) < ([\d.]+)\)", r"\1.lt(\2)"),
)


@dataclass
class Styles:
    """What became of the styles of one question: how many passed, and one line for each that did not."""

    name: str
    passed: int = 0
    rejected: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """One sentence for each thing that must not be."""
        few = [f"{self.name}: only {self.passed} other styles, {FEWEST} are wanted"]
        return [f"{self.name}: REJECTED, {line}" for line in self.rejected] + (
            few if self.passed < FEWEST else []
        )


def restyled(source: str) -> Iterator[tuple[str, str]]:
    """Yield each rule that changes an answer, with the new text."""
    for what, pattern, replacement in RULES:
        changed = re.sub(pattern, replacement, source)
        if changed != source:
            yield what, changed


def handed(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield other ways to hand the same answer to a check: another order, a wrapper, a subclass, a script of another style."""
    if isinstance(value, dict):
        yield "in another order", dict(reversed(value.items()))
        yield (
            "the card with its number",
            {key: {"cuda": "cuda:0"}.get(said, said) for key, said in value.items()},
        )
    elif isinstance(value, Path):
        yield "the path as text", str(value)
        yield from _scripts(value)
    elif callable(value):
        yield "a partial", functools.partial(value)
        yield "a lambda", lambda *given, **named: value(*given, **named)
    if isinstance(value, type):
        yield "a subclass", type(value.__name__, (value,), {})


def _scripts(path: Path) -> Iterator[tuple[str, Path]]:
    for number, (what, text) in enumerate(restyled(path.read_text(encoding="utf-8"))):
        other = path.with_name(f"style_{number}.py")
        other.write_text(text, encoding="utf-8")
        yield what, other


def try_styles(paths: list[Path]) -> list[Styles]:
    """Try the styles of all questions on a simulated GPU, with progress in a folder of its own."""
    with (
        TemporaryDirectory() as folder,
        simulate_gpu("Tesla T4"),
        patch.dict(os.environ, DEVICELAB_HOME=folder),
    ):
        return [styles for path in paths for styles in _of_solution(path)]


def _of_solution(path: Path) -> Iterator[Styles]:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    found: dict[str, Styles] = {}
    answer = ""
    for cell in filter(is_code, read(path).cells):
        if "lab.start(" in cell.source:
            run_cell(re.sub(r".*lab\.start\(.*", "", cell.source), namespace, f"<{cell.id}>")
        checked = CHECKED.search(cell.source)
        is_other = "other-right-answer" in tags(cell)
        if is_other and checked and namespace[checked[1]].kind in BREAKABLE:
            other, _, check = cell.source.rpartition("\n")
            _rewrite(found[checked[1]], other, check, namespace)
        if not is_plain(cell):
            continue
        if checked and answer:
            styles = found[checked[1]] = Styles(f"{path.name[:2]}.{checked[1]}")
            if namespace[checked[1]].kind in BREAKABLE:
                _rewrite(styles, answer, cell.source, namespace)
            for name in re.findall(r"\w+", cell.source.partition(".check(")[2]):
                for what, value in handed(namespace[name]):
                    _note(styles, what, "", cell.source, namespace | {name: value})
            answer = ""
        if BEGIN in cell.source:
            answer = solved(cell.source)
        run_cell(cell.source, namespace, f"<{cell.id}>")
    yield from found.values()


def _rewrite(styles: Styles, answer: str, check: str, namespace: dict[str, Any]) -> None:
    for what, source in restyled(answer):
        _note(styles, what, source, check, namespace)


def _note(styles: Styles, what: str, source: str, check: str, namespace: dict[str, Any]) -> None:
    outcome, _ = judged(source, check, dict(namespace))
    if outcome == "passed":
        styles.passed += 1
    else:
        styles.rejected.append(f"{what}: {outcome}")


def main(arguments: list[str] | None = None) -> int:
    """Try the solutions whose numbers the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m tools.proof.restyled", description=__doc__)
    parser.add_argument("numbers", nargs="*", metavar="NN", help="such as 02 (default: all solutions)")
    numbers = parser.parse_args(arguments).numbers
    found = try_styles([path for path in find(SOLUTIONS) if not numbers or path.name[:2] in numbers])
    faults = [fault for styles in found for fault in styles.faults]
    print("\n".join([*(f"{one.name}: {one.passed} styles pass" for one in found), *faults]))
    return 1 if faults or not found else 0


if __name__ == "__main__":
    raise SystemExit(main())
