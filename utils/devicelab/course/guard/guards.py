"""What stands around a judge: a GPU to judge on, clean modes for the learner's code, and everything put back afterwards."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from devicelab import devices
from devicelab.simgpu import simulate_gpu
from devicelab.simgpu.session import Simulation, current
from devicelab.trace.lines import line_at

from .snapshot import Snapshot

CARD = "Tesla T4"
SEED = 0  # each check draws the same numbers, so that its words are the same each time
_VARIABLES = ("CUDA_VISIBLE_DEVICES", "DEVICELAB_GPU")
_GUARDED: tuple[Any, ...] = (torch, torch.cuda, torch.accelerator, torch.Tensor, torch.nn.Module)
_BACK = "The check needs the device as it is, so it was put back. Leave it alone, and move what has to move."
_OWN = ("torch", "devicelab")  # modules whose functions may stand in torch's place: the simulation's do
Restore = Callable[[], object]


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
    restores = [*_random_states(), *_modes()]
    before = Snapshot(objects)
    _clean()
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


def _clean() -> None:
    """Give the learner's code the modes that a fresh kernel has."""
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    if torch.get_default_device() != torch.device("cpu"):
        torch.set_default_device(None)
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(False)
    # One thread: an exercise's work is small, more threads would wait for each other, and round otherwise.
    torch.set_num_threads(1)
    for kind in ("cuda", "cpu"):
        torch.set_autocast_enabled(kind, False)


def _random_states() -> Iterator[Restore]:
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all()
    yield lambda: random.setstate(python)
    yield lambda: np.random.set_state(numpy)
    yield lambda: torch.set_rng_state(cpu)
    yield lambda: torch.cuda.set_rng_state_all(cuda)


def _modes() -> Iterator[Restore]:
    device, card = torch.get_default_device(), torch.cuda.current_device()
    had_default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None) is not None
    yield lambda: torch.set_default_device(device if had_default else None)
    yield lambda: torch.cuda.set_device(card)
    yield _setting(torch.is_grad_enabled, torch.set_grad_enabled)
    yield _setting(torch.get_default_dtype, torch.set_default_dtype)
    yield _setting(torch.is_anomaly_enabled, torch.set_anomaly_enabled)
    yield _setting(torch.get_num_threads, torch.set_num_threads)
    yield _setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision)
    strict, warns = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    yield lambda: torch.use_deterministic_algorithms(strict, warn_only=warns)
    for name in ("enabled", "benchmark", "deterministic", "allow_tf32"):
        yield _attribute(torch.backends.cudnn, name)
    for kind in ("cuda", "cpu"):
        yield _autocast(kind)
    yield _setting(torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled)


def _setting(read: Callable[[], Any], write: Callable[[Any], object]) -> Restore:
    before = read()
    return lambda: write(before) if read() != before else None


def _attribute(owner: Any, name: str) -> Restore:
    before = getattr(owner, name)
    return lambda: setattr(owner, name, before) if getattr(owner, name) != before else None


def _autocast(kind: str) -> Restore:
    enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)

    def restore() -> None:
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)

    return restore
