"""Why is there no GPU here, or why the wrong one? Evidence first, then a judgement, then one command to try."""

from devicelab.errors import path_of

from .diagnoses import diagnose
from .evidence import gather
from .finding import Finding
from .machine import Gpu, Holder, Machine
from .report import Report
from .script import check, read_script

__all__ = ["Finding", "Gpu", "Holder", "Machine", "Report", "doctor"]


def doctor(script: str | None = None) -> Report:
    """Examine this machine and this process: wheel, driver, cards, environment. May start CUDA; changes nothing else.

    In a notebook it speaks about the kernel; `python -m devicelab doctor` speaks about a process of its own. `script` is a
    Python file to be read, not run: does it set CUDA_VISIBLE_DEVICES too late, name a card that is not here, is a file in its
    way?
    """
    path = path_of("script", script) if script is not None else None
    if path:
        check(path)
    machine = gather()
    found = read_script(path, machine) if path else []
    return Report(machine, (*found, *diagnose(machine)))
