"""The tables of published times in docs/estimates.md and lesson 05 are those that the tool writes."""

import csv
from urllib.parse import urlparse

from tools.notebooks import published


def test_the_tables_are_what_the_tool_writes():
    for path, text in published.pages().items():
        assert text == path.read_text(encoding="utf-8"), (
            f"{path.name}: python -m tools.notebooks.published writes it anew"
        )


def test_every_moment_has_card_version_date_and_address():
    with (published.FOLDER / "moments.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["lesson"] for row in rows} == set(published.MOMENTS)
    for row in rows:
        assert row["card"] and row["software"] and urlparse(row["address"]).scheme == "https", row
        assert float(row["value"]) >= 0 and len(row["date"]) == 10, row


def test_every_graded_and_every_shown_row_stands_on_the_page():
    page = published.PAGE.read_text(encoding="utf-8")
    lines = published.read()
    assert published.others(lines).count("\n") - 1 == sum(
        one["use"] == "graded" and one["source"] != "neusight" for one in lines
    )
    assert all(published.milliseconds(one["published"]) in page for one in lines)


def test_the_mean_is_that_of_the_rows():
    rows = [
        {
            "card": "A",
            "published": 1.0,
            "estimated": 1.1,
            "trained_network": 0.8,
            "roofline": 0.5,
            "source": "neusight",
        }
    ]
    rows[0] |= {"model": "gpt3_xl", "mode": "forward", "layout": "", "batch": 2, "low": 1.0, "high": 1.3}
    table = published.whole(rows)
    assert "| A | GPT-3 XL, forward | 2 | 1,000 | 1,100 (1,000 to 1,300) | +10% | -20% | -50% |" in table
    assert "| all | mean error | 1 |  |  | 10.0% | 20.0% | 50.0% |" in table
