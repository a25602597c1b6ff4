"""`.venv-hub`: JupyterHub and its proxy, pinned in workshop/requirements.txt, and the packages of the course's own environment.

The latter are shared by a `.pth` file, so that there is one PyTorch. Learners' servers and kernels run in it.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.setup import requirements
from tools.setup.environment import key
from tools.setup.pip import pip
from tools.setup.say import ROOT, STATE, Stop, folder_at, say, this_command
from tools.setup.uv import version_of
from tools.setup.venv import python_in

FOLDER = ROOT / ".venv-hub"
PINS = ROOT / "workshop" / "requirements.txt"
STAMP = "course-stamp.json"  # written last
ASKED = """
import json, sys
base = getattr(sys, "_base_executable", sys.executable)
print(json.dumps([sys.prefix, base, [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]]))
"""
PROOF = "import configurable_http_proxy, devicelab, firstuseauthenticator, jupyterhub, jupyterlab, nbgitpuller, torch"


@dataclass(frozen=True)
class Shared:
    """The course's environment: its folder, the Python it was made from, and where its packages lie."""

    prefix: str
    base: str
    packages: tuple[str, ...]


def shared_by(python: Path) -> Shared:
    """Ask a Python for what `.venv-hub` shares with it."""
    prefix, base, packages = json.loads(subprocess.check_output([str(python), "-c", ASKED], text=True))
    return Shared(prefix, base, tuple(packages))


def make(python: Path, folder: Path = FOLDER) -> tuple[Path, Shared]:
    """Make `.venv-hub` for the course in `python` unless it is there; return its Python, and what it shares."""
    shared = shared_by(python)
    hub = python_in(folder)
    stamp = key(PINS.read_text("utf-8"), json.dumps(shared.packages))
    if _stamp(folder) == stamp and hub.exists():
        return hub, shared
    check_is_ours(folder)
    say("Installing JupyterHub and its proxy into .venv-hub: once, and for a minute ...")
    command = [base_for_all(shared.base), "-m", "venv", "--clear", "--without-pip", str(folder)]
    os.umask(0o022)  # learners read it
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Stop(f"{folder.name} could not be made: {(done.stdout + done.stderr).strip()}")
    share(hub, shared)
    constraints = folder_at(STATE) / "hub-constraints.txt"
    constraints.write_text(requirements.CONSTRAINTS.read_text("utf-8"), encoding="utf-8")
    pip(
        python, "--python", str(hub), "install", "--requirement", str(PINS), "--constraint", str(constraints),
    )  # fmt: skip
    done = subprocess.run([hub, "-c", PROOF], capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise Stop(
            f"{folder.name} was made, and does not work: {done.stderr.strip().splitlines()[-1]}",
            f"Delete {folder}, then give the same command again.",
        )
    (folder / STAMP).write_text(json.dumps(stamp), encoding="utf-8")
    return hub, shared


def _stamp(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / STAMP).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None  # never written, or half


def check_is_ours(folder: Path) -> None:
    """Raise Stop where something else than a virtual environment of its own has the folder's place."""
    made = (
        folder.is_dir()
        and not folder.is_symlink()
        and ((folder / "pyvenv.cfg").exists() or not any(folder.iterdir()))
    )
    if os.path.lexists(folder) and not made:
        raise Stop(
            f"{folder} is in the way: it is no virtual environment of the course, so it is left alone.",
            "Move it elsewhere, then give the same command again.",
        )


def share(hub: Path, shared: Shared) -> None:
    """Let the Python of `.venv-hub` find the course's packages after its own."""
    purelib = subprocess.check_output(
        [str(hub), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    lines = [f"site.addsitedir({path!r})" for path in shared.packages]
    # A line that begins with `import` is run at each start.
    Path(purelib, "shared.pth").write_text(f"import site; {'; '.join(lines)}\n", encoding="utf-8")


def base_for_all(base: str) -> str:
    """Return the Python to make `.venv-hub` from: the course's, or the system's of that version where only it is open to all."""
    version = (
        f"{sys.version_info[0]}.{sys.version_info[1]}" if base == sys.executable else version_of(Path(base))
    )
    others = [f"{folder}/python{version}" for folder in ("/usr/bin", "/usr/local/bin")]
    for path in (base, *others):
        if Path(path).exists() and not closed_to_others(Path(path)) and version_of(Path(path)) == version:
            return path
    return base


def closed_to_others(path: Path) -> Path | None:
    """Return the first part of a path that other users may not enter or read, or None."""
    whole = path.resolve()
    for part in [*reversed(whole.parents), whole]:
        needed = stat.S_IXOTH if part.is_dir() and part != whole else stat.S_IXOTH | stat.S_IROTH
        if part.is_file():
            needed = stat.S_IROTH
        if part.stat().st_mode & needed != needed:
            return part
    return None


def present(folder: Path = FOLDER) -> bool:
    """Whether `.venv-hub` was completed, and its Python runs."""
    python = python_in(folder)
    return _stamp(folder) is not None and python.exists() and shutil.which(str(python)) is not None


def say_where() -> str:
    """Return how the environment is made anew."""
    return f"Delete {FOLDER}, then: {this_command('hub', 'demo')}"
