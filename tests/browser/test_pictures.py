"""Pictures that move, in JupyterLab: by mouse and by keyboard, saved and opened again, untrusted, in both themes."""

import re

import pytest
from lab_page import ROOT, choose, close_kernels, error_texts, open_notebook, run_all, wait_for
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Page, expect

from tools.notebooks import warm
from tools.notebooks.nbfiles import write

pytestmark = pytest.mark.browser
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
FILM = """import devicelab as lab, torch
lab.start()
with lab.film():
    x = torch.ones(2, 3)
    y = torch.ones(3, device="cuda")
    try:
        x + y
    except RuntimeError:
        x = x.to("cuda")"""
# In which box the label `x` lies: the CPU's is the first.
BOX_OF_X = """() => {
    const {x} = document.querySelector('.dl-pin').getBoundingClientRect();
    const boxes = [...document.querySelectorAll('.dl-picture svg > g:first-of-type > g > rect:first-child')];
    return boxes.slice(0, 2).map(e => e.getBoundingClientRect()).findIndex(box => x > box.x && x < box.right);
}"""
COPIED = "The name x moves from cpu to cuda:0; what it held before is given back."


@pytest.fixture
def film(page, server):
    """The page with a film that was just made, and its slider in focus."""
    write(server.root / "film.ipynb", new_notebook(cells=[new_code_cell(FILM, id="film")], metadata=KERNEL))
    open_notebook(page, server, "film.ipynb")
    run_all(page, server)
    page.locator(".dl-knobs input").focus()
    return page


def says(page: Page, text: str) -> None:
    """Wait until the live text holds this."""
    expect(page.locator(".dl-say")).to_contain_text(text)


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_by_keyboard_alone_and_in_both_themes(film):
    says(film, "no tensor yet")
    press(film, "ArrowRight")
    says(film, "x is a new tensor on cpu: 2 × 3, 24 bytes.")
    press(film, "End")
    says(film, COPIED)
    press(film, "Home", "ArrowLeft")
    says(film, "no tensor yet")
    expect(film.locator(".dl-knobs input")).to_be_focused()
    assert film.locator(".dl-knobs input").get_attribute("aria-valuetext").startswith("Before the first line")
    press(film, "ArrowRight", "ArrowRight", "ArrowRight")
    parts = film.locator(".dl-refused button")
    assert parts.all_inner_texts() == ["cuda:0 ①", "cpu ②"]
    parts.last.focus()
    expect(film.locator(".dl-ring")).to_have_count(1)
    press(film, "Escape")
    expect(film.locator(".dl-ring")).to_have_count(0)
    for light in ("true", "false"):
        film.evaluate("light => document.body.dataset.jpThemeLight = light", light)
        film.wait_for_timeout(700)  # until nothing fades any more
        assert serious(film) == []
    assert error_texts(film) == []


def serious(page: Page) -> list[tuple[str, str]]:
    """Return what axe-core finds that keeps somebody from reading or using the picture, contrast below WCAG's included."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    found = axe.run(page, context=".dl-picture").response["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]


def test_by_mouse_a_line_the_buttons_and_a_drag(film):
    film.get_by_text('y = torch.ones(3, device="cuda")').last.click()
    says(film, "y is a new tensor on cuda:0: 3, 12 bytes.")
    film.get_by_label("One step back").click()
    says(film, "x is a new tensor")
    wait_for(lambda: film.evaluate(BOX_OF_X) == 0, 10, "the name in the CPU's box")
    slider = film.locator(".dl-knobs input").bounding_box()
    film.mouse.move(slider["x"] + 3, slider["y"] + slider["height"] / 2)
    film.mouse.down()
    film.mouse.move(slider["x"] + slider["width"] - 3, slider["y"] + slider["height"] / 2, steps=5)
    film.mouse.up()
    says(film, COPIED)
    wait_for(lambda: film.evaluate(BOX_OF_X) == 1, 10, "the name in the card's box")


def test_saved_and_opened_again_it_is_alive_before_any_cell_is_run(film, server):
    choose(film, "File", "Save Notebook")
    film.wait_for_timeout(1000)
    close_kernels(server)
    open_notebook(film, server, "film.ipynb")
    film.locator(".dl-knobs input").focus()
    press(film, "End")
    says(film, COPIED)


def test_what_the_tools_store_is_a_still_until_the_notebook_is_trusted_then_alive(page, server):
    source = server.root / "made.ipynb"
    write(source, new_notebook(cells=[new_code_cell(FILM, id="film")], metadata=KERNEL))
    made = warm.run("-m", "tools.notebooks.remake", str(source), cwd=ROOT)
    assert made.returncode == 0, made.stdout + made.stderr
    open_notebook(page, server, "made.ipynb")
    expect(page.locator('img[alt^="Where is each tensor?"]')).to_have_count(1)
    assert page.locator(".dl-picture").count() == 0
    page.keyboard.press("Control+Shift+c")
    page.keyboard.insert_text("Trust Notebook")
    page.keyboard.press("Enter")
    page.locator('.jp-Dialog button:has-text("Trust")').click()
    page.locator(".dl-knobs input").focus()
    press(page, "End")
    says(page, COPIED)


def test_a_learners_copy_opens_with_its_pictures_alive(page, server):
    copy = next((server.root / "my_course" / "lessons").glob("L01_*.ipynb"))
    open_notebook(page, server, f"my_course/lessons/{copy.name}")
    film = page.locator(".dl-picture").filter(
        has=page.locator(".dl-code li", has_text='moved = data.to("cuda")')
    )
    film.locator(".dl-knobs input").focus()
    page.keyboard.press("End")
    expect(film.locator(".dl-say")).to_contain_text("moved is a new tensor on cuda:0")
    assert page.get_by_text("model not found").count() == 0


CROSSOVER = """import devicelab as lab
lab.start()
lab.crossover(widths=(10, 100, 1000), cards=("Tesla T4", "NVIDIA L4"), budget=3)"""


def test_the_crossover_is_drawn_by_keyboard_and_by_mouse_and_the_cards_come_last(page, server):
    write(
        server.root / "crossover.ipynb",
        new_notebook(cells=[new_code_cell(CROSSOVER, id="c")], metadata=KERNEL),
    )
    open_notebook(page, server, "crossover.ipynb")
    run_all(page, server)
    chart, menu = page.locator(".dl-picture svg[role=img]"), page.get_by_label("Card", exact=True)
    slider = page.locator(".dl-knobs input")
    slider.focus()
    assert chart.get_attribute("aria-label").startswith("w = 10. CPU ")
    expect(menu).to_be_hidden()
    press(page, "ArrowRight", "End", "ArrowRight")
    expect(chart).to_have_attribute("aria-label", re.compile("^w = 1000. CPU .* Tesla T4 .* bound by "))
    expect(slider).to_be_focused()
    menu.select_option("NVIDIA L4")
    expect(chart).to_have_attribute("aria-label", re.compile("NVIDIA L4"))
    box = chart.bounding_box()
    page.mouse.click(box["x"] + 70, box["y"] + 100)
    expect(chart).to_have_attribute("aria-label", re.compile("^w = 10. "))
    for light in ("true", "false"):
        page.evaluate("light => document.body.dataset.jpThemeLight = light", light)
        page.wait_for_timeout(300)
        assert serious(page) == []
    page.get_by_role("button", name="Can the card's line be believed?").click()
    expect(page.locator(".dl-side b")).to_have_text(re.compile("^Published: "))
    assert serious(page) == [] and error_texts(page) == []


BYTES = """import torch
from torch import nn
import devicelab as lab

def train(batch, depth):
    model = nn.Sequential(*[nn.Linear(4096, 4096) for _ in range(depth)]).to("cuda")
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        loss = model(torch.ones(batch, 4096, device="cuda")).mean()
        loss.backward()
        optimizer.step()

lab.memory(train, gpu="Tesla T4", batch=[8, 100_000], depth=[4, 8])"""


def test_the_bytes_answer_to_each_knob_by_keyboard(page, server):
    write(server.root / "bytes.ipynb", new_notebook(cells=[new_code_cell(BYTES, id="b")], metadata=KERNEL))
    open_notebook(page, server, "bytes.ipynb")
    run_all(page, server)
    chart, words = page.locator(".dl-picture svg[role=img]"), page.locator(".dl-picture .dl-refused")
    page.get_by_label("batch", exact=True).focus()
    expect(chart).to_have_attribute("aria-label", re.compile("^batch 8, depth 4. It fits: "))
    expect(words).to_be_hidden()
    press(page, "ArrowRight")
    expect(page.get_by_label("batch", exact=True)).to_be_focused()
    page.get_by_label("depth", exact=True).focus()
    press(page, "End")
    expect(chart).to_have_attribute("aria-label", re.compile("^batch 100000, depth 8. Refused in the "))
    expect(words).to_contain_text("CUDA out of memory. Tried to allocate ")
    for light in ("true", "false"):
        page.evaluate("light => document.body.dataset.jpThemeLight = light", light)
        page.wait_for_timeout(300)
        assert serious(page) == []
    assert error_texts(page) == []


RESCUE = """import tempfile
import devicelab as lab
from devicelab.course.rescue import before_after, copy_script
lab.start()
before_after(copy_script(tempfile.mkdtemp()))"""


def test_the_capstone_s_lights_lead_from_fault_to_fault_by_key_and_by_mouse(page, server):
    made = new_notebook(cells=[new_code_cell(RESCUE, id="rescue")], metadata=KERNEL)
    write(server.root / "rescue.ipynb", made)
    open_notebook(page, server, "rescue.ipynb")
    run_all(page, server)
    says(page, "0 of the 8 faults are mended")
    page.locator(".dl-knobs input").focus()
    press(page, "ArrowRight")
    says(page, "1 `x.to(device)`: still in the file.")
    expect(page.locator('.dl-lights [aria-current="true"]')).to_contain_text("x.to(device)")
    press(page, "Escape")
    says(page, "0 of the 8 faults are mended")
    page.locator(".dl-lights button", has_text="if error < 0.5").click()
    says(page, "7 `if error < 0.5`: still in the file.")
    for light in ("true", "false"):
        page.evaluate("light => document.body.dataset.jpThemeLight = light", light)
        assert serious(page) == []
    assert error_texts(page) == []
