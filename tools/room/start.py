"""`course.py hub demo` and `course.py hub room`: check what was asked for, then become JupyterHub.

demo: every server runs as whoever starts it, any name enters. room: each learner is a system user, with a password of their own.
"""

import argparse
import ipaddress
import os
import re
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tools.room import environment
from tools.room.settings import VARIABLE, Settings
from tools.setup.lab import become, check_port_is_free
from tools.setup.say import ROOT, STATE, Stop, folder_at, say, this_command

MODES = ("demo", "room")
PORT = 8000
HOMES = Path("/home")
CONFIG = ROOT / "workshop" / "jupyterhub_config.py"
NOBODY = 65534  # Linux's user without rights, on every system
ADVICE = "workshop/README.md has both modes."


def main(python: Path, chosen: argparse.Namespace) -> int:
    """Start the hub that the command line asks for, with the course in `python`."""
    refuse(chosen)
    hub, shared = environment.make(python)
    settings = prepare(chosen, hub, shared.prefix, why_not_forked() is None)
    if chosen.mode == "room":
        check_learners_can_run(hub)
    settings.write()
    tell(settings)
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "PYTHON"))
    }
    return become([str(hub), "-m", "jupyterhub", "-f", str(CONFIG)], variables | {VARIABLE: settings.folder})


def refuse(chosen: argparse.Namespace, system: str = sys.platform) -> None:
    """Raise Stop for what cannot be started here, or not safely."""
    refuse_windows(system)
    root = os.geteuid() == 0
    if chosen.mode == "room" and system != "linux":
        raise Stop("A room needs Linux, where each learner becomes a system user.", ADVICE)
    if chosen.mode == "room" and not root:
        raise Stop(
            "A room needs root, to make a system user of each learner and to start their servers as them.",
            f"sudo {this_command('hub', 'room')} ...",
        )
    if chosen.mode == "room" and chosen.password is not None:
        raise Stop("In a room each learner chooses a password; --password is for hub demo.")
    if chosen.mode == "room" and not (chosen.names or chosen.learners):
        raise Stop(
            "Who is in the room? Give --learners 30 (learner01 ...), or --names FILE with a name a line."
        )
    if chosen.mode == "demo" and (chosen.names or chosen.learners or chosen.homes):
        raise Stop("In a demonstration any name enters; --names, --learners and --homes are for hub room.")
    learners(chosen)  # whether the list can be read
    refuse_listening(chosen, root)
    check_port_is_free(chosen.port)


def refuse_windows(system: str = sys.platform) -> None:
    """Raise Stop where there is no JupyterHub."""
    if system == "win32":
        raise Stop("JupyterHub does not run on Windows: take Linux, a virtual machine with it, or WSL 2.")


def refuse_listening(chosen: argparse.Namespace, root: bool) -> None:
    """Raise Stop where passwords would cross a network in the clear, or a network could enter as root."""
    if bool(chosen.key) != bool(chosen.cert):
        raise Stop("TLS needs both --key and --cert.")
    if chosen.key:
        check_pair(chosen.key, chosen.cert)
    if loopback(chosen.listen):
        return
    if not chosen.key:
        raise Stop(
            f"Without TLS the hub serves this machine alone, not {chosen.listen}: passwords would cross the network as text.",
            "Give --key and --cert (workshop/README.md says how they are made), or reach it by: ssh -L 8000:localhost:8000 HOST",
        )
    if chosen.mode == "demo" and not chosen.password:
        raise Stop(f"On {chosen.listen} anybody could enter a demonstration: give --password.")
    if chosen.mode == "demo" and root:
        raise Stop(
            "As root, a demonstration would make all who enter root: start it as another user, or take hub room."
        )


def loopback(address: str) -> bool:
    """Whether only this machine reaches the address; raise Stop for what is none."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        raise Stop(f"--listen takes an address such as 127.0.0.1 or 0.0.0.0, and not {address!r}.") from None


def check_pair(key: Path, certificate: Path) -> None:
    """Raise Stop for a key and a certificate that cannot be read, or do not belong together."""
    for path in (key, certificate):
        if not path.is_file():
            raise Stop(f"{path} is no file.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise Stop(
            f"{key} and {certificate} are no key and certificate that belong together: {error}."
        ) from None
    if key.stat().st_mode & 0o077:
        raise Stop(f"{key} can be read by others than its owner.", f"chmod 600 {key}")


def _no_password() -> str:
    raise ValueError("the key has a password, and nobody would be there to type it")


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
    hold(folder)
    check_kept(folder, hub)
    homes = folder_at(folder / "homes") if chosen.mode == "demo" else (chosen.homes or HOMES).resolve()
    names = learners(chosen)
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


def hold(folder: Path) -> None:
    """Keep the hub's folder for this process and for JupyterHub, which it becomes; raise Stop where another hub has it."""
    import fcntl

    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Stop(
            f"A hub of this course runs already, with its files in {folder}.",
            "End it first: Ctrl-C where it was started.",
        ) from None
    os.set_inheritable(handle, True)  # JupyterHub holds on to it, and hands it to nobody


def check_kept(folder: Path, hub: Path) -> None:
    """Raise Stop where what a hub kept is damaged, with what is lost when it goes."""
    kept = {
        folder / "jupyterhub.sqlite": ("who was logged in", users_fault),
        folder / "passwords.dbm.db": ("every password: each learner chooses one anew", passwords_fault),
    }
    for path, (lost, fault_of) in kept.items():
        fault = fault_of(path, hub) if path.exists() else None
        if fault:
            raise Stop(
                f"{path} is damaged: {fault}.",
                f"Move it elsewhere, then give the same command again. With it goes {lost}.",
            )


def users_fault(path: Path, hub: Path) -> str | None:
    """Return what is wrong with the hub's own file, or None."""
    try:
        with closing(sqlite3.connect(path)) as kept:
            said = str(kept.execute("PRAGMA quick_check").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if said == "ok" else said


def passwords_fault(path: Path, hub: Path) -> str | None:
    """Return what is wrong with the file of passwords, in the words of the Python that reads it, or None."""
    code = "import dbm, sys; dbm.open(sys.argv[1], 'r').close()"
    done = subprocess.run([hub, "-c", code, str(path.with_suffix(""))], capture_output=True, text=True)
    return done.stderr.strip().splitlines()[-1] if done.returncode else None


def learners(chosen: argparse.Namespace) -> list[str]:
    """Return the names of the room."""
    if chosen.mode == "demo":
        return []
    from tools.room import accounts

    names = accounts.listed(chosen.names) if chosen.names else []
    return names + accounts.numbered(chosen.learners or 0)


def check_learners_can_run(hub: Path) -> None:
    """Raise Stop where a user without rights cannot run the learners' Python: the course lies in somebody's closed home."""
    command = [str(hub), "-c", environment.PROOF]
    options = {
        "user": NOBODY,
        "group": NOBODY,
        "extra_groups": [],
        "cwd": "/",
        "env": {"PATH": "/usr/bin:/bin"},
    }
    try:
        done = subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload]
        words = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    except OSError as error:
        words = [str(error)]
    if words:
        closed = next(filter(None, map(environment.closed_to_others, [hub, ROOT])), None)
        why = f"{closed} is closed to them" if closed else words[0]
        raise Stop(
            f"Learners could not run the course's Python, {hub}: {why}.",
            "Put the course where everybody may read, such as /srv, with a Python such as /usr/bin/python3.",
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
    refuse_windows()
    environment.make(python)
    return subprocess.run(
        [str(python), "-m", "tools.proof.hub_preflight", str(learners)], cwd=ROOT
    ).returncode


def test(python: Path, chosen: argparse.Namespace) -> int:
    """Run the load test in the hub's environment."""
    refuse_windows()
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
