"""What the evidence means. Each finding names its evidence and one command to try; where none fits, that is said."""

from dataclasses import replace

from .finding import Finding, nvidia_evidence, reinstall, unset
from .known import known
from .machine import Machine
from .missing import MISSING, hides_all
from .usable import USABLE


def diagnose(m: Machine) -> list[Finding]:
    """Return what stands in the way of a GPU, the cause first; empty where nothing does."""
    for early in (_simulated, _no_torch):
        if finding := early(m):
            return [finding]
    if m.usable:
        return [finding for check in USABLE if (finding := check(m))]
    found = next((finding for check in MISSING if (finding := check(m))), None)
    return [_and_hidden(_and_the_wheel(found, m) if found else _unknown(m), m)]


def _and_the_wheel(finding: Finding, m: Machine) -> Finding:
    """Add that a card alone would not be enough, where the wheel is the CPU's."""
    if m.cuda_build or m.hip_build or finding.kind not in ("container", "wsl", "no driver", "no card"):
        return finding
    more = f"torch {m.torch} was built for the CPU only: a card alone would not be enough"
    return replace(finding, evidence=(*finding.evidence, more))


def _and_hidden(finding: Finding, m: Machine) -> Finding:
    """Add that a card would be hidden as well, where another reason comes first."""
    if finding.kind == "hidden" or not hides_all(m.visible):
        return finding
    more = f"CUDA_VISIBLE_DEVICES is {m.visible!r}: it hides every card, also one that is there: {unset(m)}"
    return replace(finding, evidence=(*finding.evidence, more))


def _simulated(m: Machine) -> Finding | None:
    if not m.simulated:
        return None
    sentence = (
        "A simulated GPU runs in this process, and torch speaks of that one: ask in a process of its own."
    )
    return Finding(
        "simulated", sentence, (f"simulated: {m.simulated}",), "python -m devicelab doctor", blocking=False
    )


def _no_torch(m: Machine) -> Finding | None:
    if m.torch is not None:
        return None
    said = m.torch_error or "no module named torch"
    if "No module named 'torch'" in said:
        return Finding(
            "no torch",
            "torch is not installed in this Python.",
            (said, f"python: {m.executable}"),
            f"{m.executable} -m pip install torch",
        )
    sentence, found = "torch is installed here, but it cannot be loaded.", known(said, m)
    if found is None:
        return Finding("broken torch", sentence, (said,), reinstall(m))
    return replace(found, kind="broken torch", sentence=f"{sentence} {found.sentence}")


def _unknown(m: Machine) -> Finding:
    if found := known(m.cuda_said, m, nvidia_evidence(m)):
        return found
    sentence = "torch finds no GPU, and none of the reasons that devicelab knows fits. The facts below are for your question."
    said = f"torch said: {m.cuda_said}" if m.cuda_said else "torch said nothing"
    target = "mps" if m.system == "Darwin" else "cuda"
    command = f"{m.executable} -c \"import torch; torch.zeros(1, device='{target}')\""
    return Finding("unknown", sentence, (said, nvidia_evidence(m)), command)
