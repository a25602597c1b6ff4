"""The errors of the environment: wheels, drivers, cards and words; nothing is wrong with where a tensor is."""

import platform
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from devicelab import machine

from . import catalogue
from .device_names import meant_by, mended
from .frames import Frame
from .reading import Reading
from .told import AnyFrame

PORTABLE = 'device = torch.device("cuda" if torch.cuda.is_available() else "cpu")'
PORTABLE_MAC = 'device = torch.device("mps" if torch.backends.mps.is_available() else "cpu")'
A_CARD = "The card that was asked for"
DOCTOR = "python -m devicelab doctor"
ERROR_AT_FALLBACK = 'warnings.filterwarnings("error", message=".*fall back to run on the CPU")'


# What puts a tensor on a device, in a line that had better leave it on the CPU.
_ON_A_DEVICE = re.compile(r"\.(?:to|cuda)\([^()]*\)|, ?device=(?:[\w.]+|\"[^\"]*\"|'[^']*')(?=[,)])")


@dataclass(frozen=True)
class Answer:
    """What happened, who is to blame, why, and one thing to type, at a place."""

    what: str
    culprit: str | None
    why: str
    fix: str
    at: str = ""


Answering = Callable[
    [Reading, str, list[AnyFrame]], Answer
]  # the learner's word for the tensor; their frames, innermost first

# Families of which an entry of the catalogue says all; and who is to blame.
FIXED = {
    "no driver": "the NVIDIA driver",
    "no kernel image": "the installed torch",
    "busy": "the GPU",
    "no device": "CUDA_VISIBLE_DEVICES",
    "mps float64": "a float64 tensor",
    "no mps": "mps",
}


def fixed(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    """Return the catalogue's answer, which is the same wherever the error comes from."""
    found = catalogue.entry(reading.family)
    return Answer(found.means, FIXED[reading.family], found.why, found.do["any"])


def _cpu_build(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    what = "This torch was built without CUDA: it runs on the CPU only."
    if not (own and isinstance(own[0], Frame)):  # a text, perhaps of another machine
        why = "the installed wheel is the one for the CPU; the doctor says whether there is a card for another one"
        return Answer(what, "the installed torch", why, DOCTOR)
    culprit = f"torch {torch.__version__}"
    driver = machine.nvidia_driver()
    if driver:
        why = f"there is an NVIDIA driver here ({driver}), but the installed wheel cannot use it"
        return Answer(what, culprit, why, machine.reinstall())
    if platform.system() == "Darwin":
        return Answer(what, culprit, "a Mac has no CUDA; its own GPU is called mps", PORTABLE_MAC)
    why = "no NVIDIA driver was found on this machine either; a script that asks first runs everywhere"
    return Answer(what, culprit, why, PORTABLE)


def _old_driver(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    version = int(reading.argument) if reading.argument else 0
    knows = f" (it knows CUDA up to {version // 1000}.{version % 1000 // 10})" if version else ""
    why = f"this torch was built for a newer CUDA than the driver knows{knows}; update the driver, or take an older CUDA's torch"
    return Answer("The NVIDIA driver is too old for this torch.", "the NVIDIA driver", why, DOCTOR)


def _fork(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    what = "A forked process tried to use the GPU that its parent had already started."
    why = "a forked process inherits CUDA's state and cannot use it"
    in_worker = any(frame.function in ("__getitem__", "__iter__", "collate_fn") for frame in own)
    if in_worker or "DataLoader worker" in reading.message:
        why += "; a data set serves CPU tensors, and the training loop moves each batch"
        culprit, line = "a tensor made on the GPU inside a worker", own[0].line if own else None
        code = own[0].code if own else ""
        stays = _ON_A_DEVICE.sub("", code)
        if stays != code:
            return Answer(
                what, culprit, why, stays, f"in place of line {line}; move each batch in the training loop"
            )
        return Answer(
            what,
            culprit,
            f"{why}; without workers it runs as it is, sample by sample",
            "DataLoader(..., num_workers=0)",
        )
    return Answer(what, "the forked process", why, 'torch.multiprocessing.set_start_method("spawn")')


def _ordinal(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    code = own[0].code if own else ""
    asked = re.search(r"(?:cuda:|\.cuda\(|device=|set_device\(|device\()\s*(\d+)", code)
    name = f"cuda:{asked[1]}" if asked else A_CARD
    why = "cards are counted from 0, and only those that CUDA_VISIBLE_DEVICES lets through count"
    what = f"{name} does not exist on this machine."
    fix = re.sub(rf"cuda:{asked[1]}\b", "cuda:0", code) if asked else code
    if fix != code:
        return Answer(what, name, why, fix)
    return Answer(
        what, name, why, "print(torch.cuda.device_count())", "above the line: numbers go from 0 to one less"
    )


def fewer_processes(answer: Answer) -> Answer:
    """Return the answer to a card that does not exist in a process that `mp.spawn` started."""
    why = f"{answer.why}; each process asked for the card of its own number, and there are more processes than cards"
    return replace(answer, why=why, fix="nprocs=torch.cuda.device_count()", at="in the call of spawn")


def _device_string(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    given, code = reading.argument or "", own[0].code if own else ""
    meant, why = meant_by(given)
    fix = mended(code, given, meant)
    return Answer(f"{given!r} is not the name of a device.", given or "an empty text", why, fix)


def _mps_operator(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    why = (
        "with this variable set before Python starts, the missing operators run on the CPU: slowly, and with one warning "
        "for all of them"
    )
    what = f"mps does not have the operator {reading.operator} yet."
    return Answer(what, reading.operator, why, "export PYTORCH_ENABLE_MPS_FALLBACK=1")


def _mps_fallback(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    what = f"The operator {reading.operator} runs on the CPU: mps does not have it."
    why = (
        "each call copies its tensors to the CPU and the result back, and the warning comes only once; use another operator, or "
        "move that part to the CPU on purpose; the fix makes the warning an error, which shows the line"
    )
    return Answer(what, reading.operator, why, ERROR_AT_FALLBACK)


def _operator(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    device = (reading.argument_device or "cuda").upper()
    why = "it comes from a wheel without GPU code, most often a CPU-only torchvision or torchaudio beside a CUDA torch"
    return Answer(
        f"The operator {reading.operator} has no {device} version here.", reading.operator, why, DOCTOR
    )


ANSWERS: dict[str, Answering] = {
    **dict.fromkeys(FIXED, fixed),
    "cpu build": _cpu_build,
    "old driver": _old_driver,
    "fork": _fork,
    "ordinal": _ordinal,
    "device string": _device_string,
    "mps operator": _mps_operator,
    "mps fallback": _mps_fallback,
    "operator": _operator,
}
