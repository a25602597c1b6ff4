"""A script run by torchrun, in several processes on this computer, and what each rank of it said.

Addresses are those of the loopback, ports are chosen free, and nothing is left running: not at the end, not at Ctrl-C, not when
the time is up. Each rank writes into a file of its own, so that two that print at once do not mix their lines.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HERE = "127.0.0.1"
LIMIT = 120.0  # seconds
PAUSE = 0.05
RUN = ("-m", "devicelab", "run")
TORCHRUN = ("-m", "torch.distributed.run")
# The interface by which the ranks of one computer meet: gloo would else look its name up, which some networks answer slowly.
LOOPBACK = {"linux": "lo", "darwin": "lo0"}
TAG = re.compile(r"^\[rank\d+\]: ?", re.MULTILINE)  # which torch puts before the lines of an error
ERROR = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit)\b.*", re.MULTILINE | re.DOTALL
)

WATCHDOG = re.compile(r"\[Rank \d+\] Watchdog caught .*")  # NCCL's, which ends a process without a traceback


@dataclass(frozen=True)
class Rank:
    """What one process printed, and the error that it ended with, empty where there was none."""

    number: int
    printed: str
    error: str

    def __str__(self) -> str:
        ended = f"rank {self.number} ended: {self.error}\n" if self.error else ""
        return self.printed + ended


@dataclass(frozen=True)
class Launched:
    """A launch that is over: its ranks in order, torchrun's exit code, None where the time was up, and devicelab's report."""

    command: str
    ranks: tuple[Rank, ...]
    code: int | None
    report: tuple[str, ...] = ()

    def __str__(self) -> str:
        late = "the time was up, and all were ended\n" if self.code is None else ""
        return (f"$ {self.command}\n" + "".join(map(str, self.ranks)) + late).rstrip("\n")


def torchrun(
    script: str,
    *arguments: str,
    ranks: int = 2,
    nodes: int = 1,
    watched: bool = False,
    cards: bool = True,
    limit: float = LIMIT,
) -> Launched:
    """Run a script by torchrun and wait for it, `limit` seconds at most.

    `ranks` counts the processes of a node. Several `nodes` are as many torchruns on this computer, each of which sees the card
    of its own number; without `cards` no process sees one. With `watched` it runs under `python -m devicelab run`, which tells
    what each rank did.
    """
    words = [f"--nproc-per-node={ranks}"]
    if nodes > 1:
        words = [f"--nnodes={nodes}", *words, f"--master-addr={HERE}", f"--master-port={_free_port()}"]
    with tempfile.TemporaryDirectory(prefix="devicelab-", ignore_cleanup_errors=True) as folder:
        running = []
        try:
            for node in range(nodes):
                mine = [*words, *([f"--node-rank={node}"] if nodes > 1 else [])]
                visible = None if cards and nodes == 1 else str(node) if cards else ""
                command = [*(RUN if watched else ()), *TORCHRUN, *mine]
                running.append(_start(Path(folder, str(node)), command, [script, *arguments], visible))
            codes = _wait(running, limit)
        finally:
            for one in running:
                _end(one)
        said = [rank for node in range(nodes) for rank in _ranks(Path(folder, str(node)), node * ranks)]
        report = Path(folder, "0", "stderr").read_text("utf-8", "replace")
    shown = [word.partition("port=")[0] + "port=PORT" if "port=" in word else word for word in words]
    typed = " ".join(["torchrun", *shown, script, *arguments])
    told = report.rpartition("\ndevicelab: ")[2].splitlines() if watched else []
    return Launched(typed, tuple(said), codes, tuple(told))


def _start(
    folder: Path, words: Sequence[str], target: Sequence[str], visible: str | None
) -> "subprocess.Popen[bytes]":
    folder.mkdir()
    logs = ["--redirects=3", f"--log-dir={folder / 'logs'}", f"--local-addr={HERE}"]
    command = [sys.executable, *words, *logs, *target]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if sys.platform in LOOPBACK:
        environment.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK[sys.platform])
    if sys.platform == "win32":
        environment["USE_LIBUV"] = "0"  # which PyTorch's wheels for Windows lack
    if visible is not None and environment.get("CUDA_VISIBLE_DEVICES") != "":  # there is none to be seen
        environment["CUDA_VISIBLE_DEVICES"] = visible
    with (folder / "stderr").open("wb") as errors:
        # A session of its own: else Ctrl-C would reach torchrun beside `_end`, in the midst of ending its ranks.
        return subprocess.Popen(
            command, stdout=errors, stderr=errors, env=environment, start_new_session=os.name == "posix"
        )


def _wait(running: "Sequence[subprocess.Popen[bytes]]", limit: float) -> int | None:
    """Return the first exit code that is not 0, else 0; None where the time is up."""
    end = time.monotonic() + limit
    while any(one.poll() is None for one in running):
        if time.monotonic() > end:
            return None
        if any(one.poll() for one in running):
            break  # a node failed: the others would wait for it
        time.sleep(PAUSE)
    return next((one.returncode for one in running if one.returncode), 0)


def _end(launcher: "subprocess.Popen[bytes]") -> None:
    """Take away what still runs of a launch, the ranks first: whoever is named by its parent must still have one."""
    import psutil

    with suppress(psutil.Error):
        for one in psutil.Process(launcher.pid).children(recursive=True):
            with suppress(psutil.Error):
                one.kill()
    if launcher.poll() is None:
        launcher.kill()
    launcher.wait()


def _ranks(folder: Path, first: int) -> list[Rank]:
    logs = sorted(folder.rglob("stdout.log"), key=lambda path: int(path.parent.name))
    return [
        Rank(first + number, _read(path), error_of(_read(path.with_name("stderr.log"))))
        for number, path in enumerate(logs)
    ]


def _read(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""


def error_of(text: str) -> str:
    """Return the error that a process ended with: the last of its stderr, without torch's [rank0], or its NCCL watchdog's."""
    _, traceback, rest = TAG.sub("", text).rpartition("Traceback (most recent call last):")
    found = ERROR.search(rest) if traceback else WATCHDOG.search(text)
    return found[0].strip() if found else ""


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((HERE, 0))
        return one.getsockname()[1]
