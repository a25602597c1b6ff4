"""Which PyTorch to install: the one that is there, else what pip would take, and a question before gigabytes of CUDA libraries.

On Linux, plain `pip install torch` brings NVIDIA's libraries with it, also to a machine without an NVIDIA GPU.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tools.pip import pip
from tools.requirements import torch_requirement
from tools.say import Stop, say, this_command

CPU_INDEX = "https://download.pytorch.org/whl/cpu"  # PyTorch's own index of CPU packages
SELECTOR = "https://pytorch.org/get-started/locally/"
CUDA_PREFIXES = ("nvidia-", "cuda-", "triton")
CHOICES = ("ask", "cpu", "cuda")


@dataclass(frozen=True)
class Plan:
    """What pip would install for torch: names, and the addresses they would come from."""

    packages: tuple[tuple[str, str], ...] = ()

    @property
    def brings_cuda(self) -> bool:
        """Whether CUDA libraries are among the packages."""
        return any(name.lower().startswith(CUDA_PREFIXES) for name, _ in self.packages)

    def download_bytes(self) -> int | None:
        """Return the size of the packages that come over the network, as their servers state it, or None."""
        try:
            return sum(_size(url) for _, url in self.packages if url.startswith("http"))
        except (OSError, ValueError, urllib.error.URLError):
            return None


def _size(url: str) -> int:
    request = urllib.request.Request(url, method="HEAD")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return int(answer.headers["Content-Length"])


def installed_torch(python: Path) -> str | None:
    """Return the version of the torch that `python` finds, without importing it, or None."""
    code = "import importlib.metadata as m; print(m.version('torch'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def pip_options(python: Path, constraints: Path, choice: str, command: str) -> list[str]:
    """Return the further pip options that torch needs; ask, or stop with the two commands, before CUDA is downloaded.

    `choice` is one of CHOICES, `command` is the course.py command that the person gave.
    """
    if choice == "cuda":
        return _cuda_options()
    if sys.platform != "linux":
        return []  # elsewhere plain torch brings no CUDA
    planned = plan(python, constraints)
    if planned.brings_cuda and (choice == "cpu" or _asked_for_cpu(planned, command)):
        say(f"Taking the CPU version of PyTorch from {CPU_INDEX}")
        return ["--extra-index-url", CPU_INDEX]
    return []


def plan(python: Path, constraints: Path) -> Plan:
    """Ask pip what it would install for torch, with all of the user's pip settings, and install nothing."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        arguments = ["install", "--dry-run", "--report", str(report), "--constraint", str(constraints)]
        pip(python, *arguments, torch_requirement(), show=False)
        entries = json.loads(report.read_text(encoding="utf-8"))["install"]
    return Plan(tuple((entry["metadata"]["name"], entry["download_info"]["url"]) for entry in entries))


def _cuda_options() -> list[str]:
    if sys.platform == "linux":
        return []
    raise Stop(
        "Only on Linux does plain `pip install torch` bring CUDA; elsewhere PyTorch's own page names the command.",
        f"See {SELECTOR} and install torch into .venv; a torch that is already there is kept.",
    )


def has_nvidia_driver() -> bool:
    """Whether this machine shows an NVIDIA driver."""
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists()


def _asked_for_cpu(planned: Plan, command: str) -> bool:
    nvidia = has_nvidia_driver()
    machine = "has an NVIDIA driver" if nvidia else "shows no NVIDIA driver"
    size = planned.download_bytes()
    amount = f"{size / 1e9:.1f} GB" if size else "several gigabytes"
    say(
        f"PyTorch for Linux brings NVIDIA's CUDA libraries: {amount} to download, and this machine {machine}."
    )
    say("The CPU version takes 0.2 GB, and the course simulates a GPU where there is none.")
    if not sys.stdin.isatty():
        raise Stop(
            "Nobody can be asked here, so choose one of the two and give the command again:",
            f"{this_command(command, '--torch', 'cpu')}",
            f"{this_command(command, '--torch', 'cuda')}",
        )
    default = "cuda" if nvidia else "cpu"
    answer = input(f"Which one, cpu or cuda? [{default}] ").strip().lower() or default
    if answer not in ("cpu", "cuda"):
        raise Stop(f'The answer must be cpu or cuda, but it is "{answer}".', "Give the same command again.")
    return answer == "cpu"
