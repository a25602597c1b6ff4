"""The course as a learner sees it: JupyterLab in a real browser, on the simulated GPU."""

import re

import pytest
from lab_page import (
    ROOT,
    choose,
    error_texts,
    open_notebook,
    pop_ups,
    prompts,
    raw_texts,
    run_all,
    too_wide,
    unrun_cells,
)
from nbformat.v4 import new_code_cell, new_notebook, new_output
from shoot import take_pictures

from tools.notebooks.nbfiles import LESSONS, find, read, short, write

pytestmark = pytest.mark.browser
PICTURES = ROOT / "build" / "screenshots"
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
RUN_ALL = 240  # seconds: a lesson takes at most 60 on a quiet machine


def open_cells(page, server, *cells):
    """Open a notebook of these cells."""
    write(server.root / "made.ipynb", new_notebook(cells=cells, metadata=KERNEL))
    open_notebook(page, server, "made.ipynb")


def faults(page) -> dict[str, list[str]]:
    """Return all that a learner should never see on a page where every cell was run."""
    return {
        "errors": error_texts(page),
        "not run": unrun_cells(page),
        "pop-ups": pop_ups(page),
        "markup shown as text": raw_texts(page),
        "wider than the page": too_wide(page),
    }


NONE: dict[str, list[str]] = {
    "errors": [],
    "not run": [],
    "pop-ups": [],
    "markup shown as text": [],
    "wider than the page": [],
}

IN_A_BROWSER = (
    "00",
    "04",
)  # the first, and one with pictures; nbval runs them all, `course.py lessons` twice


def test_the_start_page_is_lesson_00_without_pop_ups(page, server):
    page.goto(f"{server.url}/?token={server.token}")  # the address that JupyterLab prints leads there, too
    page.wait_for_selector(".jp-NotebookPanel .jp-RenderedMarkdown h1", timeout=60_000)
    assert "Which of these two runs used the GPU?" in page.inner_text(".jp-NotebookPanel h1")
    page.wait_for_timeout(2_000)  # a news pop-up would come late
    assert pop_ups(page) == []


def test_the_table_came_before_the_server(server):
    assert re.search(r"Example 3.*stops at `outputs = model\(data\)`", server.log.read_text())


@pytest.mark.parametrize("path", [p for p in find(LESSONS) if p.name[:2] in IN_A_BROWSER], ids=short)
def test_run_all_shows_nothing_but_the_lesson(path, page, server):
    open_notebook(page, server, f"notebooks/{path.name}")
    page.keyboard.press("Control+b")  # the file browser takes a quarter of the width
    run_all(page, server, RUN_ALL)
    assert faults(page) == NONE
    shown = prompts(page)
    numbers = [re.sub(r"\D", "", prompt) for prompt in shown]  # a folded cell shows none
    assert [number or str(place) for place, number in enumerate(numbers, 1)] == [
        str(n) for n in range(1, len(shown) + 1)
    ]
    assert numbers.count("") <= folded(path)
    assert take_pictures(page, PICTURES, path.stem)


def folded(path) -> int:
    """Return how many code cells show no source when the notebook is opened."""
    return sum(cell.metadata.get("jupyter", {}).get("source_hidden", False) for cell in read(path).cells)


@pytest.mark.parametrize("path", find(LESSONS), ids=short)
def test_a_fresh_clone_shows_the_stored_tables_and_pictures(path, page, server):
    cells = [c for c in read(server.root / LESSONS.name / path.name).cells if c.cell_type == "code"]
    markup = "".join(o.get("data", {}).get("text/html", "") for c in cells for o in c.outputs)
    open_notebook(page, server, f"notebooks/{path.name}")
    if markup:  # a notebook from elsewhere is not trusted before its cells are run
        assert page.locator('[title^="Notebook not trusted"]').count() == 1
    choose(page, "View", "Expand All Outputs")
    page.wait_for_timeout(500)
    assert page.locator(".jp-OutputArea-output table").count() == markup.count("<table")
    pictures = page.locator(".jp-OutputArea-output img")
    assert pictures.count() == markup.count("<img")
    for picture in pictures.all():
        assert picture.evaluate("e => e.complete && e.naturalWidth > 100")
        assert len(picture.get_attribute("alt") or "") > 20
    assert (raw_texts(page), pop_ups(page)) == ([], [])


def test_some_lesson_has_a_table_and_a_picture_to_show():
    stored = "".join(path.read_text(encoding="utf-8") for path in find(LESSONS))
    assert "<table" in stored and "<img" in stored


def test_an_error_cell_and_an_unrun_cell_are_noticed(page, server):
    cells = new_code_cell("import os\n1 / 0", id="bad"), new_code_cell("print(os)", id="after")
    open_cells(page, server, *cells)
    run_all(page, server)
    assert "ZeroDivisionError" in error_texts(page)[0]
    assert unrun_cells(page) == ["print(os)"]


def test_markup_wide_output_and_pop_ups_are_noticed(page, server):
    markup = new_output("stream", name="stdout", text="HBox(children=(<b>\n")
    wide = '<div style="width:4000px">far</div>'
    cells = (
        new_code_cell("print('a')", id="markup", outputs=[markup]),
        new_code_cell(f"from IPython.display import HTML\nHTML({wide!r})", id="wide"),
    )
    open_cells(page, server, *cells)
    assert raw_texts(page) == ["HBox(children=(<b>"]
    run_all(page, server)
    assert raw_texts(page) == []
    assert [text.strip() for text in too_wide(page)] == ["far"]
    assert pop_ups(page) == []
    choose(page, "Help", "About JupyterLab")
    page.wait_for_selector(".jp-Dialog", timeout=20_000)
    assert len(pop_ups(page)) == 1
