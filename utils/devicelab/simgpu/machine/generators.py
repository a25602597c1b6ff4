"""Each simulated card has a random number generator of its own, so drawing on a card does not advance the CPU's.

Its state is CUDA's, a seed and an offset, and nothing else: every operator that draws begins the CPU's stream anew from the
two, and moves the offset on.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

import torch

from .machine import SimCard

RealGenerator = torch._C.Generator
# Torch's own, which looks at nothing: an estimate may take the state that it is given for a tensor of the card.
give_back = RealGenerator.set_state
MASK = 2**64 - 1
DRAWN = 4  # what an operator adds to the offset: CUDA's least (CUDAGeneratorState::increase); a large tensor adds more there
SEED_BYTES = 8
STATE_BYTES = 16
_known: "WeakValueDictionary[int, CardGenerator]" = WeakValueDictionary()


class CardGenerator(RealGenerator):
    """A generator of a simulated card. The same seed gives other numbers than on the CPU, as with CUDA.

    Errors are those of aten/src/ATen/cuda/CUDAGeneratorImpl.cpp and of check_rng_state in ATen/core/Generator.h.
    """

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
        """Set the seed, and go back to the beginning of its stream."""
        super().manual_seed(seed)
        self._seed, self._offset = super().initial_seed(), 0
        return self

    def seed(self) -> int:
        """Seed from the system's randomness and return the seed."""
        self.manual_seed(RealGenerator().seed())
        return self._seed

    def initial_seed(self) -> int:
        """Return the seed that was set last."""
        return self._seed

    def get_offset(self) -> int:
        """Return how far the stream has been drawn."""
        return self._offset

    def set_offset(self, offset: int) -> "CardGenerator":
        """Go to a place in the stream, a multiple of 4."""
        if offset % DRAWN:
            raise RuntimeError("offset must be a multiple of 4")
        self._offset = offset
        return self

    def get_state(self) -> torch.Tensor:
        """Return the seed and the offset, 8 bytes each, as a tensor of the CPU."""
        state = self._seed.to_bytes(SEED_BYTES, "little") + self._offset.to_bytes(SEED_BYTES, "little")
        return torch.frombuffer(bytearray(state), dtype=torch.uint8)

    def set_state(self, new_state: torch.Tensor) -> "CardGenerator":
        """Take a seed, and an offset if there is one."""
        state = _bytes_of(new_state)
        if len(state) not in (SEED_BYTES, STATE_BYTES):
            raise RuntimeError("RNG state is wrong size")
        self.manual_seed(int.from_bytes(state[:SEED_BYTES], "little"))
        return self.set_offset(int.from_bytes(state[SEED_BYTES:], "little"))

    def clone_state(self) -> "CardGenerator":
        """Return a generator of the same card that goes on from here."""
        return CardGenerator(self.device).set_state(self.get_state())

    def begin(self, stream: RealGenerator) -> None:
        """Let a generator of the CPU draw what comes next here; the next operator draws from further on."""
        place = self._seed * 6364136223846793005 + 1442695040888963407 + self._offset * 0x9E3779B97F4A7C15
        self._offset += DRAWN
        RealGenerator.manual_seed(stream, place & MASK)

    def __reduce__(self) -> Any:
        return torch.Generator, (self.device,), (self._seed, self._offset, self.get_state())

    def __setstate__(self, state: tuple[int, int | None, torch.Tensor]) -> None:
        self.set_state(state[2])


def _bytes_of(state: torch.Tensor) -> bytes:
    if not isinstance(state, torch.Tensor):
        raise TypeError(f"expected a torch.ByteTensor, but got {type(state).__name__}")
    if state.layout != torch.strided or state.device.type != "cpu" or state.dtype != torch.uint8:
        raise TypeError("RNG state must be a torch.ByteTensor")
    if not state.is_contiguous():
        raise RuntimeError("RNG state must be contiguous")
    return ctypes.string_at(state.data_ptr(), state.numel())


def of_card(generator: RealGenerator) -> CardGenerator | None:
    """Return the card's generator, or None for one of the CPU; C++ hands out plain wrappers of what lies behind it."""
    return _known.get(generator._cdata)  # type: ignore[attr-defined]


def ready(generator: RealGenerator | None, card: SimCard | None) -> None:
    """Raise CUDA's error where a generator belongs to the other type of device; let one of a card begin to draw."""
    if generator is None:
        return
    known, expected = of_card(generator), "cpu" if card is None else "cuda"
    found = generator.device.type if known is None else "cuda"
    if found != expected:
        raise RuntimeError(f"Expected a '{expected}' device type for generator but found '{found}'")
    if known is not None:
        known.begin(generator)


def ready_for_randperm(generator: RealGenerator | None) -> None:
    """TensorFactories.cpp, randperm_out_cpu, which looks before others do, and in other words."""
    if generator is not None and of_card(generator) is not None:
        raise RuntimeError(f"Expected a 'cpu' generator device but found '{of_card(generator).device}'")  # type: ignore[union-attr]


@contextmanager
def default_generator_of(card: SimCard) -> Iterator[None]:
    """Let the CPU's default generator be the card's for one operator."""
    default = torch.default_generator
    kept = default.get_state()
    card.generator.begin(default)
    try:
        yield
    finally:
        give_back(default, kept)
