"""The sentences of a Load."""

from devicelab import units

from .result import Observed

LOOKS_BACK = 1.0  # seconds, at most, over which NVML's figure reaches (docs/sources.md)
MEANING = (
    'Busy ("utilization") is the share of time in which any kernel ran, however small: one kernel on one multiprocessor of '
    "many reads 100 %."
)
POWER = "Power tells the two apart: a card that is busy but draws little does little."
TWO_CLOCKS = (
    "The card is our drawing of its queue, which nvidia-smi and Task Manager cannot see, in simulated seconds; the CPU's are "
    "real. Plain Python, reading files and other processes take no simulated time: with them a real card is busy less."
)


def sentence(load: Observed) -> str:
    """Return what GPU and CPU did, with the origin of each number."""
    card = [] if load.device == "cpu" else _card(load)
    text = "; ".join([*card, _cpu(load)])
    return f"{text[0].upper()}{text[1:]} {label(load)}"


def label(load: Observed) -> str:
    """Return the origin of GPU's and CPU's numbers in brackets."""
    if load.device == "cpu":
        return "[measured, cpu]"
    where = f"{load.device} ({load.name})"
    return f"[measured, {where}]" if load.origin == "measured" else f"[GPU simulated, {where}; CPU measured]"


def _card(load: Observed) -> list[str]:
    said = []
    if load.gpu is not None:
        said.append(
            f"the GPU was busy {share(load.gpu)} of {units.seconds(load.simulated_seconds or load.seconds)}"
        )
    if load.memory is not None:
        of = f" of {units.size(load.total)}" if load.total else ""
        said.append(f"{units.size(load.memory)}{of} of its memory were taken")
    if load.power is not None:
        said.append(f"it drew {load.power:.0f}{f' of {load.limit:.0f}' if load.limit else ''} W")
    return [", ".join(said)] if said else ["of the GPU nothing could be read"]


def _cpu(load: Observed) -> str:
    process, cores = load.process, load.cores
    if process is None:
        return "of the CPU nothing was seen"
    if not cores:
        return f"this process used {process:.1f} cores"
    return f"this process used {process:.1f} of {len(cores)} cores, all programs {load.cpu * len(cores):.1f}"  # type: ignore[operator]


def share(value: float) -> str:
    """Return a share as per cent: "0 %", "0.32 %", "4.1 %", "87 %"."""
    percent = 100 * value
    if percent == 0 or percent >= 10:
        return f"{percent:.0f} %"
    return f"{percent:.2f} %" if percent < 1 else f"{percent:.1f} %"


def lines(load: Observed) -> list[str]:
    """Return the sentence, what it means and what could not be seen."""
    said = [sentence(load)]
    if load.context:
        said.append(
            f"Creating the CUDA context took {units.seconds(load.context)} of that: memory is taken, nothing is computed."
        )
    if load.gpu is not None:
        said.append(MEANING if load.power is None else f"{MEANING} {POWER}")
    if load.origin == "simulated":
        said.append(TWO_CLOCKS)
    return [*said, *_short(load), *load.notes]


def _short(load: Observed) -> list[str]:
    """Warn of a block that is too short for the samples, or for NVML's own."""
    said = []
    if load.seconds < 2 * load.interval:
        course = "the CPU's share is a coarse one" if load.origin == "simulated" else "this is coarse"
        said.append(
            f"The block took {units.seconds(load.seconds)}, less than two samples of {units.seconds(load.interval)}: {course}."
        )
    if load.origin == "measured" and load.gpu is not None and load.seconds < LOOKS_BACK:
        said.append(
            "The driver's figure looks back over up to 1 s, so it also tells of the time before this block."
        )
    return said
