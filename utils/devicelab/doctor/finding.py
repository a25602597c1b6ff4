"""One diagnosis, and the words and commands that several of them share."""

import re
from dataclasses import dataclass

from devicelab import machine as this

from .machine import Gpu, Machine


@dataclass(frozen=True)
class Finding:
    """One diagnosis: a name for programs, a sentence, the evidence for it and one command to try.

    `blocking` says whether it keeps torch from using a GPU.
    """

    kind: str
    sentence: str
    evidence: tuple[str, ...]
    command: str
    blocking: bool = True


def number(gpu: Gpu) -> int:
    """The card's capability as in sm_75: 75; 0 where it is unknown."""
    major, minor = gpu.capability or (0, 0)
    return 10 * major + minor


def arch_number(arch: str) -> int:
    """The number in an architecture of a wheel: 90 of "sm_90a"."""
    digits = "".join(letter for letter in arch.partition("_")[2] if letter.isdigit())
    return int(digits or 0)


def names(gpus: tuple[Gpu, ...]) -> str:
    """The cards with their numbers."""
    return "; ".join(f"{gpu.index}: {gpu.name}" for gpu in gpus)


def nvidia_evidence(m: Machine) -> str:
    """The best sign of an NVIDIA card or driver that there is."""
    if m.smi_gpus:
        return f"nvidia-smi sees {names(m.smi_gpus)}" + (f", driver {m.driver}" if m.driver else "")
    on_bus = "an NVIDIA card on the bus" if "NVIDIA" in m.pci else ""
    return m.driver_trace or " ".join(m.device_nodes) or on_bus or "no sign of an NVIDIA driver"


def install(m: Machine, folder: str = "") -> str:
    """The command that installs another torch into the machine's Python, from a folder of the wheel index."""
    if m.packages in OTHER_INSTALLERS:
        index = folder or ("" if m.packages == "uv" else "cu128")
        return OTHER_INSTALLERS[m.packages].format(
            python=m.executable, folder=index or "auto", wheels=this.WHEELS
        )
    if not folder and "aarch64" in m.kinds:
        folder = "cu128"  # without a folder, aarch64 gets the wheel for the CPU
    return this.reinstall(folder, python=m.executable, system=m.system)


def driver_update(m: Machine) -> str:
    """The command that installs the NVIDIA driver on this system, or updates it."""
    if m.system == "Windows" or m.wsl:
        return "start https://www.nvidia.com/drivers" + ("    # in Windows, not in WSL" if m.wsl else "")
    if m.container:
        return on_host(m, "nvidia-smi") + ", whose driver this container uses: update it there"
    for distribution, command in DRIVER_PACKAGES.items():
        if distribution in m.distribution.split():
            return command
    return "sudo ubuntu-drivers install"


def on_host(m: Machine, command: str) -> str:
    """A command that changes the driver, which a container has from its host."""
    return f"{command}    # on the host" if m.container else command


# Sources: docs/sources.md, "What errors and drivers say".
OTHER_INSTALLERS = {
    "uv": "uv pip install --python {python} --reinstall torch --torch-backend={folder}",  # its environments have no pip
    "poetry": "poetry source add --priority=explicit pytorch-gpu {wheels}/{folder} && poetry add --source pytorch-gpu torch",
    "pixi": 'pixi add pytorch-gpu    # first in pixi.toml: platforms = [{{ platform = "linux-64", cuda = "12.0" }}]',
}
WITH_CARD = {  # how to start a container with the card, and see whether it has it
    "podman": "podman run --rm --device nvidia.com/gpu=all --security-opt=label=disable ubuntu nvidia-smi -L",
    "kubernetes": "kubectl describe nodes    # one with nvidia.com/gpu? then in the pod: resources: limits: nvidia.com/gpu: 1",
    "docker": "docker run --rm --gpus all nvidia/cuda:12.8.1-base-ubuntu24.04 nvidia-smi",
}
DRIVER_PACKAGES = {
    "ubuntu": "sudo ubuntu-drivers install",
    "debian": "sudo apt install nvidia-driver    # from the section non-free",
    "fedora": "sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda    # from RPM Fusion",
    "arch": "sudo pacman -S nvidia-open",
}
# Cards of which nvidia-smi tells no compute capability: the drivers that still know them are too old for the question.
KEPLER = {
    37: re.compile(r"\bK80\b"),
    35: re.compile(
        r"\bK(?:20|40)[cmstxX]*\b|\bGTX 780|\bGTX TITAN\b(?! X)|\bGT 7[134]0\b|\bQuadro K(?:5200|6000)\b"
    ),
    30: re.compile(r"\bTesla K\d|\bGTX? (?:6[1-9]\d|7[67]0)\b|\bQuadro K\d"),
}
OLDEST_WHEEL = 50  # compute capability 5.0: no wheel for CUDA 12 has older ones
BLACKWELL = 100  # from here on a wheel for CUDA 12.8 is the oldest
OLDEST_TODAY = 75  # of the wheels for CUDA 12.8 and newer; those for 12.6 go back to 5.0
KEPLER_WHEELS = {37: ("3.10", "torch==1.12.1+cu113", "/cu113"), 35: ("3.7", "torch==1.2.0", "")}


def newest_card(m: Machine) -> int:
    """The capability of the newest card, as in 75 for sm_75: by nvidia-smi, else by its name; 0 where it is unknown."""
    return max((number(gpu) or _by_name(gpu) for gpu in m.smi_gpus), default=0)


def _by_name(gpu: Gpu) -> int:
    return next((capability for capability, name in KEPLER.items() if name.search(gpu.name)), 0)


def kepler_wheel(m: Machine, card: int) -> str:
    """The command for a torch that still has code for Kepler, with the Python that it needs; sm_30 is in no wheel."""
    if card not in KEPLER_WHEELS:
        return "python -m devicelab compare --gpu 'Tesla T4'    # no wheel of PyTorch has code for this card"
    version, package, folder = KEPLER_WHEELS[card]
    python = f"py -{version}" if m.system == "Windows" else f"python{version}"
    index = f" --extra-index-url {this.WHEELS}{folder}" if folder else ""
    return f"{python} -m pip install {package}{index}"


def reinstall(m: Machine) -> str:
    """The command for a torch with GPU support that this driver can run, and that has code for the newest card here."""
    card = newest_card(m)
    if 0 < card < OLDEST_WHEEL:
        return kepler_wheel(m, card)
    if card >= BLACKWELL and m.driver_cuda is not None and m.driver_cuda < (12, 8):
        return driver_update(m)
    newest = m.system == "Darwin" or m.driver_cuda is None or m.driver_cuda >= (13, 0)
    return install(m) if newest and not _is_old(card) else older_wheel(m) or install(m)


def _is_old(card: int) -> bool:
    return 0 < card < OLDEST_TODAY


def older_wheel(m: Machine) -> str | None:
    """The newest wheel that the driver's CUDA can run, of those that PyTorch's index has had for several releases."""
    folders = {(12, 8): "cu128", (12, 0): "cu126", (11, 0): "cu118"}
    card, known = newest_card(m), m.driver_cuda or (0, 0)
    if _is_old(card):
        known = min(m.driver_cuda or (12, 0), (12, 0))
    folder = next((folder for least, folder in folders.items() if known >= least), None)
    if folder not in (None, "cu128") and card >= BLACKWELL:
        return None
    return install(m, folder) if folder else None


def unset(m: Machine) -> str:
    """The command that shows every card again."""
    return "Remove-Item Env:CUDA_VISIBLE_DEVICES" if m.system == "Windows" else "unset CUDA_VISIBLE_DEVICES"


def set_variable(m: Machine, name: str, value: str) -> str:
    """The command that sets an environment variable."""
    return f'$env:{name} = "{value}"' if m.system == "Windows" else f"export {name}={value}"


def with_variable(m: Machine, name: str, value: str, command: str) -> str:
    """The command that runs another one with an environment variable."""
    if m.system == "Windows":
        return f"{set_variable(m, name, value)}; {command}"
    return f"{name}={value} {command}"
