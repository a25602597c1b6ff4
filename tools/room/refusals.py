"""What `course.py hub` refuses, each in a sentence with the next step: what cannot run here, is not safe, or is damaged."""

import argparse
import ipaddress
import os
import sqlite3
import ssl
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tools.room import environment
from tools.setup.lab import check_port_is_free
from tools.setup.say import ROOT, Stop, this_command

NOBODY = 65534  # Linux's user without rights, on every system
ADVICE = "workshop/README.md has both modes."


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


def learners(chosen: argparse.Namespace) -> list[str]:
    """Return the names of the room."""
    if chosen.mode == "demo":
        return []
    from tools.room import accounts

    names = accounts.listed(chosen.names) if chosen.names else []
    return names + accounts.numbered(chosen.learners or 0)


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
