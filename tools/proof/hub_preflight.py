"""`course.py preflight --hub N`, the evening before: can this machine be the hub of N learners?

Memory and cores are held against what `course.py room-test` measured (workshop/README.md); then a hub starts here and a learner
runs lesson 00 through it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil

from tools.proof import preflight
from tools.proof.preflight import GB, Check, gpu, port, python
from tools.room import environment, refusals, start
from tools.setup.say import ROOT, Stop, this_command
from tools.setup.venv import python_in

LEARNER = 0.5 * GB  # of memory: measured 0.43 while lesson 03 has a second Python beside its kernel
HUB = 2 * GB  # of memory for the system, the hub, and what servers are forked from
HOME = 0.1 * GB  # of disk: copies take 3 MB, and people save things
A_CORE = 20  # learners: as many as room-test let in at once for each of its cores


def memory(learners: int, free: float | None = None) -> Check:
    """Say whether the memory that is free is enough for the learners."""
    free = psutil.virtual_memory().available if free is None else free
    words = f"{free / GB:.1f} GB free for {learners} learners"
    room = int(max(0, free - HUB) / LEARNER)
    if room < learners:
        return Check("memory", "NO", f"{words}: it is enough for {room}.")
    return Check("memory", "ok", words)


def cores(learners: int, there: int | None = None) -> Check:
    """Say whether the processor will keep up where all begin at once."""
    there = there or os.cpu_count() or 1
    words = f"{there} cores for {learners} learners"
    if learners > A_CORE * there:
        return Check("cores", "look", f"{words}: more than was tried. Let them log in a table at a time.")
    return Check("cores", "ok", words)


def disk(learners: int, free: float | None = None) -> Check:
    """Say whether the homes have room."""
    free = shutil.disk_usage(ROOT).free if free is None else free
    words = f"{free / GB:.1f} GB free for {learners} homes"
    return Check("disk", "ok" if free >= learners * HOME else "NO", words)


def room() -> Check:
    """Say whether this machine could open a room, and not only a demonstration."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return Check(
            "room", "look", f"a room needs root on Linux: sudo {this_command('preflight', '--hub', 'N')}"
        )
    try:
        refusals.check_learners_can_run(python_in(environment.FOLDER))
    except Stop as reason:
        return Check("room", "NO", str(reason).splitlines()[0])
    return Check("room", "ok", "another user can run the course's Python")


def lesson() -> Check:
    """Start a hub, let a learner run lesson 00 through it, and say what that took."""
    hub = python_in(environment.FOLDER)
    command = [str(hub), "-m", "tools.room.load", sys.prefix, "--learners", "1", "--lessons", "00"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = (done.stdout + done.stderr).strip().splitlines() or ["nothing was said"]
    if done.returncode:
        return Check("hub", "NO", lines[-1])
    took = next((line for line in lines if "first cell" in line), lines[-1])
    return Check("hub", "ok", f"a learner's first cell ended {took.split('|')[-2].strip()} after the login")


def checks(learners: int) -> Iterator[Callable[[], Check]]:
    """Yield the checks, the quick ones first."""
    yield python
    yield lambda: disk(learners)
    yield lambda: memory(learners)
    yield lambda: cores(learners)
    yield lambda: port(range(start.PORT, start.PORT + 1), f"hub {start.MODES[1]} --port 9000")
    yield from (gpu, room, lesson)


if __name__ == "__main__":
    sys.exit(preflight.main(checks(int(sys.argv[1])), "The hub runs here."))
