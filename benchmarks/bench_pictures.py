"""How long a picture takes to follow its knob, in Chromium: the bound is a frame, 16 ms. Measured, without a notebook around it.

And how many times as long as its own lines a film takes, which looks at every variable after each line.

    python -m benchmarks pictures

Needs Playwright and a Chromium (DEVICELAB_CHROMIUM, one on the PATH, or Playwright's own); where there is none it says so.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

import devicelab as lab
from devicelab.widgets import modules

FRAME = 16.0  # milliseconds
MOVES = 60
STEPS = 30
FILM = 7.0  # times the block's own time: it adds about a millisecond, and a third of one for each line
# What a notebook's frontend gives to a module: a model that answers, and an element to draw in.
PAGE = """<style>{style}</style><div id="root" style="width:980px"></div><script type="module">
const state = {{data: {data}, step: 0}}, heard = {{}};
const model = {{get: key => state[key], save_changes() {{}}, off() {{}}, on: (name, f) => {{ heard[name] = f }},
  set: (key, value) => {{ state[key] = value; heard["change:" + key]?.() }}}};
const made = await import(URL.createObjectURL(new Blob([{module}], {{type: "text/javascript"}})));
made.default.render({{model, el: document.getElementById("root")}});
window.ready = true;
</script>"""
# A move of the slider, with all that it draws laid out, in milliseconds.
MOVE = """moves => {
  const slider = document.querySelector(".dl-knobs input"), last = Number(slider.max), taken = [];
  for (let number = 1; number <= moves; number++) {
    const begin = performance.now();
    slider.value = number % (last + 1);
    slider.dispatchEvent(new Event("input"));
    document.body.getBoundingClientRect();
    taken.push(performance.now() - begin);
  }
  return taken.sort((a, b) => a - b);
}"""


def train(batch: int) -> None:
    """Train two steps, for the picture of the bytes."""
    model = nn.Sequential(*[nn.Linear(1024, 1024) for _ in range(8)]).to("cuda")
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(batch, 1024, device="cuda")).mean().backward()
        optimizer.step()


def pictures() -> Iterator[tuple[str, Any]]:
    """Yield each picture under the name of its module."""
    yield "crossover", lab.crossover(widths=(10, 32, 100, 320, 1000), budget=3)
    yield "memory", lab.memory(train, gpu="Tesla T4", batch=[64, 256, 1024, 4096])
    with lab.simulate_gpu("Tesla T4"), lab.film() as film:
        for _ in range(8):
            x = torch.ones(4, 4)
            y = x.to("cuda")
            z = y + 1
        del z
    yield "film", film


def step(device: str, block: AbstractContextManager[Any]) -> float:
    """Return the seconds of the CPU for a training step inside a block, what begins and ends it included."""
    model = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 2)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data, labels = torch.randn(100, 10), torch.randn(100, 2)
    begin = time.process_time()
    with block:
        data = data.to(device)
        labels = labels.to(device)
        loss = (model(data) - labels).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.process_time() - begin


def film_ratios() -> Iterator[tuple[str, float, float]]:
    """Yield how many times the time of its block a film takes: of a small step on the simulated card, of large work here."""
    with lab.simulate_gpu("Tesla T4"):
        plain, filmed = (min(step("cuda", kind()) for _ in range(STEPS)) for kind in (nullcontext, lab.film))
    yield "a film of a training step on the simulated card / the step", filmed / plain, FILM
    large = torch.randn(2000, 2000)

    def work(block: AbstractContextManager[Any]) -> float:
        begin = time.process_time()
        with block:
            found = large @ large
            found = found @ large
        return time.process_time() - begin

    plain, filmed = (min(work(kind()) for _ in range(3)) for kind in (nullcontext, lab.film))
    yield "a film of two large products / the products", filmed / plain, 1.5


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield the film's ratios, then the milliseconds of the move that nine of ten do not exceed."""
    yield from film_ratios()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("pictures: not measured, Playwright is not installed")
        return
    path = os.environ.get("DEVICELAB_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"]).new_page()
        for name, picture in pictures():
            parts = {
                "data": json.dumps(picture.data()),
                "style": modules.source("style.css"),
                "module": json.dumps(modules.standalone(name)).replace("</", "<\\/"),
            }
            page.goto("about:blank")
            page.set_content(PAGE.format(**parts))
            page.wait_for_function("window.ready")
            taken = page.evaluate(MOVE, MOVES)
            yield f"ms to follow the knob, 9 of 10 moves: {name}", taken[int(0.9 * MOVES)], FRAME
