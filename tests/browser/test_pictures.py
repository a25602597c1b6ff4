"""Every picture that moves, in one notebook: by keyboard and by mouse, in both themes, restarted, saved, untrusted."""

import json
import re

import pytest
from lab_page import close_kernels, error_texts, open_notebook, run_all, wait_for, wait_idle
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Locator, Page, expect

from devicelab import units
from devicelab.queue import Queue
from tools.notebooks.nbfiles import read, write

pytestmark = pytest.mark.browser
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
START = """import json, tempfile
import torch
from torch import nn
import devicelab as lab
from devicelab.course.exercises.rescue import before_after, copy_script
lab.start()

def shown(name, picture):
    with open(f"{name}.json", "w") as file:
        json.dump(picture.data(), file)
    return picture

def train(read):
    total, layer, x = 0, nn.Linear(64, 64).to("cuda"), torch.ones(8, 64, device="cuda")
    with lab.trace() as trace:
        for _ in range(3):
            loss = layer(x).mean()
            total = total + (loss.item() if read else loss.detach())
    return trace

def grow(batch, depth):
    model = nn.Sequential(*[nn.Linear(4096, 4096) for _ in range(depth)]).to("cuda")
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        loss = model(torch.ones(batch, 4096, device="cuda")).mean()
        loss.backward()
        optimizer.step()

b = torch.zeros(1024, 1024, device="cuda")"""
FILM = """with lab.film():
    x = torch.ones(2, 3)
    y = torch.ones(3, device="cuda")
    try:
        x + y
    except RuntimeError:
        x = x.to("cuda")"""
CELLS = {
    "film": FILM,
    "queue": "shown('queue', lab.queue(lambda: b @ b, 'b @ b', operations=2 * 1024**3, cpu=0.05))",
    "timelines": "shown('timelines', lab.timelines({'reading': train(True), 'keeping': train(False)}))",
    "pipeline": "shown('pipeline', lab.pipeline(load=20e-3, nbytes=16 << 20, compute=6e-3))",
    "memory": "shown('memory', lab.memory(grow, gpu='Tesla T4', batch=[8, 100_000], depth=[4, 8]))",
    "crossover": "shown('crossover', lab.crossover(widths=(10, 100, 1000), cards=('Tesla T4', 'NVIDIA L4'), budget=3))",
    "rescue": "shown('rescue', before_after(copy_script(tempfile.mkdtemp())))",
}
# In which box the label `x` lies: the CPU's is the first.
BOX_OF_X = """picture => {
    const {x} = picture.querySelector('.dl-pin').getBoundingClientRect();
    const boxes = [...picture.querySelectorAll('svg > g:first-of-type > g > rect:first-child')];
    return boxes.slice(0, 2).map(e => e.getBoundingClientRect()).findIndex(box => x > box.x && x < box.right);
}"""
COPIED = "The name x moves from cpu to cuda:0; what it held before is given back."


@pytest.fixture(scope="module")
def gallery(browser, server):
    """A page on which every picture was just made; it stays open from test to test."""
    cells = [new_code_cell(START, id="start")]
    cells += [new_code_cell(source, id=name) for name, source in CELLS.items()]
    write(server.root / "gallery.ipynb", new_notebook(cells=cells, metadata=KERNEL))
    open_notebook(browser, server, "gallery.ipynb")
    run_all(browser, server)
    assert error_texts(browser) == []
    yield browser
    close_kernels(server)


def picture(page: Page, name: str) -> Locator:
    """Return the picture that a cell of the gallery shows."""
    return page.locator(".jp-CodeCell").nth(1 + list(CELLS).index(name)).locator(".dl-picture")


def made(server, name: str) -> dict:
    """Return what the kernel drew a picture from."""
    return json.loads((server.root / f"{name}.json").read_text("utf-8"))


def slider(picture: Locator) -> Locator:
    return picture.locator(".dl-knobs input").first


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def says(picture: Locator, text: str | re.Pattern) -> None:
    """Wait until the live text holds this."""
    expect(picture.locator(".dl-say").first).to_contain_text(text)


def serious(page: Page) -> list[tuple[str, str]]:
    """Return what axe-core finds that keeps somebody from reading or using a picture, contrast below WCAG's included."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    found = axe.run(page, context=".dl-picture").response["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]


def test_the_film_by_keyboard(gallery):
    film = picture(gallery, "film")
    slider(film).focus()
    says(film, "no tensor yet")
    press(gallery, "ArrowRight")
    says(film, "x is a new tensor on cpu: 2 × 3, 24 bytes.")
    press(gallery, "End")
    says(film, COPIED)
    press(gallery, "Home", "ArrowLeft")
    says(film, "no tensor yet")
    expect(slider(film)).to_be_focused()
    assert slider(film).get_attribute("aria-valuetext").startswith("Before the first line")
    press(gallery, "ArrowRight", "ArrowRight", "ArrowRight")
    parts = film.locator(".dl-refused button")
    assert parts.all_inner_texts() == ["cuda:0 ①", "cpu ②"]
    parts.last.focus()
    expect(film.locator(".dl-ring")).to_have_count(1)
    press(gallery, "Escape")
    expect(film.locator(".dl-ring")).to_have_count(0)


def test_the_film_by_mouse_a_line_the_buttons_and_a_drag(gallery):
    film = picture(gallery, "film")
    film.get_by_text('y = torch.ones(3, device="cuda")').click()
    says(film, "y is a new tensor on cuda:0: 3, 12 bytes.")
    film.get_by_label("One step back").click()
    says(film, "x is a new tensor")
    wait_for(lambda: film.evaluate(BOX_OF_X) == 0, 10, "the name in the CPU's box")
    slider(film).scroll_into_view_if_needed()
    place = slider(film).bounding_box()
    gallery.mouse.move(place["x"] + 3, place["y"] + place["height"] / 2)
    gallery.mouse.down()
    gallery.mouse.move(place["x"] + place["width"] - 3, place["y"] + place["height"] / 2, steps=5)
    gallery.mouse.up()
    says(film, COPIED)
    wait_for(lambda: film.evaluate(BOX_OF_X) == 1, 10, "the name in the card's box")


def test_the_queue_reads_what_the_clocks_read_and_its_sliders_count_anew(gallery, server):
    queue, data = picture(gallery, "queue"), made(server, "queue")["queue"]
    micro = {name: data[name] / 1e6 for name in ("launch", "work", "sync")}
    found = Queue(micro["launch"], micro["work"], data["count"], micro["sync"])
    read = {name: units.seconds(seconds) for name, seconds in found.clocks}
    reading = queue.locator(".dl-readings b").first
    expect(reading).to_have_text(read["stopped at once"])
    expect(queue.get_by_text("faster than the data sheet allows")).to_be_visible()
    queue.get_by_label("Move synchronize() up").focus()
    press(gallery, "ArrowUp")  # the line goes up, before stop
    expect(reading).to_have_text(read["after one wait"])
    expect(queue.get_by_text("within the data sheet")).to_be_visible()
    expect(queue.locator(".dl-program li.moves + li")).to_have_text("stop = lab.clock()")
    expect(queue.locator("svg[role=img]")).to_contain_text("time.perf_counter(), this machine imitating")
    queue.get_by_label("Move synchronize() down").click()
    expect(reading).to_have_text(read["stopped at once"])
    queue.get_by_text("Try other numbers").click()
    for label, key in (
        ("How many orders", "Home"),
        ("Writing an order", "Home"),
        ("Work of an order", "End"),
    ):
        queue.get_by_label(label).focus()
        press(gallery, key)
    expect(reading).to_have_text("1.00 µs")
    expect(queue.locator(".dl-chip")).to_have_text("set by hand")
    expect(queue.locator("svg[role=img]")).not_to_contain_text("perf_counter")
    queue.get_by_label("How many orders").focus()
    press(gallery, "ArrowRight", "ArrowRight")
    expect(queue.locator("svg[role=img]")).to_contain_text("stopped at once: 3.00 µs")
    says(queue, "3 orders: 3.00 µs")


def test_timelines_lead_from_an_order_to_its_work(gallery, server):
    lines, data = picture(gallery, "timelines"), made(server, "timelines")
    host, card = data["tracks"][0]["lanes"]
    slider(lines).focus()
    says(lines, "Step through the CPU's lane")
    at = next(at for at, bar in enumerate(host["bars"], 1) if bar[4] in [work[4] for work in card["bars"]])
    press(gallery, *["ArrowRight"] * at)
    written, work = host["bars"][at - 1], next(b for b in card["bars"] if b[4] == host["bars"][at - 1][4])
    says(lines, f"reading: the CPU writes the order for {data['names'][written[3]].removeprefix('aten::')}")
    says(lines, f"and is done at {units.seconds((work[0] + work[1]) / 1e6)}.")
    says(lines, f"A stopwatch stopped here reads {units.seconds((written[0] + written[1]) / 1e6)};")
    lines.get_by_label("One step back").click()
    expect(lines.locator(".dl-knobs output")).to_contain_text(f"step {at - 1} of ")
    press(gallery, "Escape")
    says(lines, "Step through the CPU's lane")


def test_the_pipeline_answers_to_each_knob(gallery, server):
    pipeline, scenes = picture(gallery, "pipeline"), made(server, "pipeline")["scenes"]

    def reads(step: int) -> None:
        expect(pipeline.locator(".dl-readings b")).to_have_text([value for _, value in scenes[step]["read"]])
        expect(pipeline.locator("svg[role=img]")).to_have_attribute("aria-label", scenes[step]["say"])

    reads(0)
    pipeline.get_by_role("button", name="pinned").click()
    reads(6)
    pipeline.get_by_role("button", name="4", exact=True).focus()
    press(gallery, "Enter")
    reads(8)
    press(gallery, "End")
    reads(11)
    expect(pipeline.get_by_role("button", name="non_blocking")).to_have_attribute("aria-pressed", "true")
    press(gallery, "ArrowLeft")
    reads(10)


def test_the_bytes_answer_to_each_knob(gallery, server):
    memory, runs = picture(gallery, "memory"), made(server, "memory")["runs"]
    verdict, words = memory.locator(".dl-side b"), memory.locator(".dl-refused")
    expect(verdict).to_have_text(runs[0]["head"])
    expect(words).to_be_hidden()
    memory.get_by_label("batch", exact=True).focus()
    press(gallery, "ArrowRight")
    expect(verdict).to_have_text(runs[2]["head"])
    expect(memory.get_by_label("batch", exact=True)).to_be_focused()
    memory.get_by_label("One step on").last.click()
    expect(memory.locator("svg[role=img]")).to_have_attribute(
        "aria-label", re.compile("^batch 100000, depth 8. Refused in the ")
    )
    expect(verdict).to_have_text(runs[3]["head"])
    expect(words).to_contain_text("CUDA out of memory. Tried to allocate ")


def test_the_crossover_is_drawn_by_keyboard_and_by_mouse_and_the_cards_come_last(gallery, server):
    crossover, view = picture(gallery, "crossover"), made(server, "crossover")["views"][0]
    chart, menu = crossover.locator("svg[role=img]"), crossover.get_by_label("Card", exact=True)
    slider(crossover).focus()
    assert chart.get_attribute("aria-label").startswith(f"w = 10. CPU {view['cpu']['texts'][0]}, measured. ")
    expect(menu).to_be_hidden()
    press(gallery, "ArrowRight", "End", "ArrowRight")
    first, second = (card["texts"][2] for card in view["cards"])
    expect(chart).to_have_attribute("aria-label", re.compile(f"^w = 1000. CPU .* {re.escape(first)}, est"))
    expect(slider(crossover)).to_be_focused()
    menu.select_option("NVIDIA L4")
    expect(chart).to_have_attribute("aria-label", re.compile(f"NVIDIA L4 {re.escape(second)}, estimated"))
    chart.click(position={"x": 70, "y": 100})
    expect(chart).to_have_attribute("aria-label", re.compile("^w = 10. "))
    key = crossover.get_by_text("nobody can say: the ranges overlap")
    expect(key).to_be_visible()
    crossover.get_by_role("button", name="Can the card's line be believed?").click()
    expect(key).to_be_hidden()
    expect(crossover.locator(".dl-side b")).to_have_text(re.compile("^Published: "))


def test_the_capstone_s_lights_lead_from_fault_to_fault(gallery):
    rescue = picture(gallery, "rescue")
    says(rescue, "0 of the 8 faults are mended")
    slider(rescue).focus()
    press(gallery, "ArrowRight")
    says(rescue, "1 `x.to(device)`: still in the file.")
    expect(rescue.locator('.dl-lights [aria-current="true"]')).to_contain_text("x.to(device)")
    press(gallery, "Escape")
    says(rescue, "0 of the 8 faults are mended")
    rescue.locator(".dl-lights button", has_text="if error < 0.5").click()
    says(rescue, "7 `if error < 0.5`: still in the file.")


@pytest.mark.parametrize("light", ["true", "false"])
def test_axe_finds_nothing_serious_in_any_picture(gallery, light):
    assert gallery.locator(".dl-picture").count() == len(CELLS)
    gallery.evaluate("light => document.body.dataset.jpThemeLight = light", light)
    gallery.wait_for_timeout(700)  # until nothing fades any more
    assert serious(gallery) == []


def test_at_560_pixels_nothing_leaves_a_picture(gallery):
    gallery.evaluate("document.querySelectorAll('.dl-picture').forEach(e => { e.style.width = '522px' })")
    gallery.wait_for_timeout(300)
    beyond = """() => [...document.querySelectorAll('.dl-picture')].flatMap(picture => {
        const {left, right} = picture.getBoundingClientRect();
        return [...picture.querySelectorAll('text, button, rect, p, input')].filter(e => {
            const box = e.getBoundingClientRect();
            return box.width && (box.left < left - 1 || box.right > right + 1);
        }).map(e => e.outerHTML.slice(0, 120));
    })"""
    assert gallery.evaluate(beyond) == []
    gallery.evaluate("document.querySelectorAll('.dl-picture').forEach(e => { e.style.width = '' })")


def test_a_kernel_that_is_restarted_takes_no_picture_with_it(gallery, server):
    [kernel] = server.ask("kernels")
    server.ask(f"kernels/{kernel['id']}/restart", "POST")
    wait_idle(gallery, server)
    film = picture(gallery, "film")
    slider(film).focus()
    press(gallery, "Home", "ArrowRight")
    says(film, "x is a new tensor on cpu: 2 × 3, 24 bytes.")
    pipeline = picture(gallery, "pipeline")
    pipeline.get_by_role("button", name="pageable").click()
    expect(pipeline.get_by_role("button", name="pageable")).to_have_attribute("aria-pressed", "true")
    assert error_texts(gallery) == []


def test_saved_by_a_key_pressed_in_a_picture_and_opened_again_all_are_alive_before_any_cell_is_run(
    gallery, server
):
    before = (server.root / "gallery.ipynb").stat().st_mtime
    slider(picture(gallery, "film")).focus()
    press(gallery, "Control+s")  # the notebook's key, not the picture's
    wait_for(lambda: (server.root / "gallery.ipynb").stat().st_mtime > before, 20, "the saved notebook")
    gallery.wait_for_timeout(500)
    close_kernels(server)
    open_notebook(gallery, server, "gallery.ipynb")
    expect(gallery.locator(".dl-picture")).to_have_count(len(CELLS))
    film = picture(gallery, "film")
    slider(film).focus()
    press(gallery, "End")
    says(film, COPIED)


def test_a_notebook_from_elsewhere_shows_the_stills_with_their_words_until_it_is_trusted(gallery, server):
    foreign = read(server.root / "gallery.ipynb")
    foreign.cells[0].source += "\n# from elsewhere"  # so that no signature fits
    write(server.root / "foreign.ipynb", foreign)
    open_notebook(gallery, server, "foreign.ipynb")
    stills = gallery.locator(".jp-OutputArea-output img")
    expect(stills).to_have_count(len(CELLS))
    assert gallery.locator(".dl-picture").count() == 0
    for still in stills.all():
        assert still.evaluate("e => e.complete && e.naturalWidth > 500")
        assert len(still.get_attribute("alt")) > 40
    gallery.keyboard.press("Control+Shift+c")
    gallery.keyboard.insert_text("Trust Notebook")
    gallery.keyboard.press("Enter")
    gallery.locator('.jp-Dialog button:has-text("Trust")').click()
    expect(gallery.locator(".dl-picture")).to_have_count(len(CELLS))
    slider(picture(gallery, "film")).focus()
    press(gallery, "End")
    says(picture(gallery, "film"), COPIED)


def test_a_learners_copy_opens_with_its_pictures_alive(page, server):
    copy = next((server.root / "my_course" / "lessons").glob("L01_*.ipynb"))
    open_notebook(page, server, f"my_course/lessons/{copy.name}")
    film = page.locator(".dl-picture").filter(
        has=page.locator(".dl-code li", has_text='moved = data.to("cuda")')
    )
    slider(film).focus()
    page.keyboard.press("End")
    says(film, "moved is a new tensor on cuda:0")
    assert page.get_by_text("model not found").count() == 0


BROKEN = """from devicelab.widgets.forms import buttons
from devicelab.widgets.picture import Drawing, _kind
from IPython.display import display
step = {"say": "Before."}
data = {"question": "Q", "card": "C", "notes": [], "code": [], "boxes": [], "looks": [], "dots": [], "names": [], "fences": []}
display(_kind("film")(data=data | {"steps": [step, step | {"arrows": [[7, 0, 8, 0, "1 B"]]}]}))
display(buttons({"Ask": lambda: {}["nothing"]}))"""


def test_an_error_inside_a_callback_is_seen_in_the_browser_and_from_the_kernel(page, server):
    write(
        server.root / "broken.ipynb",
        new_notebook(cells=[new_code_cell(BROKEN, id="broken")], metadata=KERNEL),
    )
    open_notebook(page, server, "broken.ipynb")
    run_all(page, server)
    film = page.locator(".dl-picture")
    slider(film).focus()
    assert page.get_by_role("alert").count() == 0
    press(page, "ArrowRight")
    expect(film.get_by_role("alert")).to_contain_text("This picture cannot be drawn here (TypeError")
    press(page, "ArrowLeft")
    expect(film.get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_text("This could not be answered (KeyError: 'nothing').")).to_have_count(1)
