"""`course.py hub demo` and `course.py hub room`: check what was asked for, then become JupyterHub.

demo: every server runs as whoever starts it, any name enters. room: each learner is a system user, with a password of their own.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.room import environment, refusals
from tools.room.settings import VARIABLE, Settings
from tools.setup.lab import become
from tools.setup.say import ROOT, STATE, folder_at, say

MODES = ("demo", "room")
PORT = 8000
HOMES = Path("/home")
CONFIG = ROOT / "workshop" / "jupyterhub_config.py"


def main(python: Path, chosen: argparse.Namespace) -> int:
    """Start the hub that the command line asks for, with the course in `python`."""
    refusals.refuse(chosen)
    hub, shared = environment.make(python)
    settings = prepare(chosen, hub, shared.prefix, why_not_forked() is None)
    if chosen.mode == "room":
        refusals.check_learners_can_run(hub)
    settings.write()
    tell(settings)
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "PYTHON"))
    }
    return become([str(hub), "-m", "jupyterhub", "-f", str(CONFIG)], variables | {VARIABLE: settings.folder})


def why_not_forked() -> str | None:
    """Return why servers are started anew here instead of forked, or None."""
    from tools.notebooks import warm

    if sys.platform != "linux":
        return "only Linux forks them safely"
    if any(map(os.path.exists, warm.CARDS)):
        return "there is an NVIDIA card, and CUDA does not survive a fork"
    return None


def prepare(chosen: argparse.Namespace, hub: Path, shared: str, forked: bool) -> Settings:
    """Make the hub's folder, and in a room the learners; return the settings."""
    folder = folder_at(folder_at(STATE) / f"hub-{chosen.mode}")
    os.chmod(folder, 0o700)
    folder_at(folder / "logs")
    refusals.hold(folder)
    refusals.check_kept(folder, hub)
    homes = folder_at(folder / "homes") if chosen.mode == "demo" else (chosen.homes or HOMES).resolve()
    names = refusals.learners(chosen)
    if chosen.mode == "room":
        from tools.room import accounts

        made = accounts.make([*names, *filter(None, [chosen.admin])], homes)
        say(f"{len(names)} learners, {len(made)} of them new; their homes are in {homes}.")
    return Settings(
        mode=chosen.mode,
        folder=str(folder),
        homes=str(homes),
        shared=shared,
        port=chosen.port,
        listen=chosen.listen,
        learners=tuple(names),
        admin=chosen.admin,
        password=chosen.password,
        key=chosen.key and str(chosen.key.resolve()),
        certificate=chosen.cert and str(chosen.cert.resolve()),
        forked=forked,
    )


def tell(settings: Settings) -> None:
    """Say where the hub is, who may enter, and how it ends."""
    if settings.mode == "demo":
        who = "whoever knows the password" if settings.password else "any name, any password"
        say(
            f"A demonstration: {who} enters, and all servers run as {os.environ.get('USER') or os.geteuid()}."
        )
        say("One learner can read and change what another has. For a class: hub room")
    say(f"JupyterHub is starting at {settings.url}. To end it, and all servers: Ctrl-C, once.")
    say(f"Homes: {settings.homes}. What servers say: {settings.folder}/logs")


def preflight(python: Path, learners: int) -> int:
    """Look at this machine as the hub of so many learners."""
    refusals.refuse_windows()
    environment.make(python)
    return subprocess.run(
        [str(python), "-m", "tools.proof.hub_preflight", str(learners)], cwd=ROOT
    ).returncode


def test(python: Path, chosen: argparse.Namespace) -> int:
    """Run the load test in the hub's environment."""
    refusals.refuse_windows()
    hub, shared = environment.make(python)
    options = [
        "--learners",
        str(chosen.learners),
        "--lessons",
        chosen.lessons,
        *(["--anew"] if chosen.anew else []),
    ]
    command = [str(hub), "-m", "tools.room.load", shared.prefix, *options]
    return subprocess.run(command, cwd=ROOT).returncode


def add_options(add: Callable[..., Any]) -> None:
    """Add the options of `hub` by a parser's function."""
    add("mode", choices=MODES, help="demo: one user, any name; room: root on Linux, a system user each")
    add("--port", type=port, default=PORT, help=f"the port of the hub (default: {PORT})")
    add(
        "--listen",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="0.0.0.0 for a network, with --key and --cert",
    )
    add("--key", type=Path, help="TLS: the key")
    add("--cert", type=Path, help="TLS: the certificate")
    add("--password", help="demo: the one password of all")
    add("--learners", type=count, metavar="N", help="room: learner01 to learnerN")
    add("--names", type=Path, metavar="FILE", help="room: the learners' names, one a line")
    add(
        "--admin",
        type=name,
        metavar="NAME",
        help="who may start and end others' servers on the hub's page /hub/admin",
    )
    add(
        "--homes", type=Path, metavar="FOLDER", help=f"room: where the learners' homes are (default: {HOMES})"
    )
    add("--wheels", type=Path, metavar="FOLDER", help="install from this folder alone, without a network")


def port(text: str) -> int:
    """Read a port."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"must be a number between 1 and 65535, but it is {text!r}.")
    return int(text)


def count(text: str) -> int:
    """Read how many learners there are."""
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number between 1 and 999, but it is {text!r}.")
    return int(text)


def name(text: str) -> str:
    """Read a learner's name."""
    from tools.room import accounts

    if not re.fullmatch(accounts.NAME, text):
        raise argparse.ArgumentTypeError(f"cannot be a learner's name: {text!r}.")
    return text
