"""How long a learner waits who clicks on Binder's badge, and how much memory that takes: JupyterLab and lesson 00 on one core.

    python -m benchmarks launch                # two rows, beside what the course promises
    python -m benchmarks.bench_launch          # the steps too; --keep writes them into docs/in-the-browser.md

Binder gives a learner one core and at most 2 GB. Seconds are wall time from the start of the server's process; the lesson's
cells go through its websocket one after the other. Memory is the PSS of the server's processes, the kernel's among them: a
page that several processes map counts once among all of them, so run it in an environment that no other process uses. Linux
alone has it.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import psutil
import websocket

from devicelab.machine import processor
from tools.notebooks.marks import filled
from tools.notebooks.nbfiles import LESSONS, device_environment, find, is_code, private_environment, read
from tools.setup.lab import free_port
from tools.setup.say import ROOT

PAGE = ROOT / "docs" / "in-the-browser.md"
ONE_CORE = ("taskset", "-c", "0")
SECONDS, BYTES = (
    30.0,
    1e9,
)  # what is promised: at most so long to the first cell, at most so much with one lesson open
FIRST = "lab.start("  # stands in the first cell of a lesson that imports PyTorch
LONGEST = 300.0  # seconds, for one step
LOOK_EVERY = 0.2  # seconds between two looks at the memory
TOKEN = "launch"


@dataclass(frozen=True)
class Launch:
    """Seconds from the server's start until it answers, until the first cell is done and until all are; the most bytes held."""

    answers: float
    first_cell: float
    all_cells: float
    most_bytes: int


class Memory(threading.Thread):
    """Keeps the most PSS that a process and its descendants held together, in bytes."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.process, self.most, self.over = process, 0, threading.Event()

    def run(self) -> None:
        """Look until `over` is set."""
        while not self.over.wait(LOOK_EVERY):
            self.most = max(self.most, pss(self.process))


def pss(process: psutil.Process) -> int:
    """Return the bytes of a process and its descendants, a page that several of them map counted once."""
    held = 0
    with suppress(psutil.Error):
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                held += one.memory_full_info().pss
    return held


@contextmanager
def server(folder: Path, port: int) -> Iterator[psutil.Popen]:
    """Start JupyterLab on one core with folders of its own, and end it with its kernels."""
    options = [f"--ServerApp.root_dir={ROOT}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    options += ["--no-browser", "--allow-root", f"--IdentityProvider.token={TOKEN}"]
    own = os.environ | private_environment(folder) | device_environment("simulated") | {"DEVICELAB_HOST": ""}
    with (folder / "server.log").open("w") as words:
        process = psutil.Popen(
            [*ONE_CORE, sys.executable, "-m", "jupyterlab", *options], stdout=words, stderr=words, env=own
        )
        try:
            yield process
        finally:
            family = [process, *process.children(recursive=True)]
            process.terminate()
            with suppress(psutil.TimeoutExpired, subprocess.TimeoutExpired):
                process.wait(20)
            for one in family:
                with suppress(psutil.Error):
                    one.kill()


def asked(port: int, path: str, body: dict | None = None) -> dict:
    """Return the server's answer to a request."""
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/{path}", data, headers)
    with urllib.request.urlopen(request, timeout=LONGEST) as answer:
        return json.load(answer)


def wait_for(port: int, process: psutil.Popen) -> None:
    """Return as soon as the server answers; raise RuntimeError when it ends before, or takes too long."""
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < LONGEST:
        with suppress(OSError):
            asked(port, "status")
            return
        time.sleep(0.1)
    raise RuntimeError("JupyterLab does not answer")


def run_cell(channel: websocket.WebSocket, source: str) -> None:
    """Run one cell by the websocket, as a browser does, and wait for its end; raise RuntimeError for an error that it shows."""
    sent = uuid.uuid4().hex
    header = {
        "msg_id": sent,
        "msg_type": "execute_request",
        "username": "",
        "session": TOKEN,
        "version": "5.3",
    }
    content = {"code": source, "silent": False, "store_history": True, "allow_stdin": False}
    message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
    channel.send(json.dumps(message))
    while True:
        received = channel.recv()
        if not isinstance(received, str):
            continue  # a widget's bytes
        reply = json.loads(received)
        if reply["msg_type"] == "execute_reply" and reply["parent_header"].get("msg_id") == sent:
            if reply["content"]["status"] != "ok":
                raise RuntimeError(f"{reply['content']['ename']}: {reply['content']['evalue']}")
            return


def measure() -> Launch:
    """Start a server, open lesson 00, run it from top to bottom, and return what that took."""
    lesson = find(LESSONS)[0]
    sources = [cell.source for cell in read(lesson).cells if is_code(cell)]
    first = next(number for number, source in enumerate(sources) if FIRST in source)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="launch-", ignore_cleanup_errors=True) as temporary:
        folder, began = Path(temporary), time.monotonic()
        with server(folder, port) as process:
            memory = Memory(process)
            memory.start()
            wait_for(port, process)
            answers = time.monotonic() - began
            session = {"path": lesson.relative_to(ROOT).as_posix(), "name": lesson.name, "type": "notebook"}
            kernel = asked(port, "sessions", session | {"kernel": {"name": "python3"}})["kernel"]["id"]
            address = f"ws://127.0.0.1:{port}/api/kernels/{kernel}/channels?session_id={TOKEN}&token={TOKEN}"
            channel = websocket.create_connection(address, timeout=LONGEST)
            ends = []
            for source in sources:
                run_cell(channel, source)
                ends.append(time.monotonic() - began)
            channel.close()
            memory.over.set()
            memory.join()
    return Launch(answers, ends[first], ends[-1], memory.most)


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield name, value and bound."""
    launch = measure()
    yield "one core: s from the server's start to lesson 00's first cell", launch.first_cell, SECONDS
    yield "one core: MB of server and kernel, lesson 00 run", launch.most_bytes / 1e6, BYTES / 1e6


def table(launch: Launch) -> str:
    """Return the steps with what they were measured on."""
    load = f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"
    when = f"{date.today().isoformat()}, one core of {processor()}, {load}"
    what = f"Python {platform.python_version()}, torch {version('torch')}, JupyterLab {version('jupyterlab')}"
    rows = (
        ("the server answers", f"{launch.answers:.1f} s"),
        ("lesson 00's `lab.start()` is done", f"{launch.first_cell:.1f} s"),
        ("lesson 00 is run to its end", f"{launch.all_cells:.1f} s"),
        ("most memory of server and kernel", f"{launch.most_bytes / 1e6:.0f} MB"),
    )
    lines = [f"| Measured: from the server's start until | {when}; {what} |", "|---|--:|"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print each step, and keep them when asked."""
    parser = argparse.ArgumentParser("python -m benchmarks.bench_launch", description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help=f"write the table into docs/{PAGE.name}")
    keep = parser.parse_args(arguments).keep
    found = table(measure())
    print(found)
    if keep:
        PAGE.write_text(filled(PAGE.read_text("utf-8"), "launch", found), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
