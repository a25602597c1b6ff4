"""The tables of published times in docs/estimates.md and lesson 05 are those that the tool writes."""

import pytest

from tools.notebooks import published


@pytest.mark.parametrize(
    ("path", "write"), [(published.PAGE, published.page), (published.LESSON, published.notebook)]
)
def test_the_tables_are_what_the_tool_writes(path, write):
    text = path.read_text(encoding="utf-8")
    assert write(text, published.read()) == text, "python -m tools.notebooks.published writes them anew"


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
