"""`course.py lab`: the three examples as a table, then JupyterLab with the first lesson showing."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tools.setup import copies
from tools.setup.say import ROOT, STATE, Stop, folder_at, say, this_command

CONFIG = Path(__file__).parent / "jupyter"
PORTS = range(8888, 8988)
STARTING = 60.0  # seconds that a server may take until it listens
SIGN = "from nbformat.sign import TrustNotebookApp; TrustNotebookApp.launch_instance()"  # `jupyter trust`
LAB_VARIABLES = ("SSH_CONNECTION", "SSH_TTY")


def open_lab(python: Path, port: int | None, browser: bool, *, renew: bool = False) -> int:
    """Show the table and become the JupyterLab server at the learner's copy of lesson 00; on Windows, wait for it."""
    page = copies.place_of(first_lesson())
    if port is None:
        port = free_port()
    else:
        check_port_is_free(port)
    copied = copies.copy_course(renew=renew)
    copies.tell(copied, this_command("lab --renew"))
    trust(python, [*copied.new, *copied.renewed])
    show_table(python)
    command = [str(python), "-m", "jupyterlab", *server_options(page, port, browser)]
    say("JupyterLab is starting. To end it: Ctrl-C, once.")
    return become(command, {**os.environ, **server_variables(os.environ)})


def first_lesson(root: Path = ROOT) -> str:
    """Return the path of lesson 00 as JupyterLab writes it."""
    found = sorted((root / "notebooks").glob("00_*.ipynb"))
    if not found:
        raise Stop("Lesson 00 is missing in notebooks/.", "Bring it back: git checkout -- notebooks")
    return f"notebooks/{found[0].name}"


def check_port_is_free(port: int) -> None:
    """Raise Stop when something answers on this port already."""
    if _answers(port):
        raise Stop(
            f"Port {port} is taken: another program answers there.",
            "Choose another --port, or give none.",
        )


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return the first port from 8888 on that no program answers on and no other `lab` took in the last minute.

    A server listens seconds after it chose: two that start together would choose the same, and the later one would die.
    """
    for port in PORTS:
        if not _answers(port) and _reserve(folder_at(STATE) / f"port-{port}"):
            return port
    raise Stop(f"The ports {PORTS[0]} to {PORTS[-1]} are all taken.", "Choose another --port.")


def _reserve(mark: Path) -> bool:
    with suppress(FileNotFoundError):
        if time.time() - mark.stat().st_mtime > STARTING:
            mark.unlink()
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def trust(python: Path, copied: Sequence[str], root: Path = ROOT) -> None:
    """Sign the learner's new copies of our notebooks: JupyterLab shows only trusted pictures alive before a cell is run."""
    notebooks = [name for name in copied if name.endswith(".ipynb")]
    if not notebooks:
        return
    done = subprocess.run([python, "-c", SIGN, *notebooks], cwd=root, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        say(f"The copies could not be signed ({last}). Their pictures stand still until their cells are run.")


def show_table(python: Path) -> None:
    """Print the article's three examples as they ran on this machine."""
    say("The article's three examples on this machine:\n")
    done = subprocess.run([python, "-m", "devicelab", "compare"], cwd=ROOT)
    if done.returncode:
        say("The table could not be made; why is above. The lessons open all the same.")
    say()


def server_options(page: str, port: int, browser: bool) -> list[str]:
    """Return JupyterLab's options, and say which of them depend on this machine."""
    options = [
        f"--ServerApp.root_dir={ROOT}",
        f"--LabApp.default_url=/lab/tree/{page}",
        "--ServerApp.answer_yes=True",
        "--Application.log_level=WARN",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        say("You are root, so JupyterLab is started with --allow-root.")
        options.append("--allow-root")
    if browser and not has_display(sys.platform, os.environ):
        say("There is no display here, so no browser is opened: open the address below in one.")
        browser = False
    return options if browser else [*options, "--no-browser"]


def has_display(system: str, variables: Mapping[str, str]) -> bool:
    """Whether a browser that is opened here would be seen by the person who typed the command."""
    if variables.get("BROWSER"):
        return True
    if system == "linux":
        return bool(variables.get("DISPLAY") or variables.get("WAYLAND_DISPLAY"))
    return not any(variables.get(name) for name in LAB_VARIABLES)


def server_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that put the course's settings before the person's own."""
    path = [str(CONFIG), *filter(None, [variables.get("JUPYTER_CONFIG_PATH")])]
    return {
        "JUPYTER_CONFIG_PATH": os.pathsep.join(path),
        "JUPYTERLAB_WORKSPACES_DIR": str(STATE / "workspaces"),
    }


def become(command: list[str], variables: Mapping[str, str]) -> int:
    """Replace this process by the server, so that Ctrl-C reaches it alone; Windows waits for a child instead."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may have inherited "ignore"
    sys.stdout.flush()
    os.chdir(ROOT)
    if sys.platform != "win32":
        os.execve(command[0], command, variables)
    child = subprocess.Popen(command, env=variables)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the console sends Ctrl-C to the child as well
    return child.wait()
