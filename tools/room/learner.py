"""A learner's JupyterLab: become the learner, make their copies of the course, and serve their home.

Started anew, this is what any JupyterHub starts. Forked from a process that has imported all of it (`spawner.py`), it takes a
fraction of the processor's time, and the kernels are forked in their turn. Only `become_user` runs with the hub's rights.
"""

import ctypes
import json
import os
import socket
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.setup import copies, lab
from tools.setup.say import ROOT

FOLDER = "is-it-on-the-gpu"  # in the learner's home: looks like a clone, and only my_course/ in it is the learner's
PR_SET_DUMPABLE = 4  # linux/prctl.h
KERNELS_FIRST = (
    "600"  # of 1000: where memory runs out, Linux ends a kernel before a server, and that before the hub
)
SERVERS_NEXT = "300"


@dataclass(frozen=True)
class Learner:
    """Whose server this is: the system user to become, if any, the home, and whether kernels are forked."""

    home: str
    user: str | None = None
    forked: bool = False

    def command(self) -> list[str]:
        """Return what Python is given to serve this learner."""
        return ["-c", "from tools.room import learner; learner.main()", json.dumps(asdict(self))]


def main() -> None:
    """Serve the learner that the command line names, until the hub ends it."""
    who = Learner(**json.loads(sys.argv.pop(1)))
    if who.user:
        become_user(who.user)
    os.umask(0o077)
    own = Path(who.home, FOLDER)
    os.environ.pop("PYTHONPATH", None)  # it led here, and is nothing for the learner's kernels
    os.environ[copies.VARIABLE] = str(own)
    last_to_end(KERNELS_FIRST)
    if who.forked:
        fork_kernels()  # first: a kernel has none of what the server opens
    last_to_end(SERVERS_NEXT)
    try:
        prepare(own)
    except Exception:  # what the learner put in the way keeps nobody out of their own server
        traceback.print_exc()
    if os.geteuid() == 0:  # in a demonstration alone: it says that all servers run as who started it
        sys.argv.append("--allow-root")
    sys.argv += own_folders()
    from jupyterhub.singleuser import main as serve

    serve()


def become_user(name: str) -> None:
    """Give up the hub's rights for those of the system user `name`, for good."""
    import pwd

    entry = pwd.getpwnam(name)
    if entry.pw_uid == 0:
        raise PermissionError(f"{name} is the system's administrator, and no learner.")
    os.initgroups(name, entry.pw_gid)
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    # As after an exec: what lies in /proc about this process belongs to the learner, and to nobody else.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def prepare(own: Path, root: Path = ROOT) -> None:
    """Make what is missing in the learner's folder: links to the course's files, and the learner's copies, signed."""
    own.mkdir(parents=True, exist_ok=True)
    for path in root.iterdir():
        if not path.name.startswith(".") and path.name != copies.COURSE:
            with suppress(FileExistsError):
                (own / path.name).symlink_to(path)
    copied = copies.copy_course(root, into=own)
    sign([own / name for name in copied.new if name.endswith(".ipynb")])


def sign(notebooks: list[Path]) -> None:
    """Sign copies as `lab` does, in this process: JupyterLab shows only trusted pictures alive before a cell is run."""
    if not notebooks:
        return
    import nbformat
    from nbformat.sign import NotebookNotary

    notary = NotebookNotary()
    for path in notebooks:
        notary.sign(nbformat.read(path, as_version=4))


def last_to_end(score: str) -> None:
    """Say how soon this process, and what it forks, is ended where memory runs out."""
    with suppress(OSError):  # no Linux
        Path("/proc/self/oom_score_adj").write_text(score)


def fork_kernels() -> None:
    """Fork kernels from a process that is forked here, before this one becomes a server with threads of its own."""
    from tools.notebooks import warm

    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    forks = os.fork()
    if forks == 0:
        ours.close()
        warm.run_asked(its)
    its.close()
    # A learner may end that process as well as any other of theirs: then kernels are started anew.
    warm.server = lambda read: ours if runs(forks) else None  # type: ignore[assignment]
    warm.fork_where_wanted()
    warm.wanted.set(True)


def runs(child: int) -> bool:
    """Whether a child of this process has not ended."""
    try:
        return os.waitpid(child, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False


def own_folders() -> list[str]:
    """Return JupyterLab's options for what it looks up as it is imported, which for a fork was somebody else's."""
    from jupyterlab.commands import get_user_settings_dir, get_workspaces_dir

    return [
        f"--LabApp.user_settings_dir={get_user_settings_dir()}",
        f"--LabApp.workspaces_dir={get_workspaces_dir()}",
    ]


def first_page() -> str:
    """Return where a learner's JupyterLab opens: their own copy of lesson 00."""
    return f"/lab/tree/{FOLDER}/{copies.place_of(lab.first_lesson())}"


def server_options() -> list[str]:
    """Return what a learner's server is told beside what the hub tells it."""
    return [
        "--ServerApp.answer_yes=True",
        "--Application.log_level=WARN",
        "--LanguageServerManager.autodetect=False",  # it would ask npm, for each learner
    ]
