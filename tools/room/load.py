"""`course.py room-test`: learners log in at once and run lessons through a hub of this machine: how long, how much memory.

A hub is started for it in a folder of its own, as `hub demo` starts one, and nothing is left behind. The browsers are played by
this process: their part of the processor is taken from the same machine. What a browser draws is not in it.
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tornado.httpclient import AsyncHTTPClient

from tools.room import spawner, start
from tools.room.browser import Browser, Refused
from tools.room.learner import FOLDER
from tools.room.settings import VARIABLE, Settings
from tools.room.start import CONFIG
from tools.setup import copies
from tools.setup.say import ROOT, say

LESSONS = ("01", "02", "03")
MB = 1e6
STARTING = 120.0  # seconds that a hub may take


@dataclass
class Learner:
    """What came of one learner: seconds from the first request on, bytes, and a sentence a failure."""

    name: str
    page: float = 0.0
    first_cell: float = 0.0
    lessons: dict[str, float] = field(default_factory=dict)  # seconds of Run All
    share: int = 0  # bytes: its own, and its part of what is shared
    own: int = 0
    failures: list[str] = field(default_factory=list)


async def learn(learner: Learner, url: str, lessons: list[str], hub: int) -> None:
    """Do what a learner does, and note how it went."""
    began = time.monotonic()
    browser = Browser(url, learner.name)
    try:
        await browser.server(await browser.log_in(""))
        learner.page = time.monotonic() - began
        for path in lessons:
            await run_all(learner, browser, path, began, hub)
    except (TimeoutError, Refused, OSError, KeyError, ValueError) as error:
        learner.failures.append(f"{type(error).__name__}: {error}")


async def run_all(learner: Learner, browser: Browser, path: str, began: float, hub: int) -> None:
    """Open a lesson, run its cells from top to bottom, and shut its kernel down."""
    opened = time.monotonic()
    lesson = await browser.lesson(path)
    for source in lesson.sources:
        learner.failures += [f"{Path(path).stem}: {error}" for error in await lesson.run(source)]
        learner.first_cell = learner.first_cell or time.monotonic() - began
    learner.lessons[Path(path).stem[:3]] = time.monotonic() - opened
    share, own = await asyncio.to_thread(memory, hub, learner.name)
    learner.share, learner.own = max(learner.share, share), max(learner.own, own)
    await lesson.close()


def memory(hub: int, name: str) -> tuple[int, int]:
    """Return the bytes of a learner's processes: with their part of shared pages (PSS), and those that nobody shares."""
    found = dict.fromkeys(("Pss", "Private_Clean", "Private_Dirty"), 0)
    for process in processes(hub, name):
        with suppress(OSError):
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
                key, _, rest = line.partition(":")
                if key in found:
                    found[key] += int(rest.split()[0]) * 1024
    return found["Pss"], found["Private_Clean"] + found["Private_Dirty"]


def processes(hub: int, name: str) -> list[psutil.Process]:
    """Return the processes that serve a learner: the one whose log is theirs, and all that it started."""
    for process in psutil.Process(hub).children(recursive=True):
        with suppress(OSError, psutil.Error):
            if os.readlink(f"/proc/{process.pid}/fd/1").endswith(f"/logs/{name}.log"):
                return [process, *process.children(recursive=True)]
    return []


@contextmanager
def hub(settings: Settings, config: Path = CONFIG) -> Iterator[int]:
    """Start the hub of these settings, and yield its process's number; end it and all that it started."""
    folder = Path(settings.folder)
    (folder / "logs").mkdir(exist_ok=True)
    settings.write()
    with (folder / "hub.log").open("w") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(config)],
            cwd=ROOT, env=os.environ | {VARIABLE: str(folder)}, stdout=words, stderr=words,
        )  # fmt: skip
    try:
        yield process.pid
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)


def demo(shared: str, folder: Path, forked: bool) -> Settings:
    """Return the settings of a demonstration that is kept in `folder`."""
    homes = folder / "homes"
    homes.mkdir()
    return Settings("demo", str(folder), str(homes), shared, port=spawner.free_port(), forked=forked)


async def answering(url: str, pid: int) -> None:
    """Wait until the hub shows its login page."""
    ends = time.monotonic() + STARTING
    while time.monotonic() < ends and psutil.pid_exists(pid):
        with suppress(OSError):
            if (await AsyncHTTPClient().fetch(f"{url}/hub/login", raise_error=False)).code == 200:
                return
        await asyncio.sleep(0.3)
    raise Refused("the hub did not start")


class Watch:
    """The least memory that was free while the learners were there, against what was free before."""

    def __init__(self) -> None:
        self.before = self.least = psutil.virtual_memory().available

    async def look(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            self.least = min(self.least, psutil.virtual_memory().available)
            await asyncio.sleep(1)


async def load(count: int, numbers: list[str], url: str, pid: int) -> tuple[list[Learner], int]:
    """Let `count` learners in at once, and return what came of each, and the bytes that all together took."""
    AsyncHTTPClient.configure(None, max_clients=20 * count, max_body_size=1 << 30)
    await answering(url, pid)
    first = Browser(url, "first")  # a room's hub was started, and tried, before the room fills
    await first.server(await first.log_in(""))
    found = {number: next((ROOT / "notebooks").glob(f"{number}_*.ipynb")).name for number in numbers}
    paths = [f"{FOLDER}/{copies.place_of(f'notebooks/{name}')}" for name in found.values()]
    learners = [Learner(f"learner{number:02d}") for number in range(1, count + 1)]
    watch = Watch()
    watching = asyncio.create_task(watch.look())
    await asyncio.gather(*(learn(learner, url, paths, pid) for learner in learners))
    watching.cancel()
    return learners, watch.before - watch.least


def table(learners: list[Learner], together: int) -> list[str]:
    """Return what came of it as lines of a Markdown table: the median of the learners, and the worst."""
    rows = ["| | median | most |", "|---|---|---|"]

    def row(name: str, values: list[float], unit: str) -> None:
        values = [value for value in values if value]
        if values:
            rows.append(f"| {name} | {statistics.median(values):.0f} {unit} | {max(values):.0f} {unit} |")

    row("from login to the lab's page", [learner.page for learner in learners], "s")
    row("from login to the end of the first cell", [learner.first_cell for learner in learners], "s")
    for lesson in sorted({lesson for learner in learners for lesson in learner.lessons}):
        row(f"{lesson}, Run All", [learner.lessons.get(lesson, 0) for learner in learners], "s")
    row(
        "memory of a learner's processes, with their part of what is shared",
        [one.share / MB for one in learners],
        "MB",
    )
    row("memory that nobody shares with them", [one.own / MB for one in learners], "MB")
    rows.append(f"| memory of the room together | | {together / 1e9:.1f} GB |")
    rows.append(
        f"| learners with a failure | | {sum(bool(one.failures) for one in learners)} of {len(learners)} |"
    )
    return rows


def machine() -> str:
    """Return what the numbers were measured on, and how busy it was."""
    total = psutil.virtual_memory().total / 1e9
    busy = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, {total:.0f} GB, load before: {busy}, {time.strftime('%d %B %Y')}"


def main(arguments: list[str] | None = None) -> int:
    """Run the test that the command line asks for, and print its table."""
    parser = argparse.ArgumentParser(prog="course.py room-test", description=__doc__)
    parser.add_argument("shared", help="the environment that the servers share")
    parser.add_argument("--learners", type=int, default=20)
    parser.add_argument("--lessons", default=",".join(LESSONS), metavar="NN,NN")
    parser.add_argument(
        "--anew", action="store_true", help="start each server and kernel anew instead of forking"
    )
    parser.add_argument("--config", type=Path, default=CONFIG)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the hub ends with this process
    say(f"Measured: {machine()}")
    forked = not options.anew and start.why_not_forked() is None
    say(
        f"{options.learners} learners at once, servers and kernels {'forked' if forked else 'started anew'} ..."
    )
    with tempfile.TemporaryDirectory(prefix="room-test-", ignore_cleanup_errors=True) as temporary:
        settings = demo(options.shared, Path(temporary), forked)
        with hub(settings, options.config) as pid:
            learners, together = asyncio.run(
                load(options.learners, options.lessons.split(","), settings.url, pid)
            )
    say("\n".join(table(learners, together)))
    for learner in learners:
        for failure in learner.failures[:3]:
            say(f"{learner.name}: {failure}")
    return 1 if any(learner.failures for learner in learners) else 0


if __name__ == "__main__":
    sys.exit(main())
