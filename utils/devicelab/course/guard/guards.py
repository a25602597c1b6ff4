"""What stands around a judge: a GPU to judge on, clean modes for the learner's code, and everything put back afterwards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from devicelab import devices
from devicelab.simgpu import simulate_gpu
from devicelab.simgpu.session import Simulation, current
from devicelab.source import line_at

from . import modes
from .snapshot import Snapshot

CARD = "Tesla T4"
_VARIABLES = ("CUDA_VISIBLE_DEVICES", "DEVICELAB_GPU")
_GUARDED: tuple[Any, ...] = (torch, torch.cuda, torch.accelerator, torch.Tensor, torch.nn.Module)
_BACK = "The check needs the device as it is, so it was put back. Leave it alone, and move what has to move."
_OWN = ("torch", "devicelab")  # modules whose functions may stand in torch's place: the simulation's do


class SwitchedOff(Exception):
    """The learner's code replaced or switched off what decides on devices; the message says what."""


@contextmanager
def on_a_gpu(notes: list[str]) -> Iterator[None]:
    """Run the block with a CUDA GPU: the present one, else one simulated for the block alone, which `notes` then says."""
    tampered = _put_back_earlier()
    if tampered:
        raise SwitchedOff(tampered)
    if devices.present().type == "cuda":
        yield
        return
    notes.append(f"(Checked on a {CARD} that was simulated for this check alone.)")
    with simulate_gpu(CARD):
        yield


@contextmanager
def unchanged(*objects: object) -> Iterator[None]:
    """Run the block with default modes and a fixed seed, then restore seeds, modes, variables and the learner's objects.

    Raise SwitchedOff when the block replaced a function of torch, stopped the simulation or hid the card.
    """
    simulation = current()
    functions, variables = _functions(), dict(os.environ)
    restores = [*modes.restores()]
    before = Snapshot(objects)
    modes.clean()
    try:
        yield
    except Exception as error:
        tampered = _put_back(simulation, functions, variables)
        if tampered:
            raise SwitchedOff(tampered) from error
        raise
    else:
        tampered = _put_back(simulation, functions, variables)
        if tampered:
            raise SwitchedOff(tampered)
    finally:
        _put_back(simulation, functions, variables)  # after an interrupt; else there is nothing left to do
        before.restore()
        for restore in restores:
            restore()


def _put_back_earlier() -> str:
    """Put back what an earlier cell replaced; return one sentence about it."""
    foreign = {
        key: value for key, value in _functions().items() if getattr(value, "__module__", "") == "__main__"
    }
    if not foreign:
        return ""
    simulation = current()
    if simulation is not None:
        simulation.stop()  # this alone puts back what the simulation had in that place
    for (number, name), value in foreign.items():
        if vars(_GUARDED[number]).get(name) is value:
            setattr(_GUARDED[number], name, _AT_IMPORT[number, name])
    if simulation is not None:
        simulation.start()
    (number, name), value = next(iter(foreign.items()))
    return f"{_name(_GUARDED[number])}.{name} had been replaced{_where(value)}. {_BACK}"


def _where(function: Any) -> str:
    code = getattr(function, "__code__", None)
    return f" at {line_at(code.co_filename, code.co_firstlineno)}" if code else ""


def _functions() -> dict[tuple[int, str], Any]:
    return {
        (number, name): value
        for number, owner in enumerate(_GUARDED)
        for name, value in list(vars(owner).items())
        if callable(value)
    }


def _put_back(
    simulation: Simulation | None, functions: dict[tuple[int, str], Any], variables: dict[str, str]
) -> str:
    """Put back functions, variables and the simulation; return what had been changed, in one sentence."""
    found = [*_stopped(simulation), *_replaced(functions), *_hidden(variables)]
    if not found:
        return ""
    return f"{found[0]} {_BACK}"


def _stopped(simulation: Simulation | None) -> Iterator[str]:
    if current() is simulation:
        return
    while current() is not None and current() is not simulation:
        current().stop()  # type: ignore[union-attr]
    if simulation is not None and current() is not simulation:
        simulation.start()
    yield "Your code started or stopped a simulated GPU."


def _replaced(functions: dict[tuple[int, str], Any]) -> Iterator[str]:
    for (number, name), value in functions.items():
        owner = _GUARDED[number]
        now = vars(owner).get(name)
        if now is value:
            continue
        if (getattr(now, "__module__", "") or "torch").startswith(_OWN):  # a simulation that rested came back
            continue
        setattr(owner, name, value)
        yield f"Your code replaced {_name(owner)}.{name}{_where(now)}."


def _name(owner: Any) -> str:
    return {torch.Tensor: "torch.Tensor", torch.nn.Module: "torch.nn.Module"}.get(owner) or owner.__name__


def _hidden(variables: dict[str, str]) -> Iterator[str]:
    changed = [name for name in _VARIABLES if os.environ.get(name) != variables.get(name)]
    if dict(os.environ) != variables:
        os.environ.clear()
        os.environ.update(variables)
    for name in changed:
        yield f"Your code set {name}."


_AT_IMPORT = _functions()
