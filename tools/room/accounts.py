"""The learners of a room as users of the system: their names, their homes, and a group that tells them from everybody else."""

import grp
import os
import pwd
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tools.setup.say import Stop

GROUP = "course-learners"
NAME = "[a-z][a-z0-9_-]{0,30}"  # what Linux takes for a user's name, and a folder's name everywhere
PRIVATE = 0o700
MOST = 500  # names: far more than a machine holds, and less than a file that was chosen by mistake


def numbered(count: int) -> list[str]:
    """Return learner01, learner02, ..."""
    return [f"learner{number:02d}" for number in range(1, count + 1)]


def listed(path: Path) -> list[str]:
    """Return the names in a file, one a line; raise Stop for what is no list of names."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(f"{path} could not be read as a list of names: {error}.") from None
    names = [line.strip().lower() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not names:
        raise Stop(f"{path} holds no name.", "Write one a line, such as: anna")
    if len(names) > MOST:
        raise Stop(f"{path} holds {len(names)} lines, and a list of names has {MOST} at most.")
    check(names)
    return sorted(set(names))


def check(names: Iterable[str]) -> None:
    """Raise Stop for a name that cannot be a user's."""
    for name in names:
        if not re.fullmatch(NAME, name):
            raise Stop(
                f"{name!r} cannot be a learner's name.",
                "A name is a small letter, then small letters, digits, - and _, 31 in all at most.",
            )


def make(names: Iterable[str], homes: Path) -> list[str]:
    """Make the users that are missing, each with a home that nobody else can enter, and return their names.

    Raise Stop for a name that belongs to somebody who is no learner, before any user is made.
    """
    names = sorted(set(names))
    check(names)
    check_homes(homes)
    missing = [name for name in names if not known(name, homes)]
    if missing:
        _call("groupadd", "--force", GROUP)
    for name in missing:
        _call(
            "useradd", "--create-home", "--home-dir", str(homes / name), "--shell", "/bin/bash",
            "--user-group", "--groups", GROUP, "--key", "UMASK=077", name,
        )  # fmt: skip
    for name in names:
        close(homes / name, name)
    return missing


def known(name: str, homes: Path) -> bool:
    """Whether this learner is a user already; raise Stop where the user is somebody else, or the home another's."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        if os.path.lexists(homes / name):
            raise Stop(
                f"{homes / name} is there already, and no user of the system is called {name}.",
                "Move it elsewhere, or give the folder of that room with --homes.",
            ) from None
        return False
    if entry.pw_uid == 0 or not learner(name) or Path(entry.pw_dir) != homes / name:
        raise Stop(
            f"{name} is a user of this machine who is no learner of this room, so nobody may enter by that name.",
            "Choose another name for the learner.",
        )
    return True


def learner(name: str) -> bool:
    """Whether a user was made for a room."""
    try:
        return name in grp.getgrnam(GROUP).gr_mem
    except KeyError:
        return False


def check_homes(homes: Path) -> None:
    """Raise Stop where the folder of the homes is missing, or somebody else than root could change it."""
    if not homes.is_dir():
        raise Stop(f"{homes} is no folder.", f"Make it first: mkdir {homes}")
    found = homes.stat()
    if found.st_uid != 0 or found.st_mode & 0o022:
        raise Stop(
            f"{homes} must belong to root, and nobody else may write in it.",
            "Choose another folder, such as /home or one that root made in /srv.",
        )
    if found.st_mode & 0o001 == 0:
        raise Stop(f"Learners could not enter {homes}.", f"chmod 755 {homes}")


def close(home: Path, name: str) -> None:
    """Keep everybody else out of a home; raise Stop where it is no folder of the learner's."""
    handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(handle).st_uid != pwd.getpwnam(name).pw_uid:
            raise Stop(f"{home} belongs to somebody else than {name}.", f"chown -R {name} {home}")
        os.fchmod(handle, PRIVATE)
    finally:
        os.close(handle)


def _call(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise Stop(f"{command[0]} is missing; on Debian or Ubuntu: sudo apt install passwd") from None
    if done.returncode:
        raise Stop(f"{' '.join(command)} did not work: {(done.stderr or done.stdout).strip()}")
