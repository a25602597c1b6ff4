"""torch.set_default_device: what was set while simulating must not outlive the simulation."""

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .session import Simulation


def _present() -> Any:
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return context.device if context is not None else None


def install(simulation: "Simulation") -> None:
    """Have the default device restored at the end, if it is a simulated card by then."""
    before = _present()

    def restore() -> None:
        now = _present()
        if now is not None and now.type == "cuda" and now != before:
            torch.set_default_device(before)

    simulation.on_stop(restore)
