"""Look at this machine. Every question is asked carefully: an answer that does not come is no reason to stop."""

import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from devicelab import machine, versions

from . import probe
from .machine import Gpu, Holder, Machine
from .place import place

PATIENCE = 20  # seconds for a program such as nvidia-smi
VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
MIB = 2**20
_SMI_GPUS = "--query-gpu=index,name,driver_version,memory.total,memory.used,compute_mode"
_SMI_CAPABILITY = "--query-gpu=index,compute_cap"  # a driver before 510 does not know the word
_SMI_APPS = "--query-compute-apps=process_name,used_memory"
_SMI_MIG = "--query-gpu=mig.mode.current"
_SMI_FORMAT = "--format=csv,noheader,nounits"


def gather() -> Machine:
    """Return the evidence. Asks nvidia-smi first, then torch, which may start CUDA in this process."""
    facts: dict[str, Any] = {}
    for look in (_system, place, _surroundings, _environment, _driver, _torch, _simulation):
        facts |= _carefully(look)
    facts |= _carefully(lambda: _operators(facts))
    return Machine(**facts)


def _carefully(look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return look()
    except Exception:  # the doctor reports on what is left
        return {}


def _system() -> dict[str, Any]:
    system = platform.system()
    return {
        "system": system,
        "release": platform.mac_ver()[0] if system == "Darwin" else platform.release(),
        "chip": platform.machine(),
        "translated": system == "Darwin" and _run("sysctl", "-n", "sysctl.proc_translated")[1].strip() == "1",
        "python": platform.python_version(),
        "executable": _from_here(sys.executable),
    }


def _from_here(path: str) -> str:
    """Return a path as it is written from the present folder: it works there, and tells less about the machine."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _surroundings() -> dict[str, Any]:
    """Whether this is WSL or a container, and which cards are on the bus."""
    cards = Path("/sys/bus/pci/devices").glob("*/class")
    vendors = [
        _text(card.parent / "vendor").strip() for card in cards if _text(card).startswith(("0x0300", "0x0302", "0x0380"))
    ]  # fmt: skip
    return {
        "wsl": "microsoft" in _text("/proc/version").lower(),
        "container": _container(),
        "pci": tuple(VENDORS.get(vendor, vendor) for vendor in vendors),
        "device_nodes": tuple(
            str(path) for path in (*_nodes("nvidia[0-9]*"), *_nodes("dxg"), *_nodes("kfd"))
        ),
    }


def _nodes(pattern: str) -> list[Path]:
    return sorted(Path("/dev").glob(pattern)) if os.name == "posix" else []


def _container() -> str:
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    return "container" if re.search(r"docker|kubepods|containerd|lxc", _text("/proc/1/cgroup")) else ""


def _environment() -> dict[str, Any]:
    start = dict(line.partition("=")[::2] for line in _text("/proc/self/environ").split("\0"))
    return {
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "visible_at_start": start.get("CUDA_VISIBLE_DEVICES"),
        "device_order": os.environ.get("CUDA_DEVICE_ORDER"),
    }


def _driver() -> dict[str, Any]:
    """What the NVIDIA driver says by nvidia-smi."""
    trace = machine.nvidia_driver()
    program = shutil.which("nvidia-smi") or "/usr/lib/wsl/lib/nvidia-smi"
    if not Path(program).exists():
        return {"driver_trace": trace}
    code, said = _run(program, _SMI_GPUS, _SMI_FORMAT)
    if code != 0:
        return {"driver_trace": trace, "smi_error": one_line(said)}
    rows = [[cell.strip() for cell in line.split(",")] for line in said.splitlines() if line.count(",") >= 5]
    capable = capabilities(_run(program, _SMI_CAPABILITY, _SMI_FORMAT)[1])
    return {
        "driver_trace": trace,
        "driver": rows[0][2] if rows else None,
        "driver_cuda": driver_cuda(_run(program)[1]),
        "smi_gpus": tuple(smi_gpu(row, capable) for row in rows),
        "mig_mode": "Enabled" in _run(program, _SMI_MIG, _SMI_FORMAT)[1],
        "mig": mig_parts(_run(program, "-L")[1]),
        "holders": holders(_run(program, _SMI_APPS, _SMI_FORMAT)[1]),
    }


def one_line(said: str) -> str:
    """Return what a program said as one line, without letters that would steer the terminal."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in said).split())


def smi_gpu(row: list[str], capable: dict[int, tuple[int, int]] | None = None) -> Gpu:
    """Return a card from a row of nvidia-smi's table, whose memory is in MiB."""
    total, used = (int(cell) * MIB if cell.isdigit() else 0 for cell in row[3:5])
    return Gpu(int(row[0]), row[1], (capable or {}).get(int(row[0])), total, used, row[5])


def capabilities(said: str) -> dict[int, tuple[int, int]]:
    """Return the compute capability of each card by its number, where nvidia-smi tells it."""
    found = re.findall(r"^\s*(\d+)\s*,\s*(\d+)\.(\d)\s*$", said, re.MULTILINE)
    return {int(index): (int(major), int(minor)) for index, major, minor in found}


def driver_cuda(said: str) -> tuple[int, int] | None:
    """Return the newest CUDA that the driver knows, from nvidia-smi's heading."""
    found = re.search(r"CUDA Version:\s*(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else None


def mig_parts(said: str) -> tuple[str, ...]:
    """Return the names of the parts of divided cards in the list of `nvidia-smi -L`, without their UUIDs."""
    return tuple(re.findall(r"^\s+(MIG \S+\s+Device\s+\d+)", said, re.MULTILINE))


def holders(said: str) -> tuple[Holder, ...]:
    """Return the programs that hold memory, without their folders."""
    found = []
    for line in said.splitlines():
        program, _, size = line.rpartition(",")
        name = re.split(r"[\\/]", program.strip())[-1]
        if name and size.strip().isdigit():
            found.append(Holder(name, int(size) * MIB))
    return tuple(found)


def _torch() -> dict[str, Any]:
    """What torch says; while a simulated GPU runs, torch speaks of that one and is not asked."""
    simulated = getattr(sys.modules.get("devicelab.devices"), "simulated", lambda: None)()
    if simulated is not None:
        return {"simulated": simulated.name, "torch": _version()}
    if other := _in_the_way():
        return {"torch_error": f"torch shadowed: 'torch' is not a package, but {other}"}
    try:
        import torch
    except Exception as error:
        return {"torch_error": f"{type(error).__name__}: {error}"}
    facts = {
        "torch": str(torch.__version__),
        "torch_place": str(Path(torch.__file__).parent),
        "cuda_build": torch.version.cuda,
        "hip_build": torch.version.hip,
        "initialized": torch.cuda.is_initialized(),
        "mps_built": torch.backends.mps.is_built(),
        "mps_available": torch.backends.mps.is_available(),
    }
    return facts | _cuda(torch)


def _in_the_way() -> str:
    """Return the file that Python takes for torch, where it is none of a package: it may be the learner's, and is not run."""
    found = None if "torch" in sys.modules else find_spec("torch")
    if found is None or found.origin is None or is_torch(Path(found.origin)):
        return ""
    return _from_here(found.origin)


def is_torch(path: Path) -> bool:
    """Say whether a file is PyTorch's own __init__.py: the version and the compiled part lie beside it."""
    return path.stem == "__init__" and path.with_name("version.py").exists()


def _operators(facts: dict[str, Any]) -> dict[str, Any]:
    """Run one operator on each card that torch says it can use."""
    if facts.get("simulated") or not (facts.get("available") or facts.get("mps_available")):
        return {}
    kind, cards = ("cuda", len(facts["gpus"])) if facts.get("available") else ("mps", 1)
    alone = any(gpu.compute_mode == "Exclusive_Process" for gpu in facts.get("smi_gpus", ()))
    if facts.get("initialized") or alone:
        return {"operators": probe.in_this(sys.modules["torch"], kind, cards)}
    return {"operators": probe.in_a_process(cards)}


def _simulation() -> dict[str, Any]:
    """Names that the simulated GPU replaces and this torch lacks: it notes them as it starts; an untried torch is searched."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}

    from devicelab.simgpu import current
    from devicelab.simgpu.machine import patches

    running = current()
    if running is not None:
        return {"simulation_lacks": tuple(running.patches.missing)}
    return {"simulation_lacks": tuple(patches.lacking())} if versions.is_newer(torch.__version__) else {}


def _version() -> str:
    from importlib.metadata import version

    return version("torch")


def _cuda(torch: Any) -> dict[str, Any]:
    """Let torch look for CUDA, and keep what it says."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
        if torch.version.cuda or torch.version.hip:
            try:
                torch.cuda.init()
            except Exception as error:
                said.append(str(error))
        gpus = tuple(_gpu(torch, index) for index in range(torch.cuda.device_count())) if available else ()
    said += [str(warning.message) for warning in caught]
    return {
        "available": available,
        "arch_list": tuple(torch.cuda.get_arch_list()) if available else (),
        "gpus": gpus,
        "cuda_said": " ".join(" ".join(said).split())[:600],
    }


def _gpu(torch: Any, index: int) -> Gpu:
    seen = torch.cuda.get_device_properties(index)
    return Gpu(index, seen.name, (seen.major, seen.minor), seen.total_memory)


def _run(*command: str) -> tuple[int, str]:
    """Run a program and return its exit code and all it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, f"{type(error).__name__}: {error}"
    return done.returncode, done.stdout + done.stderr


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return ""
