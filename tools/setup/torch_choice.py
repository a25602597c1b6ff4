"""Which PyTorch to install: the one that is there, else what pip would take, and a question before gigabytes of CUDA libraries.

On Linux, plain `pip install torch` brings NVIDIA's libraries with it, also to a machine without an NVIDIA GPU. pip is asked
for the list of versions and not for a dry run: a dry run downloads the packages from an index that serves no separate metadata.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.setup.pip import pip
from tools.setup.say import Stop, say, this_command
from tools.setup.venv import check_space

CPU_INDEX = "https://download.pytorch.org/whl/cpu"  # PyTorch's own index of CPU packages
SELECTOR = "https://pytorch.org/get-started/locally/"
# Recorded: torch 2.13.0 and what it needs, Linux x86-64, as the package index states it.
CUDA_DOWNLOAD = "2.7 GB"
CPU_DOWNLOAD = "0.2 GB"  # recorded: torch 2.13.0+cpu
CUDA_BYTES = 8_000_000_000  # ours: three times the download
CHOICES = ("ask", "cpu", "cuda")


def installed_torch(python: Path) -> str | None:
    """Return the version of the torch that `python` finds, without importing it, or None."""
    code = "import importlib.metadata as m; print(m.version('torch'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def choose(python: Path, pinned: str, choice: str, command: str) -> tuple[str, list[str]]:
    """Return the exact version of torch to install, and pip's options for it; ask, or stop, before CUDA is downloaded.

    `pinned` is the version that was tested, `choice` one of CHOICES, `command` the course.py command that was given.
    """
    if sys.platform != "linux":
        return pinned, _options_elsewhere(choice)
    found = candidate(python, pinned)
    if not brings_cuda(found):
        if choice == "cuda":
            raise Stop(f"Your pip settings lead to torch {found}.", "Change them, or leave out --torch cuda.")
        return found, []
    if choice == "cpu" or (choice == "ask" and _asked_for_cpu(command)):
        return _cpu_version(python, pinned)
    check_space(CUDA_BYTES)
    return found, []


def candidate(python: Path, pinned: str, *options: str) -> str:
    """Return the torch that pip would take for the pinned version, with the user's pip settings: "2.13.0" or "2.13.0+cpu"."""
    words = pip(python, "index", "versions", "-vv", "torch", *options, show=False)
    versions = re.search(r"Available versions: (.*)", words)
    found = re.split(r",\s*", versions[1].strip() if versions else "")
    return max((version for version in found if version.partition("+")[0] == pinned), default=pinned)


def brings_cuda(version: str) -> bool:
    """Whether a torch of this version brings CUDA libraries on Linux: all do that are not labelled otherwise."""
    return not re.search(r"\+(cpu|xpu|rocm)", version)


def _cpu_version(python: Path, pinned: str) -> tuple[str, list[str]]:
    options = ["--extra-index-url", CPU_INDEX]
    say(f"Taking the CPU version of PyTorch from {CPU_INDEX}")
    found = candidate(python, pinned, *options, "--retries", "1")
    if brings_cuda(found):  # pip passes over an index that does not answer
        raise Stop(
            f"{CPU_INDEX} does not answer, or has no torch {pinned} for this Python: only the CUDA version is to be had.",
            "Look at the network connection and give the same command again, or choose --torch cuda.",
        )
    return found, options


def _options_elsewhere(choice: str) -> list[str]:
    if choice != "cuda":
        return []
    raise Stop(
        "Only on Linux does plain `pip install torch` bring CUDA; elsewhere PyTorch's own page names the command.",
        f"See {SELECTOR} and install torch into .venv; a torch that is already there is kept.",
    )


def has_nvidia_driver() -> bool:
    """Whether this machine shows an NVIDIA driver."""
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists()


def _asked_for_cpu(command: str) -> bool:
    nvidia = has_nvidia_driver()
    machine = "has an NVIDIA driver" if nvidia else "shows no NVIDIA driver"
    say(
        f"PyTorch for Linux brings NVIDIA's CUDA libraries: about {CUDA_DOWNLOAD} to download; this machine {machine}."
    )
    say(f"The CPU version takes about {CPU_DOWNLOAD}, and the course simulates a GPU where there is none.")
    if not sys.stdin or not sys.stdin.isatty():
        raise Stop(
            "Nobody can be asked here, so choose one of the two and give the command again:",
            this_command(command, "--torch", "cpu"),
            this_command(command, "--torch", "cuda"),
        )
    default = "cuda" if nvidia else "cpu"
    answer = input(f"Which one, cpu or cuda? [{default}] ").strip().lower() or default
    if answer not in ("cpu", "cuda"):
        raise Stop(f'The answer must be cpu or cuda, but it is "{answer}".', "Give the same command again.")
    return answer == "cpu"
