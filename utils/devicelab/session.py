"""The first line of every lesson: say which GPU there is, and simulate one where there is none."""

import os
import sys
from pathlib import Path

import torch

from . import devices, off, versions
from .errors import InputError, listed
from .gpus import find
from .machine import nvidia_driver, reinstall
from .simgpu import simulate_gpu

MODES = ("auto", "real", "simulated", "off")
CARD = "Tesla T4"
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # "microseconds of CPU time, per period of so many microseconds"


def start(card: str | None = None) -> None:
    """Say in one line which GPU this kernel has, and simulate one, `card` or a Tesla T4, where there is no NVIDIA GPU.

    The environment variable DEVICELAB_GPU decides: auto (the default), real, simulated or off. Calling it again changes
    nothing. What stands in the way of a real GPU is said first. Raises InputError for a card that the catalogue lacks,
    whatever GPU there is, and where another is simulated in this kernel already.
    """
    wanted = None if card is None else find(card).name
    running = devices.simulated()
    if wanted and running and running.name != wanted:
        raise InputError(
            f"A simulated {running.name} runs in this kernel already. Restart the kernel for a simulated {wanted}."
        )
    print(prepare(otherwise=wanted or CARD))


def prepare(card: str | None = None, *, use_mps: bool = False, otherwise: str = CARD) -> str:
    """Choose the GPU as `start` does and return its sentence; `card` asks for a simulation of that card.

    With `use_mps` a Mac's own GPU counts as a GPU, so that nothing is simulated there. Where nothing is asked for and one
    has to be simulated, it is `otherwise`.
    """
    mode = _mode()
    _respect_cpu_limit()
    if card and mode in ("real", "off"):
        raise InputError(
            f"A simulated {card} was asked for, but DEVICELAB_GPU is {mode!r}. Unset one of them."
        )
    if devices.simulated() and mode in ("real", "off"):
        raise InputError(
            f"A simulated GPU runs in this kernel already, but DEVICELAB_GPU is {mode!r}. Restart the kernel to change."
        )
    if mode == "off":
        return _off()
    real = devices.real_accelerator() if mode != "simulated" and not card else None
    if real and (real.type == "cuda" or use_mps):
        return (
            f"{'cuda:0' if real.type == 'cuda' else 'mps:0'} is a real {real.name}: every time is measured."
        )
    if mode == "real":
        raise InputError(_no_real_gpu(real))
    return _simulate(card or otherwise, quiet=mode == "simulated")


def _respect_cpu_limit() -> None:
    """Use no more threads than the container may use cores: on Binder torch sees a large host and crawls on one core of it."""
    try:
        quota, period = CPU_LIMIT.read_text().split()
        cores = max(1, int(quota) // int(period))
    except (OSError, ValueError):  # no container, or no limit ("max")
        return
    if cores < torch.get_num_threads():
        torch.set_num_threads(cores)


def _mode() -> str:
    mode = os.environ.get("DEVICELAB_GPU", "auto") or "auto"
    if mode not in MODES:
        raise InputError(f"DEVICELAB_GPU must be {listed(MODES)}, but it is {mode!r}.")
    return mode


def _off() -> str:
    """Hide what GPUs there are, and say what happens to the cells of a notebook that need one."""
    too_late = off.hide_gpus()
    if too_late:
        return too_late
    said = "No GPU is used: DEVICELAB_GPU is off. Everything stays on the CPU."
    return f"{said} A cell that needs a GPU is skipped and says so." if off.skip_cells() else said


def _simulate(card: str, *, quiet: bool) -> str:
    if not devices.simulated():
        for warning in [] if quiet else obstacles():
            print(warning, file=sys.stderr)
        simulate_gpu(card, children=False)  # "in this kernel only"
    name = devices.present().name
    said = f"cuda:0 is a simulated {name}, in this kernel only: values are real, times are estimates."
    return f"{said}\n{versions.untried(torch.__version__)}" if versions.is_newer(torch.__version__) else said


def _no_real_gpu(real: devices.Device | None) -> str:
    found = f"only {real.name} was found" if real else "none was found"
    return (
        f"DEVICELAB_GPU is 'real', which needs an NVIDIA GPU, but {found}. Unset it to use a simulated GPU."
    )


def obstacles() -> list[str]:
    """Return what a learner must know before a GPU is simulated: a card that torch cannot use, or a Mac's own GPU."""
    if torch.backends.mps.is_available():
        return [
            "This Mac has a GPU of its own, called mps. It waits in lesson 08; here a CUDA GPU is simulated."
        ]
    driver = nvidia_driver()
    if not driver or torch.cuda.is_available():
        return []
    if torch.version.cuda is None:
        return [
            f"ATTENTION: there is an NVIDIA driver here ({driver}), but this torch ({torch.__version__}) was built for the CPU "
            f"only and cannot use the card.\nTo mend it, run in a terminal, then restart the kernel:\n    {reinstall()}"
        ]
    return [
        f"ATTENTION: there is an NVIDIA driver here ({driver}) and torch was built for CUDA {torch.version.cuda}, but torch "
        f"finds no usable GPU.\nTo see why, run in a terminal:\n    {sys.executable} -m devicelab doctor"
    ]
