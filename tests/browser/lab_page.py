"""A JupyterLab server on a copy of the course, and a Chromium page that drives it."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("notebooks", "exercises", "solutions", "recordings", "docs", "README.md", "course.py", "tools")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# JupyterLab draws only the cells in view; a picture of the whole notebook needs all of them.
SETTINGS = {"@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"}}
RAW = re.compile(r"</?(b|div|p|table|td|img|span|style|details)\b[^>]*>|\b[A-Z]\w+\(children=|RadioButtons\(")
# Notes each dialog and each notification that opens, from the loading of a page on: some close by themselves.
WATCH = """window.popUps = [];
const seen = new Set();
new MutationObserver(() => document.querySelectorAll('.jp-Dialog, .Toastify__toast').forEach(e => {
    if (!seen.has(e)) { seen.add(e); window.popUps.push(e.innerText) }
})).observe(document, {childList: true, subtree: true})"""
# What `course.py lab --no-browser` does once everything is installed.
START = "import pathlib, sys; from tools.setup import lab; {skip}lab.open_lab(pathlib.Path(sys.executable), {port}, False)"


@dataclass(frozen=True)
class Server:
    """A running JupyterLab: its address, its token, the folder that it serves, and where its log is."""

    url: str
    token: str
    root: Path
    log: Path

    def address(self, path: str) -> str:
        """Return the page on which JupyterLab shows `path`."""
        return f"{self.url}/lab/tree/{path}?token={self.token}&reset"

    def ask(self, path: str, method: str = "GET") -> Any:
        """Return the JSON answer of the server's REST interface, None for an empty one."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}/api/{path}", headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or "null")


def chromium() -> str | None:
    """Return the browser to use: DEVICELAB_CHROMIUM, a system Chromium, or None for Playwright's own."""
    named = os.environ.get("DEVICELAB_CHROMIUM")
    if named and not Path(named).exists():
        raise FileNotFoundError(f"DEVICELAB_CHROMIUM names {named}, which does not exist.")
    return (
        named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    )


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def copy_course(target: Path, extra: Path | None = None) -> None:
    """Copy what a learner opens (and one `extra` notebook), so that autosave never touches the repository."""
    target.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        elif source.exists():
            shutil.copy(source, target / name)
    if extra is not None and not extra.is_relative_to(ROOT):
        shutil.copy(extra, target / extra.name)


def private_folders(folder: Path) -> dict[str, str]:
    """Return an environment in which Jupyter, IPython and the course keep everything under `folder`."""
    names = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "IPYTHONDIR": "ipython",
        "DEVICELAB_HOME": "home",
    }
    for name, settings in SETTINGS.items():
        path = folder / "settings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    return {variable: str(folder / place) for variable, place in names.items()}


def wait_for(question, seconds: float, what: str) -> None:
    """Wait until `question()` is true, or raise TimeoutError that says for `what` it waited."""
    end = time.monotonic() + seconds
    while not question():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {seconds:g} s.")
        time.sleep(0.2)


def answers(server: Server) -> bool:
    """Say whether the server is up."""
    try:
        server.ask("status")
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
    return True


@contextlib.contextmanager
def serve(device: str = "simulated", extra: Path | None = None, table: bool = True) -> Iterator[Server]:
    """Serve a copy of the course as `course.py lab --no-browser` does, with its table first; end it by one Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="course-browser-", ignore_cleanup_errors=True) as temporary:
        folder, port = Path(temporary), free_port()
        copy_course(folder / "course", extra)
        server = Server(f"http://127.0.0.1:{port}", "browser-test", folder / "course", folder / "server.log")
        start = START.format(port=port, skip="" if table else "lab.show_table = lambda python: None; ")
        environment = (
            os.environ | private_folders(folder) | {"DEVICELAB_GPU": device, "JUPYTER_TOKEN": server.token}
        )
        with server.log.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", start], cwd=server.root, env=environment, stdout=log, stderr=log
            )
        try:
            wait_for(lambda: answers(server) or process.poll() is not None, 90, "JupyterLab's answer")
            if process.poll() is not None:
                raise RuntimeError(f"JupyterLab ended at once:\n{server.log.read_text()[-2000:]}")
            yield server
        finally:
            end(process)


def end(process: subprocess.Popen) -> None:
    """End the server as Ctrl-C does; a second signal while its kernels shut down would leave them behind."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        raise TimeoutError("JupyterLab did not end within 30 s of one signal.") from None


@contextlib.contextmanager
def browser_page(width: int = 1300, height: int = 1000) -> Iterator[Page]:
    """Open an empty page in a headless Chromium with a profile of its own."""
    folder = tempfile.TemporaryDirectory(prefix="course-profile-", ignore_cleanup_errors=True)
    with folder as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium(),
            headless=True,
            args=FLAGS,
            viewport={"width": width, "height": height},
        )
        context.add_init_script(WATCH)
        try:
            yield context.pages[0] if context.pages else context.new_page()
        finally:
            context.close()


def open_notebook(page: Page, server: Server, path: str) -> None:
    """Show one notebook and wait until its kernel is connected and idle."""
    page.goto(server.address(path))
    page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell", timeout=60_000)
    page.wait_for_selector('.jp-NotebookPanel:not(.lm-mod-hidden) [data-status="idle"]', timeout=60_000)

    def connected() -> bool:
        page.wait_for_timeout(200)
        try:
            kernels = server.ask("kernels")
        except urllib.error.HTTPError:  # the server cannot list its kernels while one of them is being ended
            return False
        return any(kernel["connections"] and kernel["execution_state"] == "idle" for kernel in kernels)

    wait_for(connected, 60, "a connected kernel")


def prompts(page: Page) -> list[str]:
    """Return what stands before every code cell: [ ]:, [*]: or [3]:."""
    return page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()


def choose(page: Page, menu: str, item: str) -> None:
    """Choose an item of JupyterLab's menu bar."""
    page.click(f'.lm-MenuBar-item:has-text("{menu}")')
    page.click(f'.lm-Menu-item:has(.lm-Menu-itemLabel:text-is("{item}"))')


def run_all(page: Page, server: Server, seconds: float = 120) -> None:
    """Run every cell and wait until none is waiting and the kernel is idle."""
    before = prompts(page)

    def started() -> bool:
        page.wait_for_timeout(200)
        pairs = zip(before, prompts(page), strict=True)
        return any("*" in now or (now != old and now.strip("[]: ")) for old, now in pairs)

    for attempt in (1, 2, 3):  # a click that comes while JupyterLab still connects is lost without a word
        choose(page, "Run", "Run All Cells")
        try:
            wait_for(started, 5, "the start of a cell")
            break
        except TimeoutError:
            if attempt == 3:
                raise
    wait_idle(page, server, seconds)


def wait_idle(page: Page, server: Server, seconds: float = 60) -> None:
    """Wait until no cell shows [*] and no kernel is busy."""

    def idle() -> bool:
        page.wait_for_timeout(50)
        waiting = page.locator('.jp-InputPrompt:text-is("[*]:")').count()
        return not waiting and all(kernel["execution_state"] == "idle" for kernel in server.ask("kernels"))

    wait_for(idle, seconds, "an idle kernel")


def error_texts(page: Page) -> list[str]:
    """Return the text of every error on the page: of error outputs, and of tracebacks that a cell printed."""
    errors = page.locator('[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts()
    outputs = page.locator(".jp-OutputArea-output").all_inner_texts()
    return errors + [
        text for text in outputs if "Traceback (most recent call last)" in text and text not in errors
    ]


def pop_ups(page: Page) -> list[str]:
    """Return the text of every dialog and notification that JupyterLab opened since the page was loaded."""
    return page.evaluate("window.popUps")


def raw_texts(page: Page) -> list[str]:
    """Return every output that shows HTML or a widget as text: a tag, or what a widget prints where none is drawn."""
    outputs = page.locator(".jp-OutputArea-output").all_inner_texts()
    return [text.strip() for text in outputs if RAW.search(text)]


def too_wide(page: Page) -> list[str]:
    """Return the text of every output, code cell and prose cell that has to be scrolled sideways."""
    script = """() => [...document.querySelectorAll('.jp-OutputArea-output, .cm-scroller, .jp-MarkdownOutput')]
        .filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth).map(e => e.innerText)"""
    return page.evaluate(script)


def unrun_cells(page: Page) -> list[str]:
    """Return the first line of every code cell that was not run."""
    script = """() => [...document.querySelectorAll('.jp-CodeCell')]
        .filter(c => !/\\d/.test(c.querySelector('.jp-InputPrompt')?.innerText ?? '')
            && c.querySelector('.cm-content')?.innerText.trim())
        .map(c => c.querySelector('.cm-content').innerText.split('\\n')[0])"""
    return page.evaluate(script)


def close_kernels(server: Server) -> None:
    """End every kernel, as a learner is asked to between two lessons."""
    for session in server.ask("sessions"):
        server.ask(f"sessions/{session['id']}", "DELETE")


def cell_with(page: Page, text: str) -> Locator:
    """Return the first code cell whose source holds this text."""
    return page.locator(".jp-CodeCell").filter(has=page.locator(".cm-content", has_text=text)).first


def run_cell(page: Page, server: Server, cell: Locator, source: str | None = None) -> str:
    """Type a source into a cell (unless it stays), run it by Shift+Enter and return the text that it shows."""
    cell.locator(".cm-content").click()
    if source is not None:
        page.keyboard.press("Control+a")
        page.keyboard.insert_text(source)
    handle = cell.element_handle()  # the text by which the cell was found may be gone now
    page.keyboard.press("Shift+Enter")
    wait_idle(page, server)
    return "\n".join(part.inner_text() for part in handle.query_selector_all(".jp-OutputArea-output"))
