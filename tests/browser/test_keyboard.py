"""The course without a mouse: guesses, bets and hidden answers."""

import pytest
from lab_page import cell_with, open_notebook, run_all, run_cell, wait_idle
from nbformat.v4 import new_code_cell, new_notebook, new_output
from playwright.sync_api import Locator, Page

from tools.notebooks.nbfiles import LESSONS, find, write
from tools.notebooks.tidy import tidy

pytestmark = pytest.mark.browser
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
BET = "88 bytes of weights and biases go to the GPU"  # lesson 01 asks by how much the memory account grows


def focused(page: Page) -> str:
    """Return the type of the field or button that has the keyboard; empty for anything else."""
    return page.evaluate("document.activeElement.type ?? ''")


def tab_to(page: Page, kind: str, key: str = "Tab") -> None:
    """Press Tab (or Shift+Tab) until a field of this kind has the keyboard."""
    for _ in range(30):
        page.keyboard.press(key)
        if focused(page) == kind:
            return
    raise AssertionError(f"{key} never came to a field of the kind {kind!r}")


def selected(page: Page) -> str:
    """Return the text of the selected cell."""
    return page.locator(".jp-Notebook .jp-Cell.jp-mod-active").inner_text()


def run_down_to(page: Page, server, text: str) -> None:
    """Run cell after cell by Shift+Enter until the one with this text is selected."""
    for _ in page.locator(".jp-Notebook .jp-Cell").all():
        if text in selected(page):
            return
        page.keyboard.press("Shift+Enter")
        wait_idle(page, server)
    raise AssertionError(f"No cell holds {text!r}")


def asking(page: Page, question: str) -> Locator:
    """Return the cell that asks this; its source may be folded."""
    return page.locator(".jp-CodeCell", has=page.locator(".jp-OutputArea", has_text=question)).first


def test_a_guess_is_made_with_the_keyboard_alone_and_answered_under_its_result(page, server):
    open_notebook(page, server, f"notebooks/{find(LESSONS)[0].name}")
    run_down_to(page, server, "second.parameters")
    asked = asking(page, "Which of the two runs used the GPU?")
    assert asked.locator(".cm-content").count() == 0  # the question stands there once
    assert asked.get_by_text("Noted:").count() == 0
    tab_to(page, "radio", "Shift+Tab")
    page.keyboard.press("Space")
    asked.get_by_text("Noted: not sure").wait_for(timeout=20_000)
    page.keyboard.press("Shift+Tab")  # not an arrow key: JupyterLab takes those to move between cells
    page.keyboard.press("Space")
    asked.get_by_text("Noted: neither").wait_for(timeout=20_000)
    assert page.get_by_role("status").get_by_text("Noted: neither").count() == 1
    page.keyboard.press("ArrowDown")
    assert "second.parameters" in selected(page)
    page.keyboard.press("Shift+Enter")
    wait_idle(page, server)
    shown = cell_with(page, "second.parameters").locator(".jp-OutputArea-output").all_inner_texts()
    assert "cuda:0" in shown[0] and shown[-1].startswith("You said: neither.")
    asked.get_by_role("alert").get_by_text("You said: neither.").wait_for(timeout=20_000)


def test_the_keys_that_a_choice_names_work_after_shift_enter(page, server):
    ask = "import devicelab as lab\nlab.guess('Where?', ['the first place', 'the second place'])"
    cells = [new_code_cell(ask, id="ask"), new_code_cell("print('far' + 'ther')", id="next")]
    write(server.root / "choice.ipynb", new_notebook(cells=cells, metadata=KERNEL))
    open_notebook(page, server, "choice.ipynb")
    run_down_to(page, server, "print('far")
    asked = cell_with(page, "lab.guess")
    tab_to(page, "radio", "Shift+Tab")
    page.keyboard.press("Space")
    asked.get_by_text("Noted: not sure").wait_for(timeout=20_000)  # the last option is the nearest one
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    asked.get_by_text("Noted: the second place").wait_for(timeout=20_000)
    page.keyboard.press("ArrowDown")
    assert "print('far" in selected(page)
    page.keyboard.press("Shift+Enter")
    wait_idle(page, server)
    assert "farther" in cell_with(page, "print('far").locator(".jp-OutputArea-output").inner_text()
    run_cell(page, server, asked)
    asked.get_by_text("Noted: the second place").wait_for(timeout=20_000)
    assert asked.locator("input[type=radio]:checked").count() == 1


def test_lesson_01_is_walked_through_without_a_mouse(page, server):
    open_notebook(page, server, f"notebooks/{find(LESSONS)[1].name}")
    hidden = page.locator(".jp-OutputPlaceholder").count()
    assert hidden >= 5
    run_down_to(page, server, BET)
    assert page.locator(".jp-OutputPlaceholder").count() == 1  # of the cell below the bet, which was not run
    page.keyboard.press("Shift+Enter")
    wait_idle(page, server)
    outcome = page.locator(".jp-Notebook .jp-Cell.jp-mod-active")
    assert outcome.locator(".jp-OutputPlaceholder").count() == 1
    tab_to(page, "text", "Shift+Tab")  # back from the next cell, which Shift+Enter selected
    page.keyboard.type("500")
    page.keyboard.press("Enter")
    asked = asking(page, BET)
    asked.get_by_text("Noted: 500 bytes.").wait_for(timeout=20_000)
    page.keyboard.press("Tab")  # out of the field, which keeps the arrow keys to itself
    page.keyboard.press("ArrowDown")
    assert "grown / size" in selected(page)
    page.keyboard.press("Shift+Enter")
    wait_idle(page, server)
    answer = cell_with(page, "grown / size")
    grew, said = answer.locator(".jp-OutputArea-output").all_inner_texts()
    assert "the account grew by 1024" in grew
    assert said.startswith("You bet 500 bytes; it is 1,024 bytes: your bet was 2 times too small.")
    assert page.locator(".jp-OutputPlaceholder").count() == 0


def test_a_bet_is_kept_and_answered_when_its_cell_is_run_again(page, server):
    ask = "import devicelab as lab\nbet = lab.guess('How many days has a week?', unit='days')"
    cells = [new_code_cell(ask, id="ask"), new_code_cell("bet.against(7)", id="tell")]
    write(server.root / "bet.ipynb", new_notebook(cells=cells, metadata=KERNEL))
    open_notebook(page, server, "bet.ipynb")
    run_all(page, server)
    assert "No bet placed; it is 7 days." in cell_with(page, "bet.against").inner_text()
    asked = cell_with(page, "lab.guess")
    asked.locator("input[type=text]").wait_for(timeout=20_000)
    asked.locator(".cm-content").click()
    page.keyboard.press("Escape")
    tab_to(page, "text")
    page.keyboard.type("70")
    page.keyboard.press("Enter")
    asked.get_by_text("Noted: 70 days.").wait_for(timeout=20_000)
    run_cell(page, server, asked)
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
