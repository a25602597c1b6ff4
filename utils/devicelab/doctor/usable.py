"""A GPU can be used here: what may still be wrong with it."""

from collections.abc import Callable

from devicelab import units

from .finding import (
    OLDEST_WHEEL,
    Finding,
    arch_number,
    install,
    kepler_wheel,
    names,
    number,
    reinstall,
    set_variable,
    unset,
    with_variable,
)
from .known import command, known
from .machine import Gpu, Machine
from .probe import RAN

CROWDED = 0.5  # of a card's memory in use by others


def _architecture(m: Machine) -> Finding | None:
    """Kernels run on cards of the same major capability, or by PTX on newer ones."""
    built = [arch for arch in m.arch_list if arch.startswith("sm_")]
    wrong = [gpu for gpu in m.gpus if gpu.capability and built and not _runs_on(gpu, m.arch_list)]
    if not wrong or m.hip_build:
        return None
    gpu = wrong[0]
    newer = number(gpu) > max(arch_number(arch) for arch in built)
    age = "newer" if newer else "older"
    sentence = (
        f"{gpu.name} is {age} than this wheel: no kernel can run there, although is_available() is True."
    )
    evidence = (f"the card is sm_{number(gpu)}", f"the wheel has {' '.join(m.arch_list)}")
    return Finding("architecture", sentence, evidence, _wheel_for(gpu, newer, m))


def _wheel_for(gpu: Gpu, newer: bool, m: Machine) -> str:
    if m.host == "Jetson":
        return command("jetson wheel", m)
    if newer:
        return reinstall(m)
    return install(m, "cu126") if number(gpu) >= OLDEST_WHEEL else kepler_wheel(m, number(gpu))


def _operator(m: Machine) -> Finding | None:
    """One operator on each card is the proof; is_available() is none."""
    failed = [(gpu, said) for gpu, said in enumerate(m.operators) if said != RAN]
    if failed:
        number_, said = failed[0]
        card = str(m.gpus[number_]) if number_ < len(m.gpus) else "the GPU"
        found = known(said, m, f"one operator on {card}")
        sentence = f"torch sees {card}, but one operator that was run there failed."
        return found or Finding("operator failed", sentence, (f"it said: {said}",), _try_it(m))
    if m.operators:
        return None
    sentence = "torch says that it can use a GPU, but no operator was run to prove it."
    return Finding("untried", sentence, ("is_available() is True",), _try_it(m), blocking=False)


def _try_it(m: Machine) -> str:
    kind = "cuda" if m.available else "mps"
    return f"{m.executable} -c \"import torch; print(torch.ones(2, device='{kind}') + 1)\""


def _too_late(m: Machine) -> Finding | None:
    if m.visible is None or m.visible == m.visible_at_start:
        return None
    wanted = [word for word in m.visible.split(",") if word.strip() and word.strip() != "-1"]
    if len(m.gpus) <= len(wanted):
        return None
    sentence = "CUDA_VISIBLE_DEVICES was set inside this process, after CUDA had started: it changes nothing any more."
    evidence = (
        f"it was {m.visible_at_start!r} at the start and is {m.visible!r} now",
        f"torch still sees {len(m.gpus)}: {names(m.gpus)}",
    )
    return Finding(
        "set too late",
        sentence,
        evidence,
        with_variable(m, "CUDA_VISIBLE_DEVICES", m.visible, "python train.py"),
        blocking=False,
    )


def _numbering(m: Machine) -> Finding | None:
    seen, listed = [gpu.name for gpu in m.gpus], [gpu.name for gpu in m.smi_gpus]
    if (
        m.visible is not None
        or m.device_order == "PCI_BUS_ID"
        or sorted(seen) != sorted(listed)
        or seen == listed
    ):
        return None
    sentence = "torch and nvidia-smi count the cards differently: cuda:0 is not nvidia-smi's card 0."
    evidence = (f"torch: {names(m.gpus)}", f"nvidia-smi: {names(m.smi_gpus)}")
    return Finding(
        "numbering", sentence, evidence, set_variable(m, "CUDA_DEVICE_ORDER", "PCI_BUS_ID"), blocking=False
    )


def _some_hidden(m: Machine) -> Finding | None:
    if m.visible is None or not m.gpus or len(m.gpus) >= len(m.smi_gpus) or _too_late(m):
        return None
    count = f"{len(m.gpus)} of {len(m.smi_gpus)}"
    sentence = f"torch sees {count} cards: CUDA_VISIBLE_DEVICES lets no other through, and cuda:0 is the first of them."
    evidence = (f"CUDA_VISIBLE_DEVICES={m.visible}", f"nvidia-smi sees {names(m.smi_gpus)}")
    return Finding("some hidden", sentence, evidence, unset(m), blocking=False)


def _divided(m: Machine) -> Finding | None:
    """CUDA gives a process one part of a divided card, however many there are (NVIDIA's MIG user guide)."""
    if len(m.mig) < 2 or len(m.gpus) >= len(m.mig):
        return None
    sentence = f"The card is divided (MIG): a process can use one part at a time, and there are {len(m.mig)}."
    evidence = (f"nvidia-smi -L: {'; '.join(m.mig)}", f"torch sees {names(m.gpus)}")
    todo = with_variable(m, "CUDA_VISIBLE_DEVICES", "MIG-...", "python train.py")
    return Finding(
        "mig", sentence, evidence, f"{todo}    # the UUID of a part, from nvidia-smi -L", blocking=False
    )


def _crowded(m: Machine) -> Finding | None:
    full = [gpu for gpu in m.smi_gpus if gpu.total and gpu.used / gpu.total > CROWDED]
    if not full:
        return None
    gpu = full[0]
    used, total = units.size(gpu.used), units.size(gpu.total)
    sentence = (
        f"Other processes hold {used} of the {total} of {gpu.name}: a CUDA out of memory error is near."
    )
    held = [f"{holder.program} holds {units.size(holder.bytes)}" for holder in m.holders[:4]]
    evidence = (f"nvidia-smi: card {gpu.index}, {used} in use", *(held or ["nvidia-smi names no process"]))
    return Finding("memory taken", sentence, evidence, "nvidia-smi", blocking=False)


# Boards whose code no card shares: "Binary compatibility is supported only for the desktop. It is not supported for Tegra."
# (CUDA C++ programming guide, "Binary Compatibility")
TEGRA = (53, 62, 72, 87, 101)


def _runs_on(gpu: Gpu, arch_list: tuple[str, ...]) -> bool:
    card = number(gpu)
    for arch in arch_list:
        built = arch_number(arch)
        same = built == card if card in TEGRA else built // 10 == card // 10 and built <= card
        if arch.startswith("sm_") and same:
            return True
        if arch.startswith("compute_") and built <= card:
            return True
    return False


USABLE: tuple[Callable[[Machine], Finding | None], ...] = (
    _architecture,
    _operator,
    _too_late,
    _some_hidden,
    _numbering,
    _divided,
    _crowded,
)
