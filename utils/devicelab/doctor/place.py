"""What kind of machine this is, as far as commands depend on it: the service, the board, the distribution, the installer."""

import os
import platform
import sys
from pathlib import Path
from typing import Any


def place() -> dict[str, Any]:
    """Return the facts on which a fitting command depends."""
    return {"host": _host(), "packages": _packages(), "distribution": _distribution()}


def _host() -> str:
    """A service or a board that has ways of its own to a GPU, or ""."""
    if os.environ.get("COLAB_RELEASE_TAG") or Path("/opt/google/cuda-compat").exists():
        return "Colab"
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE"):
        return "Kaggle"
    if Path("/etc/nv_tegra_release").exists() or "tegra" in platform.release():
        return "Jetson"
    return "Slurm" if os.environ.get("SLURM_JOB_ID") else ""


def _packages() -> str:
    """Who installs packages into this Python: "uv", "conda", "poetry", "pixi", or "" for pip."""
    if ".pixi" in Path(sys.prefix).parts:
        return "pixi"
    if os.environ.get("POETRY_ACTIVE") or "pypoetry" in Path(sys.prefix).parts:
        return "poetry"
    settings = Path(sys.prefix, "pyvenv.cfg")
    if settings.exists():
        return "uv" if "\nuv = " in "\n" + settings.read_text("utf-8", errors="replace") else ""
    return "conda" if Path(sys.prefix, "conda-meta").is_dir() else ""


def _distribution() -> str:
    """The distribution of Linux and those that it is made from, as in "ubuntu debian"."""
    try:
        said = platform.freedesktop_os_release()
    except (OSError, AttributeError):
        return ""
    return f"{said.get('ID', '')} {said.get('ID_LIKE', '')}".strip()
