"""The part of docs/symptoms.md that the catalogue writes."""

import pytest

from devicelab.explain.catalogue import entries
from tools.notebooks.symptoms_page import MARK, PAGE, SHOWN, catalogue, page

TEXT = PAGE.read_text("utf-8")


def test_the_page_is_up_to_date():
    assert page(TEXT) == TEXT, "run python -m tools.notebooks.symptoms_page"


@pytest.mark.parametrize("one", entries(), ids=lambda one: one.id)
def test_every_entry_is_found_there_by_its_words(one):
    for words in one.words:
        assert words in TEXT
    for address in one.source:
        assert f"({address})" in TEXT


def test_what_a_lesson_shows_leads_there():
    """test_docs follows the links; here each is shown, under an entry that there is."""
    assert SHOWN.keys() <= {one.id for one in entries()}
    assert all(TEXT.count(link) == list(SHOWN.values()).count(link) for link in SHOWN.values())


def test_what_stands_above_the_mark_is_kept():
    assert page(f"by hand\n{MARK}\nold") == f"by hand\n{MARK}\n\n{catalogue()}"
