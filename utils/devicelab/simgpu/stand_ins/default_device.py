"""torch.set_default_device and `with torch.device(...)`: what they say now, and that it does not outlive the simulation."""

from typing import Any

import torch
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from devicelab.simgpu.machine.machine import Machine


def _present() -> Any:
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return context.device if context is not None else None


def in_force() -> torch.device | None:
    """Return the device that torch's constructors follow here and now, or None where none was set."""
    modes = _get_current_function_mode_stack() if torch._C._len_torch_function_stack() else []
    return next((mode.device for mode in reversed(modes) if isinstance(mode, DeviceContext)), None)


def install(machine: Machine) -> None:
    """Have the default device restored at the end, if it is a simulated card by then."""
    before, was_set = _present(), hasattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context")

    def restore() -> None:
        now = _present()
        if now is not None and now.type == "cuda" and now != before:
            torch.set_default_device(before)
            if (
                not was_set
            ):  # the None that is left is asked for its device by get_default_device before PyTorch 2.10
                del torch._GLOBAL_DEVICE_CONTEXT.device_context

    machine.on_stop(restore)
