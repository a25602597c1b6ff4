"""torch.Generator and torch.cuda's functions for random numbers, over the cards' own generators."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch

from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.generators import CardGenerator, RealGenerator
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.marks.marks import card_of
from devicelab.simgpu.run.move import target_of

from .nodes import forget, names_of


class _GeneratorType(type(RealGenerator)):  # type: ignore[misc]
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, RealGenerator)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, RealGenerator)


class Generator(RealGenerator, metaclass=_GeneratorType):
    """Stands in for torch.Generator: makes one of the CPU or of a simulated card. What is pickled names torch's own class."""

    __module__, __qualname__ = RealGenerator.__module__, RealGenerator.__qualname__

    _card_device: torch.device
    _cdata: int

    def __new__(cls, device: Any = "cpu") -> RealGenerator:  # type: ignore[misc]
        place = torch.device(device)
        if state.current is None or place.type != "cuda":
            return RealGenerator(device)
        state.current.card(place)  # raises where there is none
        return CardGenerator(
            place
        )  # which says of itself what it was told: "cuda" has no number (CUDAHooks::getNewGenerator)


def _generator(device: Any = "cuda") -> CardGenerator:
    card = target_of(device)[1]
    assert card is not None
    return card.generator


def get_rng_state(device: Any = "cuda") -> torch.Tensor:
    """Stand in for torch.cuda.get_rng_state."""
    return _generator(device).get_state()


def set_rng_state(new_state: torch.Tensor, device: Any = "cuda") -> None:
    """Stand in for torch.cuda.set_rng_state."""
    _generator(device).set_state(new_state)


def _all() -> list[CardGenerator]:
    return [card.generator for card in state.current.cards] if state.current else []


def get_rng_state_all() -> list[torch.Tensor]:
    """Stand in for torch.cuda.get_rng_state_all."""
    return [generator.get_state() for generator in _all()]


def set_rng_state_all(new_states: Iterable[torch.Tensor]) -> None:
    """Stand in for torch.cuda.set_rng_state_all."""
    for generator, new_state in zip(_all(), new_states, strict=False):
        generator.set_state(new_state)


def manual_seed(seed: int) -> None:
    """Stand in for torch.cuda.manual_seed, which does not wake a sleeping card: the real one leaves the seed in a queue."""
    if state.current:
        state.current.cards[state.current.current].generator.manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Stand in for torch.cuda.manual_seed_all, which torch.manual_seed calls."""
    for generator in _all():
        generator.manual_seed(seed)


def seed() -> None:
    """Stand in for torch.cuda.seed."""
    _generator().seed()


def seed_all() -> None:
    """Stand in for torch.cuda.seed_all: one random seed for all cards."""
    manual_seed_all(RealGenerator().seed())


def initial_seed() -> int:
    """Stand in for torch.cuda.initial_seed."""
    return _generator().initial_seed()


FUNCTIONS = (
    get_rng_state, set_rng_state, get_rng_state_all, set_rng_state_all, manual_seed, manual_seed_all, seed, seed_all, initial_seed
)  # fmt: skip


def of_the_cpu(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stand-in for the method that gives a generator of the CPU its state: C++ takes a card's tensor for the CPU's."""

    @functools.wraps(original)
    def set_state(generator: RealGenerator, new_state: Any) -> RealGenerator:
        if isinstance(new_state, torch.Tensor) and card_of(new_state) is not None:
            raise TypeError("RNG state must be a torch.ByteTensor")  # ATen/core/Generator.h, check_rng_state
        return original(generator, new_state)

    return set_state


def install(machine: Machine) -> None:
    """Give each card its generator, and torch.cuda its functions for them."""
    for card in machine.cards:
        card.generator = card.generator or CardGenerator(card.device)
    for function in FUNCTIONS:
        for module in ("torch.cuda", "torch.cuda.random"):
            machine.patches.replace(f"{module}.{function.__name__}", function)
    generators = tuple(card.generator for card in machine.cards)
    machine.patches.replace("torch.cuda.default_generators", generators)
    for name in ("torch.Generator", "torch._C.Generator"):
        machine.patches.replace(name, Generator)
    names, before = names_of(RealGenerator), RealGenerator.set_state
    for step in (lambda: forget(RealGenerator), lambda: names.update(set_state=before)):
        machine.on_stop(step)  # the last is taken first
    names["set_state"] = of_the_cpu(before)
    forget(RealGenerator)
    # What was seeded before the simulation is in torch.initial_seed(), with which the cards' generators start.
    machine.patches.replace("torch.cuda._lazy_seed_tracker", torch.cuda._LazySeedTracker())
