"""The timer on a real card: what only a card can show."""

import pytest
import torch

from devicelab import timeit, timeit_naive

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a real NVIDIA GPU"),
]


def test_a_large_product_is_submitted_long_before_it_is_done():
    x = torch.randn(4096, 4096, device="cuda")
    timing = timeit(lambda: x @ x)
    assert timing.origin == "measured" and timing.device == "cuda:0"
    assert 0 < timing.host < timing.gpu / 2 and timing.gpu < 1.5 * timing.median


def test_small_operators_keep_the_host_busier_than_the_card():
    x = torch.ones(4, device="cuda")
    timing = timeit(lambda: [x + 1 for _ in range(50)])
    assert 0 < timing.gpu < timing.host


def test_without_synchronize_a_naive_clock_sees_a_part_only():
    x = torch.randn(4096, 4096, device="cuda")
    naive = timeit_naive(lambda: x @ x)
    clocks = {clock.name: clock for clock in naive.clocks}
    assert clocks["no synchronize"].seconds < naive.right.median / 2
