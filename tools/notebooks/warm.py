"""Fresh Pythons that have PyTorch already: forked from one process that imported it once, which is most of a short run.

A fork is a process of its own, with its own arguments, variables, folder and streams. Where it would not be the same as a
Python started anew (another system than Linux, an NVIDIA card, other variables that Python or torch read when they start),
one is started anew.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import traceback
import types
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from tools.setup.say import ROOT

# Every optimizer imports torch._dynamo; a kernel, the last.
PRELOADED = ("torch", "torch._dynamo", "ipykernel.ipkernel")
CHILDREN = (
    "DEVICELAB_CHILDREN"  # what devicelab tells a Python as it starts: a fork would be told before it began
)
READ_AT_START = ("PYTHON", CHILDREN, "LD_", "OMP_", "KMP_", "MKL_", "TORCH", "PYTORCH", "MALLOC")
CARDS = ("/dev/nvidiactl", "/dev/dxg")  # CUDA does not survive a fork
LAUNCHER = ["-m", "ipykernel_launcher"]
MESSAGE = 1 << 20  # bytes of a request, at most


def read_at_start(variables: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    """Return the variables that count only when Python, torch or its libraries start."""
    return frozenset(item for item in variables.items() if item[0].startswith(READ_AT_START))


@functools.cache
def server(read: frozenset[tuple[str, str]]) -> socket.socket | None:
    """Return the way to the process that forks, started when it is first asked for with what it reads at its start."""
    if sys.platform != "linux" or any(map(os.path.exists, CARDS)) or CHILDREN in dict(read):
        return None
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        command = [sys.executable, "-m", "tools.notebooks.warm"]
        process = subprocess.Popen(command, cwd=ROOT, stdin=its.fileno())
    atexit.register(end, ours, process)
    return ours


def end(way: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """End the process that forks, and what still runs in forks."""
    for child in list(running):
        child.forget()
    way.close()
    process.wait()


class Forked:
    """A forked Python, with what a kernel's manager uses of subprocess.Popen."""

    def __init__(self, way: socket.socket, request: Any, streams: Sequence[int]) -> None:
        self._report, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            socket.send_fds(way, [json.dumps(request).encode()], [its.fileno(), *streams])
        self.pid = int(self._report.recv(MESSAGE))
        running.add(self)
        self.returncode: int | None = None
        self.stdin = self.stdout = self.stderr = None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit status, as Popen does."""
        if self.returncode is None:
            if not select.select([self._report], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked Python", timeout or 0.0)
            # Nothing: its keeper was killed, and it with it.
            status = self._report.recv(MESSAGE) or signal.SIGKILL
            self.returncode = os.waitstatus_to_exitcode(int(status))
            self.forget()
        return self.returncode

    def forget(self) -> None:
        """Hear no more of it; if it still runs, its keeper ends it."""
        self._report.close()
        running.discard(self)
        if self.returncode is None:
            self.returncode = -signal.SIGKILL

    def poll(self) -> int | None:
        """Return its exit status, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to it, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


running: set[Forked] = set()
wanted: ContextVar[bool] = ContextVar("wanted", default=False)  # each asyncio task has its own


def fork(
    arguments: list[str], variables: Mapping[str, str], folder: str, streams: list[int]
) -> Forked | None:
    """Fork a Python with these arguments and streams (input, output, errors); None where one must be started anew."""
    read = read_at_start(os.environ)
    way = server(read) if read == read_at_start(variables) else None
    return None if way is None else Forked(way, [arguments, dict(variables), folder], streams)


def run(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Do what subprocess.run([sys.executable, *arguments], capture_output=True, text=True) does."""
    variables, folder = dict(os.environ if env is None else env), str(cwd or Path.cwd())
    command = [sys.executable, *arguments]
    with open(os.devnull) as nothing, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        child = fork(command[1:], variables, folder, [nothing.fileno(), out.fileno(), err.fileno()])
        if child is None:
            where: Any = {"env": variables, "cwd": folder, "timeout": timeout}
            return subprocess.run(command, capture_output=True, text=True, **where)
        try:
            code = child.wait(timeout)
        finally:
            child.kill()
        out.seek(0), err.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), err.read())


@contextlib.contextmanager
def kernels() -> Iterator[None]:
    """Fork the kernels that Jupyter's client starts in here, if they are kernels of this Python."""
    fork_where_wanted()
    before = wanted.set(True)
    try:
        yield
    finally:
        wanted.reset(before)


def pytest_configure(config: Any) -> None:
    """Fork kernels for as long as pytest runs: `-p tools.notebooks.warm`."""
    forked = contextlib.ExitStack()
    forked.enter_context(kernels())
    config.add_cleanup(forked.close)


@functools.cache
def fork_where_wanted() -> None:
    """Put a function that forks where that is `wanted` in the place of the one by which Jupyter starts its kernels."""
    from jupyter_client.provisioning import local_provisioner

    anew = local_provisioner.launch_kernel

    def launch(cmd: list[str], **options: Any) -> Any:
        return (kernel(cmd, **options) if wanted.get() else None) or anew(cmd, **options)

    local_provisioner.launch_kernel = launch  # type: ignore[assignment]


def kernel(cmd: list[str], **options: Any) -> Forked | None:
    """Fork a kernel; None where one must be started anew."""
    arguments = [word for word in cmd[1:] if not word.startswith("-X")]
    if cmd[0] != sys.executable or arguments[:2] != LAUNCHER:
        return None
    with open(os.devnull, "r+") as nothing:
        errors = 2 if options.get("stderr") is None else nothing.fileno()
        streams = [nothing.fileno(), 1, errors]
        variables = {**options["env"], "JPY_PARENT_PID": ""}
        return fork(arguments, variables, options.get("cwd") or os.getcwd(), streams)


def serve(way: socket.socket) -> list[str]:
    """Fork for each request; return in a fork, with the arguments it has to run, and end when nobody can ask any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who asks decides what an interrupt ends
    while True:
        request, streams, *_ = socket.recv_fds(way, MESSAGE, 4)
        if not request:
            reap(0)
            os._exit(0)
        if os.fork() == 0:
            way.close()
            return keep(json.loads(request), socket.socket(fileno=streams[0]), streams[1:])
        for number in streams:
            os.close(number)
        reap(os.WNOHANG)


def reap(options: int) -> None:
    """Take note of the keepers that have ended, or wait until all have."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


def keep(request: Any, report: socket.socket, streams: list[int]) -> list[str]:
    """Fork once more and report number and end of that child, or end it with the one who asked; return in the child."""
    child = os.fork()
    if child == 0:
        arguments, variables, folder = request
        become(variables, folder, streams)
        report.send(str(os.getpid()).encode())  # not before an interrupt would end this child alone
        report.close()
        return list(arguments)
    for number in streams:
        os.close(number)
    if report.fileno() in select.select([report.fileno(), os.pidfd_open(child)], [], [])[0]:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    with contextlib.suppress(OSError):
        report.send(str(status).encode())
    os._exit(0)


def become(variables: dict[str, str], folder: str, streams: list[int]) -> None:
    """Make this process what a Python started anew is."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for here, number in enumerate(streams):
        os.dup2(number, here)
        os.close(number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    if "JPY_PARENT_PID" in variables:  # a kernel ends when this one has
        os.environ["JPY_PARENT_PID"] = str(os.getppid())
    sys.modules["numpy"].random.seed()  # Python's own generator does that by itself
    sys.modules["torch"].default_generator.seed()


def run_as_main(arguments: list[str]) -> None:
    """Do what `python ARGUMENTS` does, for -c CODE, -m MODULE and a script."""
    first, *rest = arguments
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if first == "-m":
        sys.argv, sys.path[0] = [first, *rest[1:]], os.getcwd()  # noqa: TID251  # as Python itself does
        runpy._run_module_as_main(rest[0])  # type: ignore[attr-defined]
        return
    sys.argv = [first, *(rest[1:] if first == "-c" else rest)]
    sys.path[0] = "" if first == "-c" else os.path.dirname(os.path.abspath(first))  # noqa: TID251
    code, name = (rest[0], "<string>") if first == "-c" else (Path(first).read_text("utf-8"), first)
    if first != "-c":
        main.__file__ = first
    exec(compile(code, name, "exec"), main.__dict__)


def run_asked(way: socket.socket) -> None:
    """Fork for each request, and in a fork do what was asked; nothing of the caller goes on in either."""
    asked = serve(way)
    try:
        run_as_main(asked)
    except KeyboardInterrupt:  # a Python started anew ends by the signal itself
        traceback.print_exc()
        sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    sys.exit()


def preload(modules: Sequence[str]) -> None:
    """Import what the forks are to have."""
    for module in modules:
        importlib.import_module(module)
    gc.freeze()  # else each fork walks all that was imported when it ends: 1.1 s of the processor instead of 0.3


if __name__ == "__main__":
    preload([*PRELOADED, *sys.argv[1:]])
    run_asked(socket.socket(fileno=os.dup(0)))
