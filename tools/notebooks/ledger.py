"""Copy the table of verdicts from lesson 10 into README.md: `python -m tools.notebooks.ledger`; its only source is the lesson."""

import re
from pathlib import Path

from tools.notebooks.marks import filled
from tools.notebooks.nbfiles import LESSONS, ROOT, read

README = ROOT / "README.md"
LESSON = LESSONS / "10_rescue_the_script.ipynb"
SUMMARY = "<summary>The article's seven claims: what came of them, and what each verdict rests on</summary>"


def table(lesson: Path = LESSON) -> str:
    """Return the lesson's table as it stands in the cell `ledger`, with links as seen from the root of the repository."""
    source = next(cell.source for cell in read(lesson).cells if cell.id == "ledger")
    return re.sub(r"\]\((\.\./)?(?!https?:)", lambda m: "](" if m[1] else "](notebooks/", source)


def with_ledger(readme: str, ledger: str) -> str:
    """Return the README with this table between its two marks."""
    return filled(readme, "ledger", f"<details>\n{SUMMARY}\n\n{ledger}\n\n</details>")


def main() -> None:
    """Rewrite README.md where the lesson has changed."""
    old = README.read_text(encoding="utf-8")
    new = with_ledger(old, table())
    if new != old:
        README.write_text(new, encoding="utf-8")
    print(f"README.md: {'written' if new != old else 'unchanged'}")


if __name__ == "__main__":
    main()
