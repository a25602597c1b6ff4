"""What there is on this machine, found without starting CUDA: its processor, an NVIDIA driver by its traces."""

import os
import platform
import shutil
import sys
from pathlib import Path

WHEELS = "https://download.pytorch.org/whl"


def nvidia_driver() -> str | None:
    """Return the evidence of an installed NVIDIA driver, or None: a file or a program that only the driver brings."""
    windows = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "nvcuda.dll")
    for place in (Path("/proc/driver/nvidia/version"), Path("/usr/lib/wsl/lib/libcuda.so.1"), windows):
        if place.exists():
            return str(place)
    return shutil.which("nvidia-smi")


def processor() -> str:
    """Return the CPU's name: Linux tells it in a file, other systems to Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine() or "unknown"


def reinstall(folder: str = "", *, python: str = "", system: str = "") -> str:
    """Return the command that installs a torch with GPU support; `folder` is one of the wheel index, such as "cu126"."""
    if not folder and (system or platform.system()) == "Windows":
        folder = "cu128"  # without a folder, Windows gets the wheel for the CPU
    index = f" --index-url {WHEELS}/{folder}" if folder else ""
    return f"{python or sys.executable} -m pip install --force-reinstall torch{index}"
