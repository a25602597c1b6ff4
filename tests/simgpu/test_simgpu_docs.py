"""Each row of the page about the simulated GPU names a test, and that test exists."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["simulated-gpu.md", "testing-without-a-gpu.md"]
LINK = re.compile(r"\[([^]]+)\]\((\.\./[^)]+)\)")


def rows(page: str) -> list[str]:
    lines = (DOCS / page).read_text().splitlines()
    tables = [line for line in lines if line.startswith("| ") and not set(line) <= set("|- ")]
    return [line for line in tables if not line.rstrip(" |").endswith(("Test", "Shown by"))]


@pytest.mark.parametrize("page, least", [("simulated-gpu.md", 25), ("testing-without-a-gpu.md", 4)])
def test_every_row_names_its_test(page, least):
    without = [row for row in rows(page) if "../tests/" not in row.split("|")[-2]]
    assert without == [] and len(rows(page)) >= least


@pytest.mark.parametrize("page", PAGES)
def test_every_named_file_and_test_exists(page):
    missing = []
    for text, target in LINK.findall((DOCS / page).read_text()):
        path = (DOCS / target).resolve()
        if not path.exists():
            missing.append(target)
        elif text.startswith("test_") and text != path.stem and f"def {text}(" not in path.read_text():
            missing.append(f"{target}::{text}")
    for name, target in re.findall(r"`(test_\w+)` in \[[^]]+\]\((\.\./[^)]+)\)", (DOCS / page).read_text()):
        if f"def {name}(" not in (DOCS / target).resolve().read_text():
            missing.append(f"{target}::{name}")
    assert missing == []
