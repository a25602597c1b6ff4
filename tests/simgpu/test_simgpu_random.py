"""The random numbers of a simulated card: their state is CUDA's, and gives the same numbers again."""

import copy
import itertools
import pickle
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F

from devicelab.simgpu import simulate_gpu

GENUINE = torch._C.Generator


@pytest.fixture(autouse=True)
def simulation() -> Iterator[None]:
    with simulate_gpu(count=2):
        yield


def default(*more: int) -> torch.Tensor:
    return torch.rand(3, *more, device="cuda")


def own() -> torch.Generator:
    generator = torch.Generator("cuda").manual_seed(7)
    torch.rand(5, device="cuda", generator=generator)
    return generator


def drawn(generator: torch.Generator) -> list[float]:
    return [
        torch.rand(1, device="cuda", generator=generator).item(),
        torch.ones(1, device="cuda").normal_(generator=generator).item(),
    ]


def test_a_state_is_a_seed_and_an_offset_of_8_bytes_each() -> None:
    torch.manual_seed(2**40 + 5)
    default(), default()
    state = torch.cuda.get_rng_state()
    assert (state.shape, state.dtype, state.device.type) == ((16,), torch.uint8, "cpu")
    assert state.view(torch.int64).tolist() == [2**40 + 5, 8]
    assert [state.numel() for state in torch.cuda.get_rng_state_all()] == [16, 16]
    torch.cuda.manual_seed(-1)
    assert torch.cuda.get_rng_state().view(torch.int64).tolist() == [-1, 0]


def test_every_operator_that_draws_moves_on_and_no_other_does() -> None:
    generator = torch.cuda.default_generators[0]
    seen = [generator.get_offset()]
    x = torch.ones(4, device="cuda")
    for draw in (
        x.normal_,
        x.bernoulli_,
        lambda: F.dropout(x),
        lambda: torch.randperm(4, device="cuda"),
        lambda: x + 1,
    ):
        draw()
        seen.append(generator.get_offset())
    assert [after - before for before, after in itertools.pairwise(seen)] == [4, 4, 4, 4, 0]
    torch.rand(4), torch.rand(4, device="cuda:1")
    assert generator.get_offset() == seen[-1]
    assert default().tolist() != default().tolist()


def test_a_state_gives_the_same_numbers_again_also_on_the_other_card_and_in_a_new_simulation() -> None:
    torch.manual_seed(3)
    default()
    state = torch.cuda.get_rng_state()
    first = default().tolist()
    torch.cuda.set_rng_state(state, 1)
    assert torch.rand(3, device="cuda:1").tolist() == first
    with simulate_gpu("NVIDIA L4"):
        torch.cuda.set_rng_state(state)
        assert default().tolist() == first
    torch.cuda.set_rng_state(state[:8])
    assert torch.cuda.default_generators[0].get_offset() == 0, "a state without an offset is the beginning"


def test_the_place_in_a_stream_can_be_set() -> None:
    generator = own()
    first = drawn(generator)
    assert drawn(generator.set_offset(4)) == first
    with pytest.raises(RuntimeError, match=r"^offset must be a multiple of 4$"):
        generator.set_offset(3)


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        (lambda: torch.zeros(16, dtype=torch.uint8, device="cuda"), TypeError, "RNG state must be a torch.ByteTensor"),
        (lambda: torch.zeros(16), TypeError, "RNG state must be a torch.ByteTensor"),
        (lambda: [1], TypeError, "expected a torch.ByteTensor, but got list"),
        (lambda: torch.get_rng_state(), RuntimeError, "RNG state is wrong size"),
        (lambda: torch.zeros(32, dtype=torch.uint8)[::2], RuntimeError, "RNG state must be contiguous"),
    ],
    ids=["of the card", "of floats", "of no tensor", "of the CPU", "in steps"],
)  # fmt: skip
@pytest.mark.parametrize(
    "give", [torch.cuda.set_rng_state, lambda state: own().set_state(state)], ids=["default", "own"]
)
def test_what_is_no_state_is_refused_in_cudas_words(
    give: Callable[..., object], state: Callable[[], object], error: type[Exception], words: str
) -> None:
    before = torch.cuda.get_rng_state().tolist()
    with pytest.raises(error) as caught:
        give(state())
    assert str(caught.value) == words
    assert torch.cuda.get_rng_state().tolist() == before


def test_the_cards_state_is_none_of_the_cpus() -> None:
    with pytest.raises(RuntimeError, match="size"):
        torch.set_rng_state(torch.cuda.get_rng_state())


@pytest.mark.parametrize(
    "twin",
    [
        lambda generator: generator.clone_state(),
        copy.deepcopy,
        lambda generator: pickle.loads(pickle.dumps(generator)),
        lambda generator: torch.Generator("cuda").set_state(generator.get_state()),
    ],
    ids=["clone_state", "deepcopy", "pickle", "set_state"],
)
def test_a_twin_lies_on_the_card_and_goes_on_from_there(
    twin: Callable[[torch.Generator], torch.Generator],
) -> None:
    generator = own()
    other = twin(generator)
    assert (other.device, other.initial_seed()) == (torch.device("cuda"), 7)
    assert drawn(other) == drawn(generator)
    drawn(other)
    assert other.get_offset() != generator.get_offset(), "each goes its own way"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_pickled_generator_names_torchs_class(device: str) -> None:
    assert torch.Generator is torch._C.Generator
    stored = pickle.dumps(torch.Generator(device).manual_seed(5))
    assert b"torch._C" in stored and b"devicelab" not in stored
    assert isinstance(pickle.loads(stored), GENUINE)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_generator_is_of_torchs_class_by_either_name(device: str) -> None:
    generator = torch.Generator(device)
    assert isinstance(generator, torch._C.Generator) and isinstance(generator, torch.Generator)
    assert issubclass(type(generator), torch.Generator) and not issubclass(int, torch.Generator)


def test_a_stored_state_is_heard_of_by_no_trace() -> None:
    from devicelab.trace import trace

    with trace() as seen:
        torch.cuda.set_rng_state(torch.cuda.get_rng_state())
    assert not seen.operators


TAKERS = {
    "torch.set_rng_state": lambda state: torch.set_rng_state(state),
    "the default generator": lambda state: torch.default_generator.set_state(state),
    "a generator of one's own": lambda state: torch.Generator().set_state(state),
    "the card's": lambda state: torch.cuda.set_rng_state(state),
}


@pytest.mark.parametrize("take", TAKERS.values(), ids=TAKERS)
def test_a_state_that_a_checkpoint_brought_to_the_card_is_refused(take):
    """What `torch.load(..., map_location="cuda")` does to a state that was saved with the model."""
    with simulate_gpu("T4"):
        own = torch.cuda.get_rng_state() if take is TAKERS["the card's"] else torch.get_rng_state()
        with pytest.raises(TypeError, match="RNG state must be a torch"):
            take(own.cuda())
        take(own)
