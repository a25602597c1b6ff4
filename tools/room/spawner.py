"""How the hub starts a learner's server: forked, where that can be, from a process that has imported what it will need.

A server imports for 3 seconds of a processor, and a first kernel for as long; forty learners who come at once would wait minutes
for two cores. A fork has the imports already, and shares their memory.
"""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Any as AnyTrait
from traitlets import Bool, Unicode

from tools.notebooks import warm
from tools.room.learner import Learner
from tools.setup.say import ROOT

# Beside what tools.notebooks.warm imports for kernels.
SERVER = (
    "tools.room.learner",
    "jupyterhub.singleuser",
    "jupyterlab.labapp",
    "jupyter_server_terminals",
    "jupyter_lsp.serverextension",
    "jupyter_client.ioloop",
    "nbformat.sign",
    "ipywidgets",
    "anywidget",
)
FOLDER_MODE = 0o700


class Forks:
    """The process that forks servers, started when it is first asked for, and again where it has ended."""

    def __init__(self) -> None:
        self.one = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.way: socket.socket

    def begin(self) -> None:
        """Start it beside the hub, before the first learner comes."""
        threading.Thread(target=self.ready, daemon=True).start()

    def ready(self) -> socket.socket:
        """Return the way to it, when it has its imports."""
        with self.one:
            if self.process is None or self.process.poll() is not None:
                self.start()
            return self.way

    def start(self) -> None:
        """Start it, and wait for its first fork, which comes when the imports are done."""
        self.way, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            command = [sys.executable, "-m", "tools.notebooks.warm", *SERVER]
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=its.fileno(), env=variables(), start_new_session=True
            )  # with nothing of the hub's variables: each fork could read them
        with open(os.devnull, "r+") as nothing:
            warm.Forked(self.way, [["-c", ""], variables(), "/"], [nothing.fileno()] * 3).wait()


forks = Forks()


def variables() -> dict[str, str]:
    """Return the variables that a learner's Python has from its start: the same for all, and none of them a secret."""
    kept = {
        name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH") if name in os.environ
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])
    return kept | {"PATH": path, "OMP_NUM_THREADS": "1"}  # fair, where there are more learners than cores


class LearnerSpawner(LocalProcessSpawner):
    """Start `tools.room.learner`, as a system user of the learner's name or, in a demonstration, as whoever runs the hub."""

    homes = Unicode(help="The folder that holds the learners' homes.").tag(config=True)
    logs = Unicode(help="The folder for the words of the learners' servers.").tag(config=True)
    system_users = Bool(help="Whether each learner is a system user of the same name.").tag(config=True)
    forked = Bool(help="Whether servers are forked.").tag(config=True)
    proc = AnyTrait(None, allow_none=True)

    @property
    def home(self) -> Path:
        """The learner's home."""
        return Path(self.homes, self.user.name)

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Add the variables that depend on the learner."""
        return env | variables() | {"USER": self.user.name, "HOME": str(self.home), "SHELL": "/bin/bash"}

    async def start(self) -> tuple[str, int]:
        """Start the learner's server and return where it will listen."""
        self.port: int = self.port or free_port()
        if not self.system_users and not self.home.is_dir():
            self.home.mkdir(mode=FOLDER_MODE)
        name = self.user.name if self.system_users else None
        learner = Learner(str(self.home), name, self.forked)
        log = Path(self.logs, f"{self.user.name}.log")
        command = [*learner.command(), *self.get_args()]
        begin: Any = self.fork if self.forked else self.anew
        process = await asyncio.to_thread(begin, command, log)
        self.proc, self.pid = process, process.pid
        await self.listening(log)
        return "127.0.0.1", self.port

    async def listening(self, log: Path) -> None:
        """Wait until the server listens; raise RuntimeError with its last words where it ended instead."""
        while True:
            if await self.poll() is not None:
                words = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
                raise RuntimeError(f"The server of {self.user.name} ended: {words[-1]}")
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(0.2)

    def fork(self, command: list[str], log: Path) -> warm.Forked:
        """Fork a Python that does the command."""
        with open(os.devnull) as nothing, log.open("a") as words:
            streams = [nothing.fileno(), words.fileno(), words.fileno()]
            return warm.Forked(forks.ready(), [command, self.get_env(), "/"], streams)

    def anew(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a Python that does the command."""
        env = self.get_env() | {"PYTHONPATH": str(ROOT)}
        with log.open("a") as words:
            return subprocess.Popen(
                [sys.executable, *command], cwd="/", env=env, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=words, stderr=words,
            )  # fmt: skip

    async def poll(self) -> int | None:
        """Return the exit status of the server, or None while it runs."""
        status: int | None = 0 if self.proc is None else self.proc.poll()
        if status is not None:
            self.clear_state()
        return status

    async def move_certs(self, paths: Any) -> Any:
        """Leave certificates where they are: inside this machine there are none."""
        return paths


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
