"""TorchScript files, which C++ writes and reads: it sees no card, so loading moves, and saving from a card is refused."""

from typing import Any

import torch
from torch.jit import RecursiveScriptModule

from devicelab.errors import SimulationError
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.marks import marks
from devicelab.simgpu.run import move

_original_load = torch.jit.load
_original_save = RecursiveScriptModule.save
_original_save_to_buffer = RecursiveScriptModule.save_to_buffer


def _load(f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Stand for torch.jit.load: read for the CPU, then move to the card that map_location names."""
    card = move.target_of(map_location)[1] if map_location is not None else None
    if card is None:
        return _original_load(f, map_location, *args, **kwargs)
    return _original_load(f, "cpu", *args, **kwargs).to(card.device)


def _refuse_card(module: torch.nn.Module) -> None:
    if any(marks.card_of(tensor) for tensor in (*module.parameters(), *module.buffers())):
        raise SimulationError(
            "The simulated GPU cannot write a TorchScript file of a module on a card: the file would say that it was on"
            " the CPU. Save module.cpu(), or its state_dict with torch.save."
        )


def _save(module: Any, f: Any, **kwargs: Any) -> Any:
    _refuse_card(module)
    return _original_save(module, f, **kwargs)


def _save_to_buffer(module: Any, *args: Any, **kwargs: Any) -> Any:
    _refuse_card(module)
    return _original_save_to_buffer(module, *args, **kwargs)


def install(machine: Machine) -> None:
    """Stand between TorchScript's files and the card until the simulation stops."""
    machine.patches.replace("torch.jit.load", _load)
    machine.patches.replace("torch.jit.RecursiveScriptModule.save", _save)
    machine.patches.replace("torch.jit.RecursiveScriptModule.save_to_buffer", _save_to_buffer)
