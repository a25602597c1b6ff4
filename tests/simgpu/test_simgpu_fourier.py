"""The plans of cuFFT that a program sees in torch.backends.cuda.cufft_plan_cache."""

import pytest
import torch

from devicelab import simulate_gpu


@pytest.fixture(autouse=True)
def cards():
    with simulate_gpu("T4", count=2) as simulation:
        yield simulation


def signal(*sizes, device="cuda", **more):
    return torch.ones(*sizes, device=device, **more)


def test_a_plan_serves_transforms_of_the_same_kind_sizes_and_layout():
    cache = torch.backends.cuda.cufft_plan_cache
    assert (cache.size, cache.max_size) == (0, 4096)
    wave = signal(4, 8, dtype=torch.complex64)
    torch.fft.ifft(torch.fft.fft(wave))
    torch.fft.fft(wave.reshape(2, 2, 8))  # as one batch
    assert cache.size == 1
    torch.fft.fft(wave.T.contiguous().T)  # laid out in another way
    torch.fft.fft(wave.to(torch.complex128))
    torch.fft.fft(signal(5, 8, dtype=torch.complex64))
    torch.fft.fft(wave, dim=0)
    assert cache.size == 5


@pytest.mark.parametrize(
    ("transform", "sizes", "plans"),
    [
        ("rfft", (3, 8), 1),
        ("irfft", (3, 5), 1),
        ("rfftn", (2, 4, 4), 2),  # the first dimensions are transformed by themselves
        ("fftn", (2, 2, 2, 2), 2),  # cuFFT takes three dimensions at once
    ],
)
def test_what_cufft_does_in_parts_takes_several_plans(transform, sizes, plans):
    dtype = torch.float32 if transform.startswith("r") else torch.complex64
    getattr(torch.fft, transform)(signal(*sizes, dtype=dtype))
    assert torch.backends.cuda.cufft_plan_cache.size == plans


def test_each_card_has_plans_of_its_own():
    torch.fft.fft(signal(8, device="cuda:1", dtype=torch.complex64))
    caches = torch.backends.cuda.cufft_plan_cache
    assert [caches[number].size for number in (0, 1)] == [0, 1]
    torch.fft.fft(torch.ones(8, dtype=torch.complex64))
    assert [caches[number].size for number in (0, 1)] == [0, 1]
    caches[1].clear()
    assert caches[1].size == 0
    with pytest.raises(RuntimeError, match=r"expected 0 <= device index < 2, but got device with index 2"):
        caches[2]
    with pytest.raises(
        RuntimeError,
        match=r"^cufft_get_plan_cache_size: expected 0 <= device_index < 2\], but got device_index=7",
    ):
        torch._cufft_get_plan_cache_size(7)


def test_those_that_were_used_last_are_kept():
    cache = torch.backends.cuda.cufft_plan_cache
    cache.max_size = 2
    for length in (4, 8, 4, 16):
        torch.fft.rfft(signal(length))
    assert cache.size == 2
    cache.max_size = 3
    torch.fft.rfft(signal(4))
    assert cache.size == 2
    torch.fft.rfft(signal(8))
    assert cache.size == 3
    cache.max_size = 0
    torch.fft.rfft(signal(8))
    assert cache.size == 0
    with pytest.raises(RuntimeError, match="cuFFT plan cache size must be non-negative, but got -1"):
        cache.max_size = -1
    with pytest.raises(RuntimeError, match="read-only property"):
        cache.size = 3


def test_another_simulation_begins_without_plans():
    torch.fft.rfft(signal(8))
    with simulate_gpu("L4", count=3):
        assert torch.backends.cuda.cufft_plan_cache[2].size == torch.backends.cuda.cufft_plan_cache.size == 0
    assert torch.backends.cuda.cufft_plan_cache.size == 1
