"""Which versions the course was tried with: tools/proof/torches.json, and the table made from it in two pages.

`course.py torches --record` fills the file; `python -m tools.notebooks.versions` writes the pages anew.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from tools.notebooks.marks import filled
from tools.setup.say import ROOT, say

RECORDED = ROOT / "tools" / "proof" / "torches.json"
PAGES = (ROOT / "docs" / "versions.md", ROOT / "README.md")
HEAD = "| PyTorch | Python | Tests passed | failed | skipped | Cells passed | failed | Seconds | Date |"


def record(rows: Sequence[dict], path: Path = RECORDED) -> None:
    """Keep these rows in place of older ones of the same versions, then write the pages anew."""
    kept = {_versions(row): row for row in [*read(path), *rows]}
    text = json.dumps([kept[key] for key in sorted(kept)], indent=1)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
    main()


def read(path: Path = RECORDED) -> list[dict]:
    """Return what was recorded."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def table(rows: Sequence[dict]) -> str:
    """Return the rows as a Markdown table; a sentence where there is none."""
    if not rows:
        return "No run is recorded yet."
    return "\n".join([HEAD, "|---|---|" + "--:|" * 6 + "---|", *map(_line, rows)])


def main() -> None:
    """Write the pages."""
    for page in PAGES:
        text = filled(page.read_text(encoding="utf-8"), "torches", table(read()))
        page.write_text(text, encoding="utf-8", newline="\n")
        say(f"{page.relative_to(ROOT).as_posix()}: written")


def _versions(row: dict) -> tuple[tuple[int, ...], ...]:
    """Return the versions by which rows are sorted: those of torch and of Python, without build and patch."""
    torch, python = row["torch"].partition("+")[0], row["python"].rpartition(".")[0]
    return tuple(tuple(map(int, version.split("."))) for version in (torch, python))


def _line(row: dict) -> str:
    tests, cells = row["tests"], row["cells"]
    numbers = (*(tests[key] for key in ("passed", "failed", "skipped")), cells["passed"], cells["failed"])
    facts = (row["torch"], row["python"], *map(str, numbers), str(row["seconds"]["test"]), row["date"])
    return f"| {' | '.join(facts)} |"


if __name__ == "__main__":
    main()
