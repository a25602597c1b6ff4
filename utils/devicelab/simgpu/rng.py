"""Each simulated card has a random number generator of its own, so drawing on a card does not advance the CPU's."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch

from . import state
from .tags import SimCard

if TYPE_CHECKING:
    from .session import Simulation

RealGenerator = torch._C.Generator
MASK = 2**64 - 1
_known: "WeakValueDictionary[int, CardGenerator]" = WeakValueDictionary()


class CardGenerator(RealGenerator):
    """A generator of a simulated card. The same seed gives other numbers than on the CPU, as with CUDA."""

    _card_device: torch.device
    _cdata: int

    def __new__(cls, device: torch.device) -> "CardGenerator":
        self = super().__new__(cls)
        self._card_device = device
        _known[self._cdata] = self
        return self

    def __init__(self, device: torch.device):
        self.manual_seed(torch.initial_seed())

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """The simulated card."""
        return self._card_device

    def manual_seed(self, seed: int) -> "CardGenerator":
        """Set the seed."""
        self._seed = int(seed) & MASK
        super().manual_seed((self._seed * 6364136223846793005 + 1442695040888963407) & MASK)
        return self

    def seed(self) -> int:
        """Seed from the system's randomness and return the seed."""
        self.manual_seed(RealGenerator().seed())
        return self._seed

    def initial_seed(self) -> int:
        """Return the seed that was set last."""
        return self._seed


class _GeneratorType(type(RealGenerator)):  # type: ignore[misc]
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, RealGenerator)


class Generator(RealGenerator, metaclass=_GeneratorType):
    """Stands in for torch.Generator: makes one of the CPU or of a simulated card."""

    _card_device: torch.device
    _cdata: int

    def __new__(cls, device: Any = "cpu") -> RealGenerator:  # type: ignore[misc]
        if state.current is None or torch.device(device).type != "cuda":
            return RealGenerator(device)
        return CardGenerator(state.current.card(torch.device(device)).device)


def device_of_generator(generator: RealGenerator) -> torch.device:
    """Return the generator's device; C++ hands out plain wrappers, so it is looked up by the generator behind them."""
    known = _known.get(generator._cdata)  # type: ignore[attr-defined]
    return known.device if known is not None else generator.device


def check(generator: RealGenerator | None, card: SimCard | None) -> None:
    """Raise CUDA's error where a generator belongs to the other type of device."""
    if generator is None:
        return
    found, expected = device_of_generator(generator).type, "cpu" if card is None else "cuda"
    if found != expected:
        raise RuntimeError(f"Expected a '{expected}' device type for generator but found '{found}'")


@contextmanager
def default_generator_of(card: SimCard) -> Iterator[None]:
    """Let the CPU's default generator be the card's for one operator."""
    default = torch.default_generator
    kept = default.get_state()
    default.set_state(card.generator.get_state())
    try:
        yield
    finally:
        card.generator.set_state(default.get_state())
        default.set_state(kept)


def _generator(device: Any = "cuda") -> CardGenerator:
    from .moves import target_of

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


def install(simulation: "Simulation") -> None:
    """Give each card its generator, and torch.cuda its functions for them."""
    for card in simulation.cards:
        card.generator = card.generator or CardGenerator(card.device)
    for function in FUNCTIONS:
        for module in ("torch.cuda", "torch.cuda.random"):
            simulation.patches.replace(f"{module}.{function.__name__}", function)
    generators = tuple(card.generator for card in simulation.cards)
    simulation.patches.replace("torch.cuda.default_generators", generators)
    simulation.patches.replace("torch.Generator", Generator)
    # What was seeded before the simulation is in torch.initial_seed(), with which the cards' generators start.
    simulation.patches.replace("torch.cuda._lazy_seed_tracker", torch.cuda._LazySeedTracker())
