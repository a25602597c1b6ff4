"""The verdicts of lesson 10 speak of the claims in docs/claims.md, name their evidence, and stand in the README as well."""

import re

import pytest

from tools.notebooks.ledger import README, table, with_ledger
from tools.notebooks.nbfiles import ROOT
from tools.setup.say import Stop

CLAIMS = ROOT / "docs" / "claims.md"
KINDS = (
    "measured",
    "published",
    "recorded",
    "documentation",
    "genuine messages",
)  # what can settle a claim; "simulated" alone cannot


def rows(text: str) -> list[list[str]]:
    """Return the cells of a Markdown table's rows, without its head."""
    lines = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    return [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in lines]


def claims() -> list[list[str]]:
    return rows(CLAIMS.read_text(encoding="utf-8").partition("## Five words")[0])


def test_the_claims_are_those_of_their_page_in_the_same_words():
    assert [row[:2] for row in rows(table())] == [row[:2] for row in claims()]
    assert len(claims()) == 7


def test_each_verdict_rests_on_more_than_a_simulation():
    for number, _, verdict, evidence, where in rows(table()):
        assert verdict and where, f"claim {number} has no verdict, or no place"
        assert any(kind in evidence for kind in KINDS), f"claim {number} rests on {evidence!r}"


def test_each_claim_is_seen_in_the_lessons_that_its_page_names():
    for claim, verdict in zip(claims(), rows(table()), strict=True):
        lessons = re.findall(r"\[(\d\d)\]\(\.\./notebooks/\1_\w+\.ipynb\)", claim[2])
        assert lessons, f"claim {claim[0]} names no lesson to try it in"
        for lesson in lessons:
            assert lesson in verdict[4] or (verdict[4] == "here" and lesson == "10")


def test_the_readme_holds_the_same_table():
    text = README.read_text(encoding="utf-8")
    assert with_ledger(text, table()) == text, "run python -m tools.notebooks.ledger"


def test_every_link_of_the_readmes_table_leads_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", table())
    places = [link.partition("#")[0] for link in links if not link.startswith("https:")]
    assert places and all((README.parent / place).is_file() for place in places)
    assert any(place.startswith("docs/") for place in places)


def test_another_table_is_noticed_and_missing_markers_are_refused():
    text = README.read_text(encoding="utf-8")
    assert with_ledger(text, table().replace("wrong", "right")) != text
    for marker in ("<!-- ledger:begin -->", "<!-- ledger:end -->"):
        with pytest.raises(Stop, match="once each"):
            with_ledger(text.replace(marker, ""), table())
