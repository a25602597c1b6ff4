"""Each simulated card has a random number generator of its own, so drawing on a card does not advance the CPU's."""

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

import torch

from .machine import SimCard

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
