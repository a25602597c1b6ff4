"""Hubs to try. JupyterHub is in .venv-hub alone: tests/tools/test_room_environment.py runs this folder with its Python."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("jupyterhub", reason="JupyterHub is in .venv-hub: `course.py hub demo` makes it")

from tools.room import accounts, load, refusals, spawner, start
from tools.room.settings import Settings
from tools.setup.say import Stop

SHARED = os.environ.get("COURSE_SHARED", "")  # the environment that the servers share
NAMES = ("course-test-a", "course-test-b")


@pytest.fixture(scope="session")
def shared():
    """The environment whose JupyterLab the learners' servers use."""
    if not SHARED:
        pytest.skip("tests/tools/test_room_environment.py says which environment the servers share")
    return SHARED


def closed_room() -> str | None:
    """Return why no room can be opened here, or None."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a room needs root on Linux"
    if not shutil.which("useradd"):
        return "useradd is missing"
    try:
        refusals.check_learners_can_run(Path(sys.executable))
    except Stop as reason:
        return str(reason).splitlines()[0]
    return None


@pytest.fixture(scope="session")
def room(shared):
    """A hub for a room of two system users, made for it and deleted afterwards: its settings."""
    why = closed_room()
    if why:
        pytest.skip(why)
    top = Path(tempfile.mkdtemp(prefix="course-room-", dir="/srv"))
    top.chmod(0o755)
    homes, folder = top / "homes", top / "hub"
    homes.mkdir(mode=0o755)
    folder.mkdir(mode=0o700)
    try:
        accounts.make(NAMES, homes)
        settings = Settings(
            "room", str(folder), str(homes), shared, port=spawner.free_port(), learners=NAMES,
            forked=start.why_not_forked() is None,
        )  # fmt: skip
        with load.hub(settings) as pid:
            asyncio.run(load.answering(settings.url, pid))
            yield settings
    finally:
        for name in NAMES:
            subprocess.run(["userdel", "--remove", name], capture_output=True)
        shutil.rmtree(top, ignore_errors=True)
