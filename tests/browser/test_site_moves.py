"""The web edition in Chromium, with no way out: moved by keyboard, axe, on a phone, on paper, searched, from the disk."""

import contextlib
import functools
import http.server
import re
import threading

import pytest

pytest.importorskip("sphinx", reason="the extra `site` is not installed")

from playwright.sync_api import expect

from tools.setup.say import ROOT
from tools.site import build

pytestmark = pytest.mark.browser
FILM = "notebooks/00_which_run_used_the_gpu.html"
LESSONS = [f"notebooks/{path.stem}.html" for path in sorted(ROOT.glob("notebooks/*.ipynb"))]
PAGES = [
    *LESSONS,
    *(f"docs/{path.stem}.html" for path in sorted(ROOT.glob("docs/*.md"))),
    "index.html",
    "search.html",
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    """The site, served on this machine."""
    handler = functools.partial(Quiet, directory=str(build.ready()))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def chromium(browser):
    opened = browser.context.new_page()  # Playwright starts once in a process
    yield opened
    opened.close()


@contextlib.contextmanager
def watched(page, address):
    """A list that grows by each request that would leave the site, each missing file and each complaint of a script."""
    wrong = []

    def gate(route):
        if route.request.url.startswith((address, "data:", "blob:", "file:")):
            return route.continue_()
        wrong.append(f"leaves the site: {route.request.url}")
        return route.abort()

    heard = {
        "response": lambda answer: answer.status >= 400 and wrong.append(f"{answer.status}: {answer.url}"),
        "console": lambda told: told.type in ("error", "warning") and wrong.append(told.text),
        "pageerror": lambda error: wrong.append(str(error)),
    }
    page.route("**/*", gate)
    for event, hear in heard.items():
        page.on(event, hear)
    try:
        yield wrong
    finally:
        page.unroute_all()
        for event, hear in heard.items():
            page.remove_listener(event, hear)


@pytest.fixture
def page(chromium, address):
    """A page that reaches the site alone; the test fails for whatever went wrong on it."""
    with watched(chromium, address) as wrong:
        yield chromium
    chromium.emulate_media(media="screen", color_scheme="light")
    chromium.set_viewport_size({"width": 1300, "height": 1000})
    assert wrong == []


def all_alive(page):
    """Wait until every picture of the page moves."""
    pictures = page.locator(".dl-alive").count()
    expect(page.locator(".dl-moves .dl-picture")).to_have_count(pictures)
    return pictures


def test_what_leaves_and_what_is_missing_is_seen(chromium, address):
    with watched(chromium, address) as wrong:
        chromium.goto(address + "no-such-page.html")
        chromium.evaluate("fetch('https://example.org/x').catch(() => 0)")
        chromium.wait_for_timeout(300)
    assert f"404: {address}no-such-page.html" in wrong and "leaves the site: https://example.org/x" in wrong


def test_a_film_is_moved_by_keyboard_without_a_kernel(page, address):
    page.goto(address + FILM)
    assert all_alive(page) == 2
    film = page.locator(".dl-moves").first
    film.locator(".dl-knobs input").focus()
    expect(film.locator(".dl-say")).to_contain_text("no tensor yet")
    page.keyboard.press("ArrowRight")
    expect(film.locator(".dl-say")).to_contain_text("model")
    page.keyboard.press("End")
    expect(film.locator(".dl-say")).to_contain_text("outputs is a new tensor on cuda:0")
    expect(page.locator(".dl-moves").nth(1).locator(".dl-say")).to_contain_text(
        "no tensor yet"
    )  # not the other one
    expect(film.locator(".dl-still")).to_be_hidden()


@pytest.mark.parametrize("name", PAGES)
def test_on_a_phone_each_page_fits_and_every_picture_is_alive(name, page, address):
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(address + name)
    all_alive(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_every_lesson_with_a_picture_has_it_here():
    stored = [
        path for path in ROOT.glob("notebooks/*.ipynb") if "widget-state+json" in path.read_text("utf-8")
    ]
    pages = [build.ready() / "notebooks" / f"{path.stem}.html" for path in stored]
    assert len(pages) > 5 and all('class="dl-alive"' in path.read_text("utf-8") for path in pages)


def test_an_answer_is_folded_until_it_is_asked_for(page, address):
    page.goto(address + FILM)
    answer = page.locator("details", has_text="first:  cpu")
    expect(answer.locator("pre")).to_be_hidden()
    answer.locator("summary").click()
    expect(answer.locator("pre")).to_be_visible()


# A colour that is still on its way to the theme's has a contrast of its own.
SETTLED = "Promise.allSettled(document.getAnimations().filter((one) => one instanceof CSSTransition).map((one) => one.finished))"


@pytest.mark.parametrize("name", ["index.html", FILM, "notebooks/05_is_it_faster.html", "docs/glossary.html"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(name, theme, page, address):
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=theme)
    page.goto(address + name)
    all_alive(page)
    assert page.locator("html").get_attribute("data-theme") == theme
    page.evaluate(SETTLED)
    found = Axe().run(page, options={"preload": False}).response["violations"]
    serious = [
        f"{one['id']}: {node['html'][:160]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    assert serious == []


def test_a_picture_follows_the_theme(page, address):
    paper = "getComputedStyle(document.querySelector('.dl-picture')).backgroundColor"
    page.goto(address + "index.html")
    all_alive(page)
    light = page.evaluate(paper)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert light == "rgb(255, 255, 255)" and page.evaluate(paper) != light


def test_on_paper_the_still_stands_on_white(page, address):
    page.emulate_media(color_scheme="dark")
    page.goto(address + FILM)
    all_alive(page)
    page.evaluate("""() => {
        window.themes = [];
        const note = () => window.themes.push(document.documentElement.dataset.theme);
        addEventListener("beforeprint", note);
        addEventListener("afterprint", note);
    }""")
    page.pdf()
    assert page.evaluate("window.themes") == ["light", "dark"]
    page.emulate_media(media="print")
    expect(page.locator(".dl-still").first).to_be_visible()
    expect(page.locator(".dl-live").first).to_be_hidden()


def test_the_search_finds_a_lesson_and_a_symptom(page, address):
    page.goto(address + "search.html?q=pinned")
    expect(page.locator("#search-results")).to_contain_text(
        "06 · What does moving data cost?", timeout=20_000
    )
    page.goto(address + "search.html?q=compiled+with+CUDA")
    expect(page.locator("#search-results")).to_contain_text("I see this", timeout=20_000)


def test_a_lesson_is_opened_elsewhere_and_downloaded_as_it_is(page, address):
    page.goto(address + FILM)
    links = page.locator("a").evaluate_all("all => all.map(a => a.href)")
    for place in ("https://mybinder.org/v2/gh/", "https://colab.research.google.com/github/"):
        assert len({link for link in links if link.startswith(place)}) == 1  # the menu's and the line's agree
    download = next(link for link in links if re.search(r"_sources/.*\.ipynb$", link))
    name = "notebooks/00_which_run_used_the_gpu.ipynb"
    assert page.request.get(download).text() == (ROOT / name).read_text("utf-8")


def test_it_works_from_a_folder_on_the_disk(page):
    page.goto((build.ready() / FILM).as_uri())
    assert all_alive(page) == 2
