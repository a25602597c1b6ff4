"""`course.py preflight`, the day before: what this machine has, and whether JupyterLab and a lesson run, and how long.

One line a check: *ok*, *look* (it will do, and here is what to know) or *NO* with what to do about it. Nothing is left behind.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tools.notebooks.kernel_runs import rerun
from tools.notebooks.nbfiles import LESSONS, find, private_environment
from tools.setup import environment
from tools.setup.lab import PORTS, has_display
from tools.setup.say import ROOT, say, this_command

GB = 1e9
ROOM = 1 * GB  # what a learner's copies, outputs and temporary files may need, with much to spare
KERNEL = (
    1 * GB
)  # of free memory for one open lesson: its kernel holds at most 700 MB (tests/README.md), the server 200
STARTING = 60.0  # seconds that JupyterLab may take
SLOW = 60.0  # seconds for a lesson: `course.py lessons` allows as many


@dataclass(frozen=True)
class Check:
    """What was looked at, how it is (ok, look or NO), and a sentence."""

    name: str
    state: str
    words: str

    @property
    def line(self) -> str:
        """The check as it is printed."""
        return f"{self.state:<5} {self.name:<10} {self.words}"


def python() -> Check:
    """Say which Python this is, and whether it has what the course needs."""
    lacking = environment.missing(("lab",))
    if lacking:
        return Check(
            "Python", "NO", f"{sys.executable} lacks {', '.join(lacking)}: {this_command('lab')} installs it."
        )
    return Check("Python", "ok", f"{'.'.join(map(str, sys.version_info[:3]))}, {sys.executable}")


def disk(free: float | None = None) -> Check:
    """Say how much room is left where the course lies."""
    free = shutil.disk_usage(ROOT).free if free is None else free
    words = f"{free / GB:.1f} GB free in {ROOT}"
    return (
        Check("disk", "ok", words) if free >= ROOM else Check("disk", "NO", f"{words}: make room for 1 GB.")
    )


def memory(free: float | None = None) -> Check:
    """Say how many lessons fit into the memory that is free."""
    free = psutil.virtual_memory().available if free is None else free
    words = f"{free / GB:.1f} GB free, {os.cpu_count()} cores"
    if free < KERNEL:
        return Check("memory", "NO", f"{words}: a lesson needs up to 1 GB. Close other programs.")
    if free < 2 * KERNEL:
        return Check(
            "memory",
            "look",
            f"{words}: enough for one lesson at a time; shut its kernel down before the next.",
        )
    return Check("memory", "ok", words)


def port(ports: range = PORTS, other: str = "lab --port 9000") -> Check:
    """Say on which port `lab` would serve, or the command that takes another."""
    free = next((number for number in ports if not _answers(number)), None)
    if free is None:
        return Check("port", "NO", f"{ports[0]} to {ports[-1]} are all taken: {this_command(other)}")
    return Check("port", "ok", f"{free} is free")


def _answers(number: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", number)) == 0


def browser() -> Check:
    """Say whether `lab` can open a browser here."""
    if not has_display(sys.platform, os.environ):
        return Check("browser", "look", "there is no display here: `lab` prints an address to open elsewhere")
    with suppress(webbrowser.Error):
        return Check("browser", "ok", f"{type(webbrowser.get()).__name__} opens pages")
    return Check(
        "browser", "look", "no browser was found: `lab` prints an address; any present browser will do"
    )


def gpu() -> Check:
    """Say which GPU the lessons will have here, in their own words."""
    code = "import devicelab as lab; lab.start()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or [
        "nothing was said"
    ]
    return Check("GPU", "NO" if done.returncode else "ok", lines[-1])


def cache() -> Check:
    """Say whether pip has kept packages, so that a second installation here fetches less."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "cache", "dir"],
        capture_output=True,
        text=True,
    )
    folder = Path(done.stdout.strip() or os.devnull)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    if size < 1e7:
        return Check(
            "packages", "look", "pip has kept none: installing once more needs the network and all its time"
        )
    return Check("packages", "ok", f"pip keeps {size / GB:.1f} GB in {folder}")


def server(folder: Path) -> Check:
    """Start JupyterLab as `lab` does, and say how long it took to answer."""
    number = next((number for number in reversed(PORTS) if not _answers(number)), None)
    if number is None:
        return Check("JupyterLab", "NO", "no port was free to try it on")
    options = [f"--ServerApp.port={number}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}"]
    options += ["--no-browser", "--allow-root", "--IdentityProvider.token=preflight"]
    log, began = folder / "server.log", time.monotonic()
    with log.open("w") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            cwd=folder, stdout=words, stderr=words, env=os.environ | private_environment(folder),
        )  # fmt: skip
    try:
        while process.poll() is None and time.monotonic() - began < STARTING:
            with (
                suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{number}/api/status?token=preflight", timeout=5),
            ):
                return Check("JupyterLab", "ok", f"answered after {time.monotonic() - began:.0f} s")
            time.sleep(0.3)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
    lines = log.read_text(errors="replace").strip().splitlines() or ["it printed nothing"]
    return Check("JupyterLab", "NO", f"did not answer within {time.monotonic() - began:.0f} s: {lines[-1]}")


def lesson(folder: Path, path: Path | None = None) -> Check:
    """Run a lesson, 00 if no other is given, on the device that this machine has, and say how long it took."""
    path = path or find(LESSONS)[0]
    began = time.monotonic()
    run = asyncio.run(rerun(path, os.environ | private_environment(folder), again=False))
    words = f"{path.stem}: {run.seconds:.0f} s, {time.monotonic() - began:.0f} s with the kernel's start, {run.peak / 1e6:.0f} MB"
    late = [fault for fault in run.faults if "took longer" in fault]
    if set(run.faults) - set(late):
        return Check("lesson", "NO", f"{words}: {run.faults[0]}")
    return Check("lesson", "look" if late else "ok", words + (f": {late[0]}" if late else ""))


def checks(folder: Path) -> Iterator[Callable[[], Check]]:
    """Yield the checks, the quick ones first."""
    yield from (python, disk, memory, port, browser, cache, gpu)
    yield lambda: server(folder / "server")
    yield lambda: lesson(folder / "lesson")


def lessons() -> Iterator[Callable[[], Check]]:
    """Yield the checks with a folder for those that need one, and delete it afterwards."""
    with tempfile.TemporaryDirectory(prefix="preflight-", ignore_cleanup_errors=True) as temporary:
        for name in ("server", "lesson"):
            (Path(temporary) / name).mkdir()
        yield from checks(Path(temporary))


def main(chosen: Iterator[Callable[[], Check]] | None = None, well: str = "The lessons run here.") -> int:
    """Print each check as it is made, and say whether all is well."""
    states = []
    for check in chosen or lessons():
        made = check()
        say(made.line)
        states.append(made.state)
    say()
    say("Mend what says NO, then give the same command again." if "NO" in states else well)
    return 1 if "NO" in states else 0


if __name__ == "__main__":
    sys.exit(main())
