"""The caching allocator's settings: wrong ones raise what PyTorch raises, and those that are heeded change what is reserved."""

import re

import pytest
import torch

from devicelab.gpus import find
from devicelab.simgpu import simulate_gpu
from devicelab.simgpu.machine import settings
from devicelab.simgpu.machine.memory import MIB, Ledger
from devicelab.simgpu.machine.settings import Settings, read

pytestmark = pytest.mark.filterwarnings("ignore:torch.cuda._set_allocator_settings is deprecated")
SHARED = settings.shared is not None
# Settings, then what PyTorch 2.10 and later say of them, and what it said before.
WRONG = {
    "nonsense:1": (
        "Unrecognized key 'nonsense' in Accelerator allocator config.",
        "Unrecognized CachingAllocator option: nonsense",
    ),
    "expandable_segments:maybe": (
        "Expected 'True' or 'False' at index 2 in ConfigTokenizer but got 'maybe'",
        "Expected a single True/False argument for expandable_segments",
    ),
    "max_split_size_mb:50,release_lock_on_cudamalloc:1": (
        "Expected 'True' or 'False' at index 6 in ConfigTokenizer but got '1'",
        "Expected a single True/False argument for release_lock_on_cudamalloc",
    ),
    "max_split_size_mb:19": (
        "CachingAllocator option max_split_size_mb too small, must be >= 20",
        "CachingAllocator option max_split_size_mb too small, must be > 20",
    ),
    "max_split_size_mb": ("Index out of bounds in ConfigTokenizer", "Error parsing CachingAllocator settings, expected :"),
    "max_split_size_mb=50": (
        "Unrecognized key 'max_split_size_mb=50' in Accelerator allocator config.",
        "Unrecognized CachingAllocator option: max_split_size_mb=50",
    ),
    "garbage_collection_threshold:2": (
        "garbage_collect_threshold is invalid, set it in (0.0, 1.0)",
        "garbage_collect_threshold too big, set it 0.0~1.0",
    ),
    "roundup_power2_divisions:3": ("For roundups, the divisions has to be power of 2 ",) * 2,
    "roundup_power2_divisions:[256:3]": ("For roundups, the divisions has to be power of 2 or 0 to disable roundup ",) * 2,
    "backend:other": ("Unknown allocator backend, options are native and cudaMallocAsync",) * 2,
    "backend:cudaMallocAsync": ("Allocator backend parsed at runtime != allocator backend parsed at load time",) * 2,
    "per_process_memory_fraction:1.5": ("per_process_memory_fraction is invalid, set it in [0.0, 1.0]",) * 2,
    "pinned_num_register_threads:3": ("Number of register threads has to be power of 2",) * 2,
    "pinned_reserve_segment_size_mb:0": ("Pinned reserve segment size has to be greater than 0",) * 2,
}  # fmt: skip


@pytest.fixture
def simulation():
    with simulate_gpu("T4", count=2) as running:
        yield running


@pytest.mark.parametrize(("text", "words"), WRONG.items(), ids=WRONG)
def test_wrong_settings_raise_what_pytorch_raises(simulation, text, words):
    expected = re.escape(words[0] if SHARED else words[1])
    with pytest.raises((ValueError, RuntimeError), match=expected):
        torch.cuda.memory._set_allocator_settings(text)


@pytest.mark.parametrize(("text", "words"), WRONG.items(), ids=WRONG)
def test_older_releases_have_their_own_words(monkeypatch, text, words):
    monkeypatch.setattr(settings, "RELEASE", (2, 9))
    with pytest.raises(RuntimeError, match=re.escape(words[1])):
        read(text, Settings())


@pytest.mark.parametrize("text", WRONG)
def test_wrong_settings_of_the_environment_raise_at_the_cards_first_use(monkeypatch, simulation, text):
    if text.startswith("backend:cuda"):
        pytest.skip("the environment may choose it")
    monkeypatch.setenv(settings.VARIABLE, text)
    assert torch.cuda.is_available()
    for _ in range(2):
        with pytest.raises((ValueError, RuntimeError)):
            torch.ones(1, device="cuda")
    monkeypatch.delenv(settings.VARIABLE)
    assert torch.ones(1, device="cuda").is_cuda


RIGHT = (
    "",
    "expandable_segments:True",
    "max_split_size_mb:128, garbage_collection_threshold:0.6",
    "roundup_power2_divisions:[256:1,512:2,1024:4,>:8]",
    "backend:native,pinned_use_cuda_host_register:True,pinned_num_register_threads:8",
)


@pytest.mark.parametrize("text", RIGHT)
def test_right_settings_are_taken(simulation, text):
    torch.cuda.memory._set_allocator_settings(text)
    assert torch.ones(1, device="cuda:1").is_cuda


def test_no_large_block_is_split_nor_given_to_a_small_request():
    ledger = Ledger(find("T4"))
    ledger.settings = read("max_split_size_mb:50", Settings())
    large = ledger.take(60 * MIB)
    del large
    small = ledger.take(30 * MIB)
    assert ledger.stats()["reserved_bytes"]["all"]["current"] == 90 * MIB
    again = ledger.take(56 * MIB)  # whole: it is not split
    assert ledger.stats()["allocated_bytes"]["all"]["current"] == 90 * MIB
    assert small and again


def test_by_default_it_is_split():
    ledger = Ledger(find("T4"))
    large = ledger.take(60 * MIB)
    del large
    held = [ledger.take(30 * MIB), ledger.take(30 * MIB)]
    assert ledger.stats()["reserved_bytes"]["all"]["current"] == 60 * MIB
    assert held


@pytest.mark.parametrize(
    ("text", "nbytes", "size"),
    [
        ("", 1200 * MIB, 1200 * MIB),
        ("roundup_power2_divisions:4", 1200 * MIB, 1280 * MIB),  # the example in PyTorch's notes on CUDA
        ("roundup_power2_divisions:4", 1024 * MIB, 1024 * MIB),
        ("roundup_power2_divisions:4", 700, 1024),
        ("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]", 300 * MIB, 300 * MIB),
        ("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]", 600 * MIB, 768 * MIB),
        ("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]", 1100 * MIB, 1152 * MIB),
    ],
)
def test_requests_are_rounded_as_the_settings_say(text, nbytes, size):
    assert read(text, Settings()).rounded(nbytes) == size


@pytest.mark.skipif(not SHARED, reason="this PyTorch does not know the setting")
def test_a_fraction_in_the_settings_limits_every_card(simulation):
    torch.cuda.memory._set_allocator_settings("per_process_memory_fraction:0.25")
    for index in range(2):
        with pytest.raises(torch.OutOfMemoryError, match=r"3\.6\d GiB allowed"):
            torch.empty(5 * 2**30, dtype=torch.uint8, device=f"cuda:{index}")


@pytest.mark.parametrize("fraction", [-0.1, 1.1, 2.0])
def test_a_fraction_that_cannot_be_is_refused_in_torchs_words(simulation, fraction):
    with pytest.raises(ValueError, match=r"Invalid fraction value: .*\. Allowed range: 0~1"):
        torch.cuda.set_per_process_memory_fraction(fraction)


def test_a_fraction_holds_for_its_card_until_it_is_lifted(simulation):
    torch.cuda.set_per_process_memory_fraction(0.1, 1)
    five = {"size": (5 * 2**30,), "dtype": torch.uint8}
    assert torch.empty(**five, device="cuda:0").is_cuda
    with pytest.raises(torch.OutOfMemoryError, match=r"1\.47 GiB allowed"):
        torch.empty(**five, device="cuda:1")
    torch.cuda.set_per_process_memory_fraction(1.0, 1)
    assert torch.empty(**five, device="cuda:1").is_cuda


def test_the_environment_chooses_the_backend(monkeypatch):
    monkeypatch.setenv(settings.VARIABLE, "backend:cudaMallocAsync")
    with simulate_gpu():
        assert torch.cuda.memory.get_allocator_backend() == "cudaMallocAsync"
        torch.cuda.memory._set_allocator_settings("backend:cudaMallocAsync")


@pytest.mark.skipif(
    not hasattr(torch._C, "_accelerator_getAllocatorSettings"), reason="C++ does not tell in this PyTorch"
)
def test_what_c_knew_before_it_knows_again():
    before = torch._C._accelerator_getAllocatorSettings()
    with simulate_gpu():
        torch.cuda.memory._set_allocator_settings("max_split_size_mb:64")
        assert torch._C._accelerator_getAllocatorSettings() == "max_split_size_mb:64"
    assert torch._C._accelerator_getAllocatorSettings() == before
