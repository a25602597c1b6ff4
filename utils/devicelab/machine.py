"""What there is on this machine, found without starting CUDA: the one place that knows an NVIDIA driver by its traces."""

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


def reinstall(cuda: str = "") -> str:
    """Return the command that installs a torch for CUDA in this Python; `cuda` is a folder of the wheel index, as "cu126"."""
    if not cuda and platform.system() == "Windows":
        cuda = "cu128"  # without a folder, Windows gets the CPU wheel
    index = f" --index-url {WHEELS}/{cuda}" if cuda else ""
    return f"{sys.executable} -m pip install --force-reinstall torch{index}"
