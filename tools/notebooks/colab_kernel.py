"""Kernels with the packages of Colab's runtimes, in `.venv-colab`; torch and the rest are shared with an environment here.

That is the one of `.torches` with the runtime's Python and torch, or the newest torch, where `course.py torches` has made
it; where none of them is there, the environment of this Python. Only the few packages of colab.toml are installed.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.setup import torches, uv
from tools.setup.say import ROOT, Stop, this_command
from tools.setup.venv import python_in

FOLDER = ROOT / ".venv-colab"
KERNEL = "colab-versions"
VERSIONS = Path(__file__).with_name("colab.toml")
# The newer platformdirs that is shared brings a plugin for pytest, which would be looked for in Colab's older one, and missed.
SHARED = {"platformdirs"}
INSTALLED = "import importlib.metadata as m, json, sys; print(json.dumps([f'{n}=={m.version(n)}' for n in sys.argv[1:]]))"
PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"


@dataclass(frozen=True)
class Runtime:
    """A runtime of Colab: its name, the day of the list, Python and torch ("3.13", "2.11.0"), and the packages beside, pinned."""

    name: str
    date: str
    python: str
    torch: str
    packages: tuple[str, ...]

    @property
    def put(self) -> list[str]:
        """The packages that are put before those of the shared environment."""
        return [pin for pin in self.packages if pin.partition("==")[0] not in SHARED]


@dataclass(frozen=True)
class Base:
    """The environment here whose torch is shared, with its versions, for a runtime."""

    runtime: Runtime
    interpreter: Path
    python: str
    torch: str

    @property
    def folder(self) -> Path:
        """Where the runtime's packages are put."""
        return FOLDER / f"{self.runtime.name}-torch{self.torch}-py{self.python}"

    @property
    def line(self) -> str:
        """What is run, and how it differs from Colab."""
        here = f"Colab's packages ({self.runtime.name}, list of {self.runtime.date}) on Python {self.python}, torch {self.torch}"
        wanted = torches.Target(self.runtime.torch, self.runtime.python)
        if self.python.startswith(f"{wanted.python}.") and self.torch.startswith(wanted.torch):
            return here
        made = this_command("torches", f"{wanted.torch}@{wanted.python}")
        return f"{here}; Colab has Python {wanted.python}, torch {wanted.torch} ({made})"


def runtimes(versions: Path = VERSIONS) -> list[Runtime]:
    """Return the runtimes of colab.toml, the present one first."""
    read = tomllib.loads(versions.read_text(encoding="utf-8"))["runtime"]
    return [
        Runtime(one["name"], str(one["date"]), one["python"], one["torch"], tuple(one["packages"]))
        for one in read
    ]


def bases() -> list[Base]:
    """Return the environments here that come nearest to Colab, or this Python's where there is none."""
    found = [Base(runtime, python, *_versions(python)) for runtime, python in _nearest() if python.exists()]
    here = Path(sys.executable)
    return found or [Base(runtimes()[0], here, *_versions(here))]


def _nearest() -> Iterator[tuple[Runtime, Path]]:
    """Yield each runtime with where an interpreter with its torch would lie; the present one with the newest torch too."""
    present, *past = runtimes()
    for runtime, torch in [
        (present, present.torch),
        (present, torches.NEWEST),
        *((one, one.torch) for one in past),
    ]:
        yield runtime, python_in(torches.Target(torch, runtime.python).folder)


def _versions(python: Path) -> tuple[str, str]:
    torch, own = torches.versions(python)
    return own, torch


def make(base: Base) -> Path:
    """Make the environment of `base` unless it is there, and return its interpreter; raise Stop when it cannot be made."""
    python = python_in(base.folder)
    if proven(python, base.runtime):
        return python
    _call(str(base.interpreter), "-m", "venv", "--clear", "--without-pip", str(base.folder))
    uv.uv(Path(sys.executable), "pip", "install", "--no-deps", "--python", str(python), *base.runtime.put)
    here = _call(str(base.interpreter), "-c", PACKAGES)
    inside = _call(str(python), "-c", PACKAGES)
    # A line that begins with `import` is run at each start: it adds the shared packages after the ones above.
    Path(inside, "shared.pth").write_text(f"import site; site.addsitedir({here!r})\n", encoding="utf-8")
    if not proven(python, base.runtime):
        raise Stop(f"{base.folder} was made, but it does not hold the versions of {VERSIONS.name}.")
    return python


def proven(python: Path, runtime: Runtime) -> bool:
    """Say whether this interpreter finds each of the runtime's packages in its version."""
    if not python.exists():
        return False
    names = [pin.partition("==")[0] for pin in runtime.put]
    done = subprocess.run([str(python), "-c", INSTALLED, *names], capture_output=True, text=True)
    return done.returncode == 0 and json.loads(done.stdout) == runtime.put


def install_kernel(python: Path, data: Path) -> str:
    """Describe the kernel in the Jupyter data folder `data`, and return its name."""
    folder = data / "kernels" / KERNEL
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Colab's versions", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    return KERNEL


def _call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-3:]
        raise Stop("The kernel with Colab's versions could not be made.", "\n".join(last))
    return done.stdout.strip()
