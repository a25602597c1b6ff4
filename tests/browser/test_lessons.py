"""The course as a learner sees it: JupyterLab in a real browser, on the simulated GPU."""

import os
import re
from pathlib import Path

import pytest

if not os.environ.get("CI"):  # there, a missing browser is a failure
    pytest.importorskip("playwright", reason="the extra `browser` is not installed")

from lab_page import (
    ROOT,
    browser_page,
    cell_with,
    close_kernels,
    error_texts,
    open_notebook,
    prompts,
    run_all,
    run_cell,
    serve,
    unrun_cells,
)
from nbformat.v4 import new_code_cell, new_notebook, new_output
from shoot import take_pictures

from tools.nbfiles import EXERCISES, LESSONS, SOLUTIONS, find, read, short, tags, write
from tools.tidy import tidy

pytestmark = pytest.mark.browser
PICTURES = ROOT / "build" / "screenshots"
EXERCISE = "01_where_does_training_run.ipynb"


@pytest.fixture(scope="module")
def server():
    """JupyterLab on a copy of the course."""
    with serve() as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    """One page for all tests."""
    with browser_page() as opened:
        yield opened


@pytest.fixture
def page(browser, server):
    """The page; the kernels are ended after each test."""
    yield browser
    close_kernels(server)


def test_the_start_page_is_lesson_00_without_pop_ups(page, server):
    page.goto(f"{server.url}/?token={server.token}")  # the address that JupyterLab prints leads there, too
    page.wait_for_selector(".jp-NotebookPanel .jp-RenderedMarkdown h1", timeout=60_000)
    assert "Which of these two runs used the GPU?" in page.inner_text(".jp-NotebookPanel h1")
    page.wait_for_timeout(2_000)  # a news pop-up would come late
    assert page.locator(".Toastify__toast, .jp-Dialog").count() == 0


def test_the_table_came_before_the_server(server):
    assert re.search(r"Example 3.*stops at `outputs = model\(data\)`", server.log.read_text())


@pytest.mark.parametrize("path", find(LESSONS), ids=short)
def test_run_all_gives_no_error_cell(path, page, server):
    open_notebook(page, server, f"notebooks/{path.name}")
    run_all(page, server)
    assert error_texts(page) == []
    assert unrun_cells(page) == []
    shown = prompts(page)
    numbers = [re.sub(r"\D", "", prompt) for prompt in shown]  # the folded Colab cell shows none
    assert [number or str(place) for place, number in enumerate(numbers, 1)] == [
        str(n) for n in range(1, len(shown) + 1)
    ]
    assert numbers.count("") <= 1
    assert take_pictures(page, PICTURES, path.stem)


def test_an_error_cell_and_an_unrun_cell_are_noticed(page, server):
    cells = [new_code_cell("import os\n1 / 0", id="bad"), new_code_cell("print(os)", id="after")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    write(server.root / "bad.ipynb", new_notebook(cells=cells, metadata=kernel))
    open_notebook(page, server, "bad.ipynb")
    run_all(page, server)
    assert "ZeroDivisionError" in error_texts(page)[0]
    assert unrun_cells(page) == ["print(os)"]


def test_a_guess_can_be_made_with_the_keyboard_alone(page, server):
    open_notebook(page, server, f"notebooks/{find(LESSONS)[0].name}")
    run_all(page, server)
    guess = cell_with(page, "lab.guess")
    guess.locator(".jp-OutputArea-output input[type=radio]").first.wait_for(timeout=20_000)
    guess.locator(".cm-content").click()
    page.keyboard.press("Escape")  # leave the editor; Tab then walks on through the page
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.type") == "radio":
            break
    assert page.evaluate("document.activeElement.type") == "radio", "Tab never came to the radio buttons"
    assert guess.get_by_text("Noted:").count() == 0
    page.keyboard.press("Space")
    guess.get_by_text("Noted: the first").wait_for(timeout=20_000)
    page.keyboard.press("Tab")  # not an arrow key: JupyterLab takes those to move between cells
    page.keyboard.press("Space")
    guess.get_by_text("Noted: the second").wait_for(timeout=20_000)


def test_a_number_can_be_bet_with_the_keyboard_alone(page, server):
    ask = "import devicelab as lab\nbet = lab.guess('How many days has a week?', unit='days')"
    cells = [new_code_cell(ask, id="ask"), new_code_cell("bet.against(7)", id="tell")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    write(server.root / "bet.ipynb", new_notebook(cells=cells, metadata=kernel))
    open_notebook(page, server, "bet.ipynb")
    run_all(page, server)
    assert "No bet placed; it is 7 days." in cell_with(page, "bet.against").inner_text()
    asked = cell_with(page, "lab.guess")
    asked.locator("input[type=text]").wait_for(timeout=20_000)
    asked.locator(".cm-content").click()
    page.keyboard.press("Escape")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.type") == "text":
            break
    page.keyboard.type("70")
    page.keyboard.press("Enter")
    asked.get_by_text("Noted: 70 days.").wait_for(timeout=20_000)
    assert "10 times too large" in run_cell(page, server, cell_with(page, "bet.against"))


def test_a_hidden_answer_shows_nothing_until_its_cell_is_run(page, server):
    hidden = {"jupyter": {"outputs_hidden": True}, "collapsed": True}
    said = [new_output("stream", name="stdout", text="forty-two\n")]
    cells = [
        new_code_cell("print('forty-two')", id=name, metadata=hidden, outputs=said) for name in ("a", "b")
    ]
    write(server.root / "hidden.ipynb", tidy(new_notebook(cells=cells)))
    open_notebook(page, server, "hidden.ipynb")
    shown = page.locator(".jp-Cell-outputWrapper")
    assert page.locator(".jp-OutputPlaceholder").count() == 2
    assert [text.strip() for text in shown.all_inner_texts()] == ["", ""]
    page.locator(".jp-OutputPlaceholder .jp-Placeholder-content").first.click()  # a reader without a kernel
    assert [text.strip() for text in shown.all_inner_texts()] == ["forty-two", ""]
    run_all(page, server)
    assert [text.strip() for text in shown.all_inner_texts()] == ["forty-two", "forty-two"]
    assert page.locator(".jp-OutputPlaceholder").count() == 0


def sources(path: Path, question: str) -> tuple[str, str, str]:
    """Return the check's cell, a wrong answer and the reference answer of a question, from its solution."""
    cells = read(path).cells
    check = next(c.source for c in cells if c.source.strip().startswith(f"{question}.check("))
    asked = [c for c in cells if "wrong-answer" in tags(c) and f"{question}.check(" in c.source]
    wrong = asked[0].source.split(f"{question}.check(")[0].strip()
    marked = next(c.source for c in cells if c.id == f"{question}-answer")
    right = "\n".join(line for line in marked.split("\n") if not line.strip().startswith("###"))
    return check, wrong, right


def test_an_exercise_is_solved_wrong_then_right(page, server):
    check, wrong, right = sources(SOLUTIONS / EXERCISE, "q1")
    open_notebook(page, server, f"my_exercises/{EXERCISE}")
    run_all(page, server)
    asked = cell_with(page, check)
    assert "Not attempted." in asked.inner_text()
    answer = cell_with(page, right.strip().split("\n")[-2].strip())
    run_cell(page, server, answer, wrong)
    assert "Not yet." in run_cell(page, server, asked)
    run_cell(page, server, answer, right)
    assert "Passed." in run_cell(page, server, asked)
    assert error_texts(page) == []
    take_pictures(page, PICTURES, f"exercise-{Path(EXERCISE).stem}")


def test_every_exercise_lies_in_my_exercises(server):
    names = {path.name for path in find(EXERCISES)}
    assert {path.name for path in (server.root / "my_exercises").glob("*.ipynb")} == names
