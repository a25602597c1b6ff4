"""Errors as people post them: the kind, the line and the words that a good answer holds."""

from pathlib import Path

import pytest
import yaml

from devicelab.explain import explain

pytestmark = pytest.mark.text

CASES = yaml.safe_load((Path(__file__).parents[1] / "data" / "public_errors.yaml").read_text("utf-8"))


@pytest.mark.parametrize("name", CASES)
def test_a_posted_error_is_answered(name):
    case = CASES[name]
    found = explain(case["text"])
    assert found.kind == case["kind"]
    assert (found.line, found.file) == (case.get("line"), case.get("file"))
    for words in case["says"]:
        assert words in str(found), found
    assert "/home/kim" not in str(found)


def test_each_says_where_it_is_from():
    assert len(CASES) == 24
    for case in CASES.values():
        assert case["thread"] == "made up" or case["thread"].startswith("https://github.com/")
