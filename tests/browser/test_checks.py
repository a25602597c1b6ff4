"""What a check says: read in both themes, whole words at every width, help within reach of the keyboard."""

import pytest
from lab_page import open_notebook, run_all, wait_idle
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Page
from test_keyboard import run_down_to, tab_to

from tools.notebooks.nbfiles import write

pytestmark = pytest.mark.browser
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
LEAST = 4.5  # the contrast of text that WCAG 2 asks for
START = "import devicelab as lab\nfrom devicelab.course.ex01 import q2\nlab.start()"
RIGHT = dict(zip("abcde", ("cpu", "cuda", "cuda", "cuda", "cpu"), strict=True))
CELLS = (
    START,
    "q2.check(...)",
    f"q2.check({RIGHT | {'d': 'cpu'}})",
    f"q2.check({RIGHT})",
    "q2.hint()",
    "lab.guess('Where?', ['here', 'there'], until='place', yours='here')",
    "place = 1",
    "lab.tally()",
    "lab.progress(1)",
    "from devicelab.course.question.outcome import Outcome\nOutcome('not yet', 'It stopped:\\n' + 'mkldnn, privateuseone ' * 12)",
)
# The contrast of every piece of text in the outputs with the nearest ground behind it, as WCAG 2 reckons it.
CONTRASTS = """() => {
    const channels = text => (text.match(/[\\d.]+/g) ?? []).map(Number);
    const light = rgb => rgb.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = e => {
        for (; e; e = e.parentElement) {
            const found = channels(getComputedStyle(e).backgroundColor);
            if (found.length && (found[3] ?? 1) > 0) return found;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const area of document.querySelectorAll('.jp-OutputArea-output')) {
        const walk = document.createTreeWalker(area, NodeFilter.SHOW_TEXT);
        while (walk.nextNode()) {
            const e = walk.currentNode.parentElement;
            if (!walk.currentNode.data.trim() || !e.getClientRects().length) continue;
            const [a, b] = [light(channels(getComputedStyle(e).color)), light(ground(e))];
            found.push([walk.currentNode.data.trim(), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
        }
    }
    return found;
}"""
# Every word of the outputs that stands on two lines; what a cell prints is JupyterLab's to break.
BROKEN = """() => {
    const found = [];
    for (const area of document.querySelectorAll('.jp-OutputArea-output:not([data-mime-type$="stdout"])')) {
        const walk = document.createTreeWalker(area, NodeFilter.SHOW_TEXT);
        while (walk.nextNode()) {
            for (const word of walk.currentNode.data.matchAll(/[\\w']+/g)) {
                const range = document.createRange();
                range.setStart(walk.currentNode, word.index);
                range.setEnd(walk.currentNode, word.index + word[0].length);
                if (new Set([...range.getClientRects()].map(r => Math.round(r.top))).size > 1) found.push(word[0]);
            }
        }
    }
    return found;
}"""


@pytest.fixture
def checked(page, server) -> Page:
    """A notebook in which everything was said that a check and a bet can say."""
    cells = [new_code_cell(source, id=f"c{number}") for number, source in enumerate(CELLS)]
    write(server.root / "checks.ipynb", new_notebook(cells=cells, metadata=KERNEL))
    open_notebook(page, server, "checks.ipynb")
    run_all(page, server)
    page.get_by_role("button", name="Hint").first.wait_for(timeout=20_000)
    return page


def theme(page: Page, name: str) -> None:
    """Choose JupyterLab Light or JupyterLab Dark."""
    page.click('.lm-MenuBar-item:has-text("Settings")')
    page.click('.lm-Menu-item:has(.lm-Menu-itemLabel:text-is("Theme"))')
    page.click(f'.lm-Menu-item:has(.lm-Menu-itemLabel:text-is("JupyterLab {name}"))')
    page.wait_for_selector(f'body[data-jp-theme-light="{str(name == "Light").lower()}"]', state="attached")
    page.wait_for_timeout(500)


@pytest.mark.parametrize("name", ["Light", "Dark"])
def test_all_that_is_said_can_be_read_in_both_themes(name, checked):
    try:
        theme(checked, name)
        found = checked.evaluate(CONTRASTS)
    finally:
        theme(checked, "Light")
    words = {text for text, _ in found}
    assert {"Not attempted.", "Not yet.", "Passed.", "Hint.", "You said: here.", "Hint", "Solution"} <= words
    assert [(text, round(ratio, 1)) for text, ratio in found if ratio < LEAST] == []


@pytest.mark.parametrize("width", [1366, 560])
def test_words_stay_whole(width, checked):
    before = checked.viewport_size
    checked.set_viewport_size({"width": width, "height": 900})
    try:
        checked.wait_for_timeout(500)
        assert checked.evaluate(BROKEN) == []
    finally:
        checked.set_viewport_size(before)


def test_a_broken_word_is_noticed(checked):
    checked.add_style_tag(
        content=".jp-OutputArea-output pre { word-break: break-all !important; width: 200px }"
    )
    assert checked.evaluate(BROKEN)


def test_help_is_reached_by_keyboard_and_read_aloud(page, server):
    cells = [
        new_code_cell(source, id=f"c{number}") for number, source in enumerate((*CELLS[:2], "print('next')"))
    ]
    write(server.root / "help.ipynb", new_notebook(cells=cells, metadata=KERNEL))
    open_notebook(page, server, "help.ipynb")
    run_down_to(page, server, "print('next')")
    page.get_by_role("button", name="Solution").wait_for(timeout=20_000)
    tab_to(page, "submit", "Shift+Tab")  # the nearest one
    assert page.evaluate("document.activeElement.innerText") == "Solution"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("(1 of").wait_for(timeout=20_000)
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("(2 of").wait_for(timeout=20_000)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("Ask once more").wait_for(timeout=20_000)
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("One way:").wait_for(timeout=20_000)
    wait_idle(page, server)
