"""Each symptom of docs/symptoms.md is followed to its notebook; made-up pages show that each fault is found."""

import re

import pytest
import symptoms
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from symptoms import faults

from devicelab import explain
from tools.notebooks.nbfiles import ROOT, write

PAGE = ROOT / "docs" / "symptoms.md"
ENTRY = "### 1. It stops\n\n`RuntimeError: on the same device`\n\n[Read here](../notebooks/00_a.ipynb#It-stops,-then)\n"


def test_every_symptom_is_found_where_the_page_says():
    assert PAGE.exists(), "docs/symptoms.md is missing"
    assert list(faults(PAGE)) == []


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A page of one symptom, and the notebook that it leads to."""
    monkeypatch.setattr(symptoms, "CONFUSIONS", range(1, 2))
    said = new_output("stream", name="stdout", text="RuntimeError: on the\n  same device\n")
    cells = [
        new_markdown_cell("# Title", id="title"),
        new_markdown_cell("## It stops, then", id="head"),
        new_code_cell("x", id="confusion-1", outputs=[said]),
        new_code_cell("y", id="confusion-1-gone"),
        new_markdown_cell("## Another", id="other"),
    ]
    notebook = new_notebook(cells=cells)
    (tmp_path / "docs").mkdir()

    def store(text=ENTRY):
        write(tmp_path / "notebooks" / "00_a.ipynb", notebook)
        (tmp_path / "docs" / "symptoms.md").write_text(text)
        return list(faults(tmp_path / "docs" / "symptoms.md"))

    return notebook, store


def test_a_good_page_has_no_fault(made):
    assert made[1]() == []
    assert made[1]("# Symptoms\n\n" + ENTRY + "\n## More\n\n`nothing` [x](../README.md)\n") == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("### 1.", "### 2.", "symptom 1 stands 0 times"),
        ("`RuntimeError: on the same device`", "words", "no text in backticks"),
        ("`RuntimeError: on the same device`", "`ValueError`", "does not show"),
        ("[Read here](../notebooks/00_a.ipynb#It-stops,-then)", "there", "no link"),
        ("00_a.ipynb", "00_b.ipynb", "leads nowhere"),
        ("#It-stops,-then", "#It-goes-on", "leads nowhere"),
        ("#It-stops,-then", "#Another", "does not stand above"),
    ],
)
def test_a_bad_entry_is_found(made, old, new, fault):
    assert fault in " ".join(made[1](ENTRY.replace(old, new)))


def test_a_symptom_that_stands_twice_is_found(made):
    assert "symptom 1 stands 2 times on the page" in made[1](ENTRY * 2)


@pytest.mark.parametrize("name", ["confusion-1", "confusion-1-gone"])
def test_a_missing_cell_is_found(made, name):
    notebook, store = made
    notebook.cells = [cell for cell in notebook.cells if cell.id != name]
    assert f"symptom 1: 00_a.ipynb has no cell {name}" in store()


def test_the_box_of_a_known_error_leads_to_the_page():
    known = explain("RuntimeError: Torch not compiled with CUDA enabled")
    assert re.search(r'href="\.\./docs/symptoms\.md"', known._repr_html_())
    assert "symptoms" not in explain("ValueError: too many values to unpack")._repr_html_()
