"""A kernel with the IPython and ipywidgets that Colab has, in `.venv-colab`; everything else is shared with this Python.

Only those few packages are installed there, so that torch need not be downloaded twice.
"""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

from tools.setup.say import ROOT, Stop
from tools.setup.venv import python_in

FOLDER = ROOT / ".venv-colab"
KERNEL = "colab-versions"
# Colab's kernel in November 2026, with what these versions need and newer ones no longer do.
PINS = (
    "ipython==7.34.0",
    "ipywidgets==7.7.1",
    "ipykernel==6.17.1",
    "traitlets==5.7.1",
    "ipython-genutils==0.2.0",
    "backcall==0.2.0",
    "pickleshare==0.7.5",
    "decorator==4.4.2",
)
PROOF = "import IPython, ipywidgets; print(IPython.__version__, ipywidgets.__version__)"
PROVEN = "7.34.0 7.7.1"


def why_not() -> str | None:
    """Return why this Python cannot run Colab's versions, or None."""
    if sys.version_info >= (3, 13):  # IPython 7.34 imports a module that Python 3.13 no longer has
        return f"IPython 7.34 needs Python 3.12 or older, and this is {sys.version.split()[0]}"
    return None


def make(folder: Path = FOLDER) -> Path:
    """Make `.venv-colab` unless it is there, and return its interpreter; raise Stop when pip cannot."""
    python = python_in(folder)
    if proven(python):
        return python
    _call([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)])
    here = sysconfig.get_path("purelib")
    inside = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    _call([*pip, *PINS])
    # A line that begins with `import` is run at each start: it adds the shared packages after the ones above.
    Path(inside, "shared.pth").write_text(f"import site; site.addsitedir({here!r})\n", encoding="utf-8")
    if not proven(python):
        raise Stop(f"{folder.name} was made, but it does not hold IPython and ipywidgets {PROVEN}.")
    return python


def proven(python: Path) -> bool:
    """Say whether this interpreter imports the wanted versions."""
    if not python.exists():
        return False
    done = subprocess.run([str(python), "-c", PROOF], capture_output=True, text=True)
    return done.returncode == 0 and done.stdout.strip() == PROVEN


def install_kernel(python: Path, data: Path) -> str:
    """Describe the kernel in the Jupyter data folder `data`, and return its name."""
    folder = data / "kernels" / KERNEL
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Colab's versions", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    return KERNEL


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-3:]
        raise Stop("The kernel with Colab's versions could not be made.", "\n".join(last))
