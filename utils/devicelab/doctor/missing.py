"""Why torch can use no GPU: the first reason that fits the evidence is the cause."""

from collections.abc import Callable

from .finding import (
    OLDEST_WHEEL,
    WITH_CARD,
    Finding,
    driver_update,
    install,
    kepler_wheel,
    names,
    newest_card,
    nvidia_evidence,
    older_wheel,
    on_host,
    reinstall,
    unset,
)
from .known import command, known
from .machine import Machine

OLDEST_MACOS = 14  # of today's torch; it says "The MPS backend is supported on MacOS 14.0+"


def _rosetta(m: Machine) -> Finding | None:
    if m.system != "Darwin" or not m.translated:
        return None
    sentence = (
        "This Python was made for Intel Macs and is translated by Rosetta; it cannot see the Apple GPU."
    )
    evidence = (f"platform.machine() is {m.chip}, sysctl.proc_translated is 1",)
    return Finding("rosetta", sentence, evidence, "conda create -n torch --platform osx-arm64 python=3.12")


def _intel_mac(m: Machine) -> Finding | None:
    if m.system != "Darwin" or m.chip != "x86_64":
        return None
    sentence = "This is an Intel Mac: PyTorch's current releases have no GPU support for it."
    return Finding(
        "intel mac",
        sentence,
        (f"macOS {m.release} on {m.chip}",),
        "python -m devicelab compare --gpu 'Tesla T4'",
    )


def _old_macos(m: Machine) -> Finding | None:
    major = m.release.partition(".")[0]
    if m.system != "Darwin" or not m.mps_built or not major.isdigit() or int(major) >= OLDEST_MACOS:
        return None
    sentence = f"macOS {m.release} is too old for this torch: mps needs macOS {OLDEST_MACOS} or newer."
    evidence = ("torch.backends.mps.is_built() is True, is_available() is False",)
    return Finding("old macos", sentence, evidence, "softwareupdate --list")


def _mps_not_built(m: Machine) -> Finding | None:
    if m.system != "Darwin" or m.mps_built:
        return None
    sentence = "This torch was built without mps, the Apple GPU."
    evidence = (f"torch {m.torch}", "torch.backends.mps.is_built() is False")
    return Finding("mps not built", sentence, evidence, reinstall(m))


def _jetson(m: Machine) -> Finding | None:
    if m.host != "Jetson" or m.cuda_build:
        return None
    sentence = (
        "This is a Jetson, and this torch is not one that was built for its JetPack: it runs on the CPU only."
    )
    evidence = (f"torch {m.torch}, torch.version.cuda is None", f"{m.release} on {m.chip}")
    return Finding("jetson wheel", sentence, evidence, command("jetson wheel", m))


def _no_gpu_runtime(m: Machine) -> Finding | None:
    if m.host not in ("Colab", "Kaggle") or m.has_nvidia:
        return None
    sentence = f"This {m.host} session has no GPU: it was started on a machine without one."
    todo = {"Colab": command("no driver", m), "Kaggle": "Settings > Accelerator > GPU"}
    return Finding("no gpu runtime", sentence, ("no sign of an NVIDIA driver",), todo[m.host])


def _cpu_wheel(m: Machine) -> Finding | None:
    if m.cuda_build or m.hip_build or not m.has_nvidia or m.system == "Darwin":
        return None
    sentence = "There is an NVIDIA card or driver here, but this torch was built for the CPU only."
    evidence = (f"torch {m.torch}, torch.version.cuda is None", nvidia_evidence(m))
    return Finding("cpu wheel", sentence, evidence, reinstall(m))


def _hidden(m: Machine) -> Finding | None:
    if m.visible is None or not (m.cuda_build or m.hip_build):
        return None
    first = m.visible.partition(",")[0].strip()
    known = {gpu.index for gpu in m.smi_gpus}
    absent = bool(known) and first.isdigit() and int(first) not in known
    finds_none = any(words in m.cuda_said for words in NO_CARD_SEEN)
    unread = _unread(first) if finds_none and not first.isdigit() else ""
    if not hides_all(m.visible) and not absent and not unread:
        return None
    sentence = f"CUDA_VISIBLE_DEVICES is {m.visible!r}, which hides every card from this process."
    evidence = (f"nvidia-smi sees {len(m.smi_gpus)}: {names(m.smi_gpus)}",) if m.smi_gpus else ()
    said = (f"CUDA_VISIBLE_DEVICES={m.visible}", *([unread] if unread and not hides_all(m.visible) else []))
    todo = "srun --gres=gpu:1 --pty bash    # Slurm gave this job no card" if m.host == "Slurm" else unset(m)
    if first.startswith(_UUIDS):
        todo = f"nvidia-smi -L    # the UUIDs that there are; or {todo}"
    return Finding("hidden", sentence, (*said, *evidence), todo)


NO_CARD_SEEN = ("No CUDA GPUs are available", "no CUDA-capable device")
_UUIDS = ("GPU-", "MIG-")


def _unread(first: str) -> str:
    """Return why CUDA finds no card by the first word of the variable; what stands behind it then counts no more."""
    if first.startswith(_UUIDS):
        return f"no card or part of one has a UUID that begins with {first}, or this process may not use it"
    return f"{first!r} is neither a number nor a UUID (GPU-..., MIG-...)"


def hides_all(visible: str | None) -> bool:
    """Say whether a value of CUDA_VISIBLE_DEVICES lets a process see no card, whatever cards there are."""
    if visible is None:
        return False
    first = visible.partition(",")[0].strip().lower()
    return first in ("", "-1", "none", "nodevfiles")


def _undivided(m: Machine) -> Finding | None:
    """A card in MIG mode that nobody has divided yet is no card to CUDA."""
    if not m.mig_mode or m.mig:
        return None
    sentence = "The card is in MIG mode, and no part of it was made: CUDA sees none."
    evidence = ("nvidia-smi: mig.mode.current is Enabled", "nvidia-smi -L lists no MIG device")
    return Finding("mig", sentence, evidence, on_host(m, "sudo nvidia-smi mig -cgi 0 -C"))


def _old_driver(m: Machine) -> Finding | None:
    if (
        "driver on your system is too old" not in m.cuda_said
        and "driver version is insufficient" not in m.cuda_said
    ):
        return None
    sentence = f"The NVIDIA driver is too old for this torch, which was built for CUDA {m.cuda_build}."
    evidence = (f"torch said: {m.cuda_said[:160]}", f"driver {m.driver or 'of unknown version'}")
    card = newest_card(m)
    todo = kepler_wheel(m, card) if 0 < card < OLDEST_WHEEL else older_wheel(m) or driver_update(m)
    return Finding("old driver", sentence, evidence, todo)


def _wsl(m: Machine) -> Finding | None:
    if not m.wsl or "/dev/dxg" in m.device_nodes:
        return None
    sentence = "This is WSL, and it has no GPU: the NVIDIA driver belongs into Windows, and WSL must be a recent WSL 2."
    return Finding("wsl", sentence, ("/dev/dxg does not exist", nvidia_evidence(m)), "wsl.exe --update")


def _wsl_driver(m: Machine) -> Finding | None:
    if not m.wsl or m.driver_trace or m.smi_gpus:
        return None
    sentence = (
        "This is WSL, and Windows gives it no NVIDIA driver: it is installed in Windows, never inside WSL."
    )
    evidence = ("/dev/dxg exists", "/usr/lib/wsl/lib/libcuda.so.1 does not")
    return Finding("wsl driver", sentence, evidence, "powershell.exe -Command nvidia-smi")


def _rocm(m: Machine) -> Finding | None:
    if not m.hip_build:
        return None
    sentence = "This torch was built for ROCm, AMD's CUDA, and finds no AMD card that it can use."
    kernel = "/dev/kfd exists" if "/dev/kfd" in m.device_nodes else "/dev/kfd, ROCm's device, does not exist"
    evidence = (
        f"torch {m.torch}",
        kernel,
        f"torch said: {m.cuda_said[:120]}" if m.cuda_said else "torch said nothing",
    )
    return Finding("rocm", sentence, evidence, "rocminfo")


def _container(m: Machine) -> Finding | None:
    if not m.container or m.smi_gpus or m.device_nodes:
        return None
    sentence = "This is a container that was started without the GPU, or on a machine that has none."
    evidence = (f"container: {m.container}", "no /dev/nvidia* inside")
    return Finding("container", sentence, evidence, WITH_CARD.get(m.container, WITH_CARD["docker"]))


def _mismatched_driver(m: Machine) -> Finding | None:
    if "Driver/library version mismatch" not in m.smi_error:
        return None
    sentence = (
        "The NVIDIA driver was updated, but the old one is still loaded: the machine must be restarted."
    )
    return Finding(
        "driver mismatch", sentence, (f"nvidia-smi said: {m.smi_error[:160]}",), on_host(m, "sudo reboot")
    )


def _dead_driver(m: Machine) -> Finding | None:
    if "couldn't communicate with the NVIDIA driver" not in m.smi_error:
        return None
    sentence = "The NVIDIA driver is installed, but its kernel module is not loaded."
    todo = on_host(m, "sudo modprobe nvidia")
    return Finding("driver not loaded", sentence, (f"nvidia-smi said: {m.smi_error[:160]}",), todo)


def _closed(m: Machine) -> Finding | None:
    closed = [gpu for gpu in m.smi_gpus if gpu.compute_mode in ("Prohibited", "Exclusive_Process")]
    if "busy or unavailable" not in m.cuda_said and not (closed and closed[0].compute_mode == "Prohibited"):
        return None
    sentence = "The card is closed to this process: another process holds it alone, or its compute mode forbids computing."
    evidence = [f"torch said: {m.cuda_said[:120]}"] if m.cuda_said else []
    evidence += [f"{gpu}: compute mode {gpu.compute_mode}" for gpu in closed]
    return Finding("closed", sentence, tuple(evidence), "nvidia-smi -q -d COMPUTE")


def _fabric(m: Machine) -> Finding | None:
    if "system not yet initialized" not in m.cuda_said:
        return None
    sentence = "The cards of this server wait for NVIDIA's fabric manager, which does not run."
    said = (f"torch said: {m.cuda_said[:200]}",)
    return Finding("fabric manager", sentence, said, command("fabric manager", m))


def _smi_says(m: Machine) -> Finding | None:
    """What nvidia-smi says is nearer to the cause than torch's "no GPU"."""
    return known(m.smi_error, m, nvidia_evidence(m)) if m.smi_error else None


def _unknown_error(m: Machine) -> Finding | None:
    if "CUDA unknown error" not in m.cuda_said:
        return None
    sentence = "The driver answers, but CUDA cannot start: often so after the machine slept."
    said = (f"torch said: {m.cuda_said[:160]}",)
    return Finding("cuda unknown error", sentence, said, command("cuda unknown error", m))


def _no_driver(m: Machine) -> Finding | None:
    if "NVIDIA" not in m.pci or m.smi_gpus or m.driver_trace:
        return None
    sentence = "There is an NVIDIA card on the bus, but no NVIDIA driver."
    evidence = (
        "graphics cards on the bus: " + ", ".join(m.pci),
        "neither /proc/driver/nvidia nor nvidia-smi exists",
    )
    return Finding("no driver", sentence, evidence, driver_update(m))


def _other_vendor(m: Machine) -> Finding | None:
    vendors = [vendor for vendor in m.pci if vendor in ("AMD", "Intel")]
    if m.has_nvidia or m.hip_build or not vendors or m.container:
        return None
    vendor = vendors[0]
    folder = "rocm6.4" if vendor == "AMD" else "xpu"
    sentence = f"The only graphics card here is one of {vendor}; torch needs another wheel for it, if the model is supported."
    evidence = ("graphics cards on the bus: " + ", ".join(m.pci), f"torch {m.torch}")
    return Finding("other vendor", sentence, evidence, install(m, folder))


def _no_card(m: Machine) -> Finding | None:
    if m.has_nvidia or m.system == "Darwin":
        return None
    sentence = "No NVIDIA card was found on this machine."
    evidence = ["neither a driver nor nvidia-smi nor a device file"]
    evidence += [f"graphics cards on the bus: {', '.join(m.pci) or 'none'}"] if m.system == "Linux" else []
    evidence += [f"torch said: {m.cuda_said[:120]}"] if m.cuda_said else []
    return Finding("no card", sentence, tuple(evidence), "python -m devicelab compare --gpu 'Tesla T4'")


MISSING: tuple[Callable[[Machine], Finding | None], ...] = (
    _rosetta,
    _intel_mac,
    _mps_not_built,
    _old_macos,
    _no_gpu_runtime,
    _jetson,
    _wsl,
    _wsl_driver,
    _mismatched_driver,
    _container,
    _no_driver,
    _cpu_wheel,
    _hidden,
    _undivided,
    _rocm,
    _dead_driver,
    _old_driver,
    _closed,
    _fabric,
    _smi_says,
    _unknown_error,
    _other_vendor,
    _no_card,
)
