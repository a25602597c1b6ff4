"""`.venv-frameworks`: TensorFlow, JAX, Keras and the trainers of lesson 12, beside `.venv`, whose packages it shares.

Only what `.venv` lacks is installed there, so torch is not downloaded twice, and nothing in `.venv` changes.
"""

import subprocess
import sys
from pathlib import Path

from tools.setup import environment, requirements, torch_choice
from tools.setup.pip import pip
from tools.setup.say import ROOT, STATE, Stop, folder_at, say, this_command
from tools.setup.venv import check_space, python_in

FOLDER = ROOT / ".venv-frameworks"
STAMP = "course-stamp"
EXTRA = "frameworks"
# Measured on Linux x86-64 with Python 3.11: 0.45 GB of wheels, 2.0 GB in the folder, 90 seconds.
SIZE = "about 0.5 GB to download and 2 GB on the disk"
BYTES = 3_000_000_000
PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"


def present(folder: Path = FOLDER) -> Path | None:
    """Return the Python of `.venv-frameworks` if it is complete for the pins of today, else None."""
    try:
        key, shared = (folder / STAMP).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):  # never completed
        return None
    return python_in(folder) if key == environment.key() and Path(shared).is_dir() else None


def make(python: Path, command: str, folder: Path = FOLDER) -> Path:
    """Make `.venv-frameworks` beside the environment of `python` unless it is there; say the size and ask before it."""
    ready = present(folder)
    if ready:
        return ready
    _ask(command)
    check_space(BYTES)
    say(f"Making {folder.name} ...")
    _call([str(python), "-m", "venv", "--clear", "--without-pip", str(folder)])
    shared, own = (_packages(one) for one in (python, python_in(folder)))
    # A line that begins with `import` is run at each start: it adds the shared packages after the ones here.
    text = f"import site; site.addsitedir({shared!r})\n"
    Path(own, "shared.pth").write_text(text, encoding="utf-8")
    torch = requirements.torch_pin(torch_choice.installed_torch(python))
    constraints = folder_at(STATE) / "frameworks-constraints.txt"
    constraints.write_text(requirements.pins(torch, torch_only=False), encoding="utf-8")
    say("Installing TensorFlow, JAX, Keras and the trainers: once, and for a few minutes ...")
    inside = ("--python", str(python_in(folder)))
    pip(python, *inside, "install", "--constraint", str(constraints), *requirements.optional(EXTRA))
    (folder / STAMP).write_text(f"{environment.key()}\n{shared}\n", encoding="utf-8")
    return python_in(folder)


def _ask(command: str) -> None:
    say(f"Lesson 12 runs TensorFlow, JAX, Keras and three trainers. They take {SIZE}, in {FOLDER.name}.")
    say("Without them the lesson shows stored runs. They go again with that folder.")
    if not sys.stdin or not sys.stdin.isatty():
        return  # nobody can be asked, and --frameworks was given
    if input("Install them? [y] ").strip().lower() not in ("", "y", "yes"):
        raise Stop("Nothing was installed.", f"The course without them: {this_command(command)}")


def _packages(python: Path) -> str:
    return _call([str(python), "-c", PACKAGES]).strip()


def _call(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-3:]
        raise Stop(f"{FOLDER.name} could not be made.", "\n".join(last))
    return done.stdout
