"""A fresh Python that has a package: this one, or the one that `course.py lab --frameworks` makes beside it."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

VARIABLE = "DEVICELAB_FRAMEWORKS"  # a Python to ask before all others; "stored": none is asked
FOLDER = ".venv-frameworks"  # beside the environment of the course
PACKAGES = {  # by the name under which it is imported, what pip calls it
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "jax": ("jax",),
    "keras": ("keras",),
    "accelerate": ("accelerate",),
    "lightning": ("lightning",),
    "transformers": ("transformers",),
}
SETTINGS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # errors alone: TensorFlow's words about the CPU are no errors
    "TF_ENABLE_ONEDNN_OPTS": "0",  # so operators have the same names on every CPU
    "JAX_PLATFORMS": "cpu",
}
NO_CARD = {"tensorflow": {"CUDA_VISIBLE_DEVICES": ""}}  # two parts of a CPU are shown, on every machine
ON_PYTORCH = ("keras", "accelerate", "lightning", "transformers")
START = "import devicelab; devicelab.start({card!r})\n"  # that GPU is simulated where there is none
SECONDS = 300
_ASK = """
import importlib.metadata as m, importlib.util, sys
for name in sys.argv[2:]:
    try: version = m.version(name)
    except m.PackageNotFoundError: continue
    if importlib.util.find_spec(sys.argv[1]): sys.exit(print(version))
sys.exit(1)
"""


@dataclass(frozen=True)
class Run:
    """What a script printed, and the version of the package that it was for."""

    version: str
    text: str


def asked(python: str) -> None:
    """Ask this Python before all others from now on; an empty text changes nothing."""
    if python:
        os.environ[VARIABLE] = python


def find(name: str) -> str | None:
    """Return the Python that has this package, or None."""
    first = os.environ.get(VARIABLE, "")
    beside = Path(sys.prefix).with_name(FOLDER) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    every = (first, sys.executable, str(beside)) if first != "stored" else ()
    return next((python for python in every if python and version(python, name)), None)


@cache
def version(python: str, name: str) -> str:
    """Return the version of a package as this Python has it; empty where it has none."""
    command = [python, "-c", _ASK, name, *PACKAGES[name]]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def run(python: str, name: str, code: str, card: str = "Tesla T4") -> Run:
    """Run a script in a fresh Python and an empty folder, without its log; a failure ends with its last line.

    A script for a package on top of PyTorch finds a GPU there; where there is none, `card` is simulated.
    """
    variables = {**os.environ, **SETTINGS, **NO_CARD.get(name, {})}
    command = [python, "-P", "-c", START.format(card=card) * (name in ON_PYTORCH) + code]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            done = subprocess.run(
                command, cwd=folder, env=variables, capture_output=True, text=True, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            return Run(version(python, name), f"It was stopped after {SECONDS} seconds.\n")
    end = (done.stderr.strip().splitlines() or ["It failed without a word."])[-1:] * bool(done.returncode)
    return Run(version(python, name), done.stdout + "".join(f"{line}\n" for line in end))
