"""Compiled functions, which run as they are written: said once, or refused where that was asked for."""

import sys
import warnings
from types import FrameType

from devicelab import compiled
from devicelab.errors import SimulationError
from devicelab.simgpu.machine.machine import Machine
from devicelab.source import LIBRARY, USER, whose

from . import later

REFUSED = (
    "torch.compile is not simulated: it would compile for this machine's CPU, past the simulated card. Run the model "
    'without it, or let it run as it is written: simulate_gpu(..., compiled="run").'
)
SAID = (
    "torch.compile is left out on the simulated GPU: compiled functions run as they are written, operator by operator. Values "
    "are those without compilation; a real card runs fewer and larger kernels, so it would be faster than what is simulated. "
    'simulate_gpu(..., compiled="refuse") refuses them instead.'
)


def install(machine: Machine) -> None:
    """Hold compilation off until the simulation stops."""
    machine.patches.has("torch._ops.HigherOrderOperator.dispatch")
    said: list[bool] = []

    def met(frame: FrameType) -> None:
        if machine.compiled == "refuse":
            raise SimulationError(REFUSED)
        if not said:
            said.append(True)
            warn_at(frame, SAID)

    def loaded() -> None:
        for name in ("_callback_from_stance", "set_fullgraph_compiled_frame_count"):
            machine.patches.has(f"torch._dynamo.eval_frame.{name}")
        compiled.renew()

    machine.patches.later(later.COMPILER, loaded)
    hold = compiled.Hold(met=met)
    machine.on_stop(lambda: compiled.release(hold))
    machine.on_stop(_forget_stand_ins)
    compiled.hold(hold)


def _forget_stand_ins() -> None:
    """Have the compiler collect torch's functions anew, which it keeps by what they are: they may have had stand-ins then."""
    rules = sys.modules.get("torch._dynamo.trace_rules")
    if rules:
        rules.clear_lru_cache()


def warn_at(frame: FrameType, text: str) -> None:
    """Warn in the line of the program's own code that led to the frame, else in a library's, else in the frame's own."""
    outward = [frame]
    while outward[-1].f_back is not None:
        outward.append(outward[-1].f_back)
    owners = [whose(one.f_code.co_filename) for one in outward]
    at = outward[next((owners.index(owner) for owner in (USER, LIBRARY) if owner in owners), 0)]
    registry = at.f_globals.setdefault("__warningregistry__", {})
    module = at.f_globals.get("__name__", "__main__")
    warnings.warn_explicit(text, UserWarning, at.f_code.co_filename, at.f_lineno, module, registry)
