"""Linear algebra on the card, where CUDA's libraries take other arguments, or give other results, than the CPU's."""

import pytest
import torch

from devicelab import simulate_gpu


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("T4") as simulation:
        yield simulation


def random(*size, dtype=torch.float64):
    return torch.rand(size, dtype=dtype, device="cuda") + 2 * torch.eye(
        *size[-2:], dtype=dtype, device="cuda"
    )


@pytest.mark.parametrize("driver", ["gelsy", "gelsd", "gelss"])
def test_least_squares_by_another_driver_than_gels_are_refused(driver):
    with pytest.raises(RuntimeError, match="`driver` other than `gels` is not supported on CUDA"):
        torch.linalg.lstsq(random(3, 2), random(3, 1), driver=driver)
    with pytest.raises(RuntimeError, match="parameter `driver` should be one of"):
        torch.linalg.lstsq(random(3, 2), random(3, 1), driver="gel")


def test_least_squares_say_no_rank_on_a_card():
    a, b = random(3, 2), random(3, 1)
    found = torch.linalg.lstsq(a, b)
    torch.testing.assert_close(found.solution, torch.linalg.pinv(a) @ b)
    assert found.rank.numel() == 0 and found.rank.is_cuda
    assert torch.linalg.lstsq(a.cpu(), b.cpu()).rank.item() == 2


def test_least_squares_without_full_rank_raise_nothing_on_a_card():
    found = torch.linalg.lstsq(torch.ones(3, 2, device="cuda"), torch.ones(3, 1, device="cuda"))
    assert found.solution.isnan().all() and found.rank.numel() == 0


@pytest.mark.parametrize("driver", ["gesvd", "gesvdj", "gesvda"])
def test_drivers_of_the_svd_are_taken(driver):
    a = random(4, 3)
    u, s, vh = torch.linalg.svd(a, full_matrices=False, driver=driver)
    torch.testing.assert_close(u @ s.diag() @ vh, a)
    torch.testing.assert_close(torch.linalg.svdvals(a, driver=driver), s)
    with pytest.raises(RuntimeError, match="unknown svd driver gels in svd_cusolver"):
        torch.linalg.svd(a, driver="gels")
    with pytest.raises(RuntimeError, match="only supported on CUDA inputs"):
        torch.linalg.svd(a.cpu(), driver=driver)


@pytest.mark.parametrize("size", [(3, 3), (2, 4, 3), (2, 3, 4), (0, 3, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_lu_without_pivoting_runs_on_a_card(size, dtype):
    a = random(*size, dtype=dtype).requires_grad_()
    p, lower, upper = torch.linalg.lu(a, pivot=False)
    torch.testing.assert_close(lower @ upper, a)
    assert p.numel() == 0 and p.is_cuda and lower.is_cuda and upper.is_cuda
    packed, pivots = torch.linalg.lu_factor(a, pivot=False)
    count = min(size[-2:])
    assert pivots.is_cuda and pivots.tolist() == torch.arange(1, count + 1).expand(*size[:-2], count).tolist()
    torch.testing.assert_close(packed[..., :count, :].triu(), upper)
    packed.real.sum().backward()
    assert a.grad.shape == a.shape and a.grad.isfinite().all()


def test_lu_without_pivoting_tells_of_a_pivot_that_is_zero_and_writes_where_it_is_told():
    info = torch.linalg.lu_factor_ex(torch.tensor([[0.0, 1], [1, 0]], device="cuda"), pivot=False).info
    assert info.item() == 1
    a, out = random(2, 2), [torch.empty(0, dtype=t, device="cuda") for t in (torch.float64, torch.int32)]
    packed, pivots = torch.linalg.lu_factor(a, pivot=False, out=out)
    assert packed.data_ptr() == out[0].data_ptr() and pivots.tolist() == [1, 2]
    torch.testing.assert_close(packed, torch.linalg.lu_factor(a, pivot=False)[0])


def test_lu_without_pivoting_stays_refused_on_the_cpu():
    with pytest.raises(RuntimeError, match="not implemented on the CPU"):
        torch.linalg.lu_factor(torch.eye(2), pivot=False)
