"""torch.use_deterministic_algorithms on the simulated card: what CUDA refuses is refused, in its words, and nothing else."""

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from devicelab import simulate_gpu
from devicelab.simgpu.rules import nondeterministic
from devicelab.versions import release

UP_TO_2_9 = release(torch.__version__) < (
    2,
    10,
)  # as its docstring says; the table beside the rule names the change
CUDA: Any = {"device": "cuda"}
ONES: Any = {"dtype": torch.long, "device": "cuda"}


def backward(layer, *shape):
    x = torch.rand(*shape, **CUDA, requires_grad=True)
    layer(x).sum().backward()


def unpooled(dimensions):
    pool, unpool = getattr(nn, f"MaxPool{dimensions}d"), getattr(nn, f"MaxUnpool{dimensions}d")
    return unpool(2)(*pool(2, return_indices=True)(torch.rand(1, 1, *[4] * dimensions, **CUDA)))


def bag(mode):
    weight = torch.rand(4, 3, **CUDA, requires_grad=True)
    F.embedding_bag(torch.ones(2, 2, **ONES), weight, mode=mode).sum().backward()


def resized(mode, *shape):
    backward(lambda x: F.interpolate(x, scale_factor=2, mode=mode), *shape)


def reduced(how):
    index, ones = torch.zeros(3, **ONES), torch.ones(3, **CUDA)
    return torch.rand(3, **CUDA).scatter_reduce(0, index, ones, how)


def smooth(mode):
    backward(lambda x: F.interpolate(x, scale_factor=0.5, mode=mode, antialias=True), 1, 2, 4, 4)


def scattered(value, **options):
    return torch.rand(3, **CUDA).scatter_(0, torch.zeros(3, **ONES), value, **options)


def put(accumulate):
    torch.rand(3, **CUDA).put_(torch.zeros(1, **ONES), torch.ones(1, **CUDA), accumulate=accumulate)


def ctc(x):
    five, two = torch.tensor([5, 5]), torch.tensor([2, 2])
    return F.ctc_loss(x.log_softmax(2), torch.ones(2, 2, **ONES), five, two)


# By the kernel that the error names; the documented cases of torch.use_deterministic_algorithms.
REFUSED = {
    "avg_pool3d_backward_cuda": lambda: backward(nn.AvgPool3d(1), 1, 2, 3, 3, 3),
    "adaptive_avg_pool2d_backward_cuda": lambda: backward(nn.AdaptiveAvgPool2d(2), 1, 2, 5, 5),
    "adaptive_avg_pool3d_backward_cuda": lambda: backward(nn.AdaptiveAvgPool3d(2), 1, 2, 5, 5, 5),
    "adaptive_max_pool2d_backward_cuda": lambda: backward(nn.AdaptiveMaxPool2d(2), 1, 2, 5, 5),
    "adaptive_max_pool3d_backward_cuda": lambda: backward(nn.AdaptiveMaxPool3d(2), 1, 2, 5, 5, 5),
    "fractional_max_pool2d_backward_cuda": lambda: backward(nn.FractionalMaxPool2d(2, 2), 1, 2, 5, 5),
    "fractional_max_pool3d_backward_cuda": lambda: backward(nn.FractionalMaxPool3d(2, 2), 1, 2, 5, 5, 5),
    "max_unpooling2d_forward_out": lambda: unpooled(2),
    "max_unpooling3d_forward_out": lambda: unpooled(3),
    "upsample_linear1d_backward_out_cuda": lambda: resized("linear", 1, 2, 4),
    "upsample_bicubic2d_backward_out_cuda": lambda: backward(
        lambda x: torch.ops.aten.upsample_bicubic2d(x, [8, 8], False), 1, 2, 4, 4
    ),
    "upsample_bilinear2d_backward_out_cuda": lambda: backward(
        lambda x: torch.ops.aten.upsample_bilinear2d(x, [8, 8], False), 1, 2, 4, 4
    ),
    "upsample_trilinear3d_backward_out_cuda": lambda: backward(
        lambda x: torch.ops.aten.upsample_trilinear3d(x, [8, 8, 8], False), 1, 2, 4, 4, 4
    ),
    "reflection_pad1d_backward_out_cuda": lambda: backward(nn.ReflectionPad1d(1), 1, 2, 4),
    "reflection_pad3d_backward_out_cuda": lambda: backward(nn.ReflectionPad3d(1), 1, 2, 4, 4, 4),
    "nll_loss2d_forward_out_cuda_template": lambda: F.nll_loss(
        torch.rand(1, 3, 2, 2, **CUDA), torch.zeros(1, 2, 2, **ONES)
    ),
    "ctc_loss_backward_gpu": lambda: backward(ctc, 5, 2, 4),
    "embedding_bag_backward_cuda_max": lambda: bag("max"),
    "put_": lambda: put(True),
    "_histc_cuda with floating point input": lambda: torch.histc(torch.rand(3, **CUDA)),
    "_bincount_cuda": lambda: torch.bincount(torch.ones(2, **ONES), torch.ones(2, **CUDA)),
    "median CUDA with indices output": lambda: torch.rand(3, **CUDA).median(0),
    "grid_sampler_2d_backward_cuda": lambda: backward(
        lambda x: F.grid_sample(x, torch.zeros(1, 2, 2, 2, **CUDA), align_corners=False), 1, 1, 3, 3
    ),
    "grid_sampler_3d_backward_cuda": lambda: backward(
        lambda x: F.grid_sample(x, torch.zeros(1, 2, 2, 2, 3, **CUDA), align_corners=False), 1, 1, 3, 3, 3
    ),
    "index_reduce_cuda": lambda: torch.rand(3, **CUDA).index_reduce(
        0, torch.zeros(3, **ONES), torch.ones(3, **CUDA), "prod"
    ),
    # The layers themselves take deterministic ways where determinism is asked for before their forward pass.
    "max_pool3d_with_indices_backward_cuda": lambda: backward(
        lambda x: torch.ops.aten.max_pool3d_with_indices(x, [2, 2, 2])[0], 1, 2, 4, 4, 4
    ),
    "replication_pad1d_backward_cuda": lambda: backward(
        lambda x: torch.ops.aten.replication_pad1d(x, [1, 1]), 1, 2, 4
    ),
    "replication_pad2d_backward_cuda": lambda: backward(
        lambda x: torch.ops.aten.replication_pad2d(x, [1] * 4), 1, 2, 4, 4
    ),
    "replication_pad3d_backward_cuda": lambda: backward(
        lambda x: torch.ops.aten.replication_pad3d(x, [1] * 6), 1, 2, 4, 4, 4
    ),
    "upsample_bilinear2d_aa_backward_out_cuda": lambda: smooth("bilinear"),
    "upsample_bicubic2d_aa_backward_out_cuda": lambda: smooth("bicubic"),
    "scatter_reduce_cuda_kernel": lambda: scattered(torch.ones(3, **CUDA), reduce="add"),
    **({"kthvalue CUDA": lambda: torch.rand(3, **CUDA).kthvalue(1)} if UP_TO_2_9 else {}),
    "scatter_reduce_cuda_prod_": lambda: reduced("prod"),
}
AGAIN = {  # other operators of the same kernels
    "nanmedian": ("median CUDA with indices output", lambda: torch.rand(3, **CUDA).nanmedian(0)),
    "scatter_reduce_": (
        "scatter_reduce_cuda_prod_",
        lambda: torch.rand(3, **CUDA).scatter_reduce_(
            0, torch.zeros(3, **ONES), torch.ones(3, **CUDA), "prod"
        ),
    ),
    "index_reduce_": (
        "index_reduce_cuda",
        lambda: torch.rand(3, **CUDA).index_reduce_(0, torch.zeros(3, **ONES), torch.ones(3, **CUDA), "amax"),
    ),
    "scatter": (
        "scatter_reduce_cuda_kernel",
        lambda: torch.rand(3, **CUDA).scatter(0, torch.zeros(3, **ONES), torch.ones(3, **CUDA), reduce="add"),
    ),
    "put": (
        "put_",
        lambda: torch.rand(3, **CUDA).put(torch.zeros(1, **ONES), torch.ones(1, **CUDA), accumulate=True),
    ),
    "put_ without accumulate": ("put_", lambda: put(False)),
}
PRODUCTS = {
    "mm": lambda: torch.mm(torch.rand(2, 2, **CUDA), torch.rand(2, 2, **CUDA)),
    "mv": lambda: torch.mv(torch.rand(2, 2, **CUDA), torch.rand(2, **CUDA)),
    "bmm": lambda: torch.bmm(torch.rand(1, 2, 2, **CUDA), torch.rand(1, 2, 2, **CUDA)),
    "addmm": lambda: torch.addmm(*[torch.rand(2, 2, **CUDA)] * 3),
    "addmm_": lambda: torch.rand(2, 2, **CUDA).addmm_(*[torch.rand(2, 2, **CUDA)] * 2),
    "addmv": lambda: torch.addmv(torch.rand(2, **CUDA), torch.rand(2, 2, **CUDA), torch.rand(2, **CUDA)),
    "addmv_": lambda: torch.rand(2, **CUDA).addmv_(torch.rand(2, 2, **CUDA), torch.rand(2, **CUDA)),
    "baddbmm": lambda: torch.baddbmm(*[torch.rand(1, 2, 2, **CUDA)] * 3),
    "baddbmm_": lambda: torch.rand(1, 2, 2, **CUDA).baddbmm_(*[torch.rand(1, 2, 2, **CUDA)] * 2),
    "a linear layer's backward": lambda: backward(nn.Linear(2, 2, **CUDA), 2, 2),
}
TAKEN = {
    "cumsum of integers": lambda: torch.ones(3, **ONES).cumsum(0),
    "median of all": lambda: torch.rand(3, **CUDA).median(),
    "bincount without weights": lambda: torch.bincount(torch.ones(2, **ONES)),
    "a mean of bags": lambda: bag("mean"),
    "a sum": lambda: reduced("sum"),
    "a product with a bias of one dimension, by cuBLASLt": lambda: nn.Linear(2, 2, **CUDA)(
        torch.rand(2, 2, **CUDA)
    ),
    "a product on the CPU": lambda: torch.rand(2, 2) @ torch.rand(2, 2),
    "a running sum": lambda: torch.rand(3, **CUDA).cumsum(0),
    "reflections in two dimensions": lambda: backward(nn.ReflectionPad2d(1), 1, 2, 4, 4),
    "replication by its layer": lambda: backward(nn.ReplicationPad2d(1), 1, 2, 4, 4),
    "scatter without a reduction": lambda: scattered(torch.ones(3, **CUDA)),
    "scatter of a number": lambda: scattered(1.0, reduce="add"),
    "a loss in two dimensions that is not reduced": lambda: F.nll_loss(
        torch.rand(1, 3, 2, 2, **CUDA), torch.zeros(1, 2, 2, **ONES), reduction="none"
    ),
    "on the CPU": lambda: torch.rand(3).histc(),
}


@pytest.fixture
def deterministic():
    with simulate_gpu("T4"):
        torch.use_deterministic_algorithms(True)
        yield
        torch.use_deterministic_algorithms(False)


def test_every_operator_of_the_table_is_tried():
    rows = nondeterministic.table()
    assert {row["kernel"] for row in rows.values()} - {"cuBLAS"} == set(REFUSED)
    assert {name for name, row in rows.items() if row["kernel"] == "cuBLAS"} <= set(PRODUCTS)


@pytest.mark.parametrize("name", AGAIN)
def test_the_same_kernel_by_another_operator_is_refused(deterministic, name):
    kernel, call = AGAIN[name]
    with pytest.raises(RuntimeError, match=f"^{kernel} does not have"):
        call()


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_asks_for_the_switch_of_cublas_up_to_2_9(deterministic, monkeypatch, name):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if not UP_TO_2_9:
        PRODUCTS[name]()
        return
    with pytest.raises(RuntimeError, match=r"because it uses CuBLAS .* CUBLAS_WORKSPACE_CONFIG=:4096:8 or"):
        PRODUCTS[name]()
    torch.use_deterministic_algorithms(True, warn_only=True)
    with pytest.warns(UserWarning, match="because it uses CuBLAS"):
        PRODUCTS[name]()


@pytest.mark.skipif(not UP_TO_2_9, reason="from PyTorch 2.10 on nobody asks")
@pytest.mark.parametrize(("value", "taken"), [(":4096:8", True), (":16:8", True), ("garbage", False)])
def test_cublas_reads_its_switch_at_the_first_product(deterministic, monkeypatch, value, taken):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", value)
    torch.use_deterministic_algorithms(False)
    PRODUCTS["mm"]()
    torch.use_deterministic_algorithms(True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "garbage" if taken else ":4096:8")
    if taken:
        PRODUCTS["mm"]()
    else:
        with pytest.raises(RuntimeError, match="CuBLAS"):
            PRODUCTS["mm"]()


@pytest.mark.parametrize("kernel", REFUSED)
def test_what_cuda_has_no_deterministic_kernel_for_is_refused(deterministic, kernel):
    words = (
        f"{kernel} does not have a deterministic implementation, but you set 'torch.use_deterministic_algo"
    )
    with pytest.raises(RuntimeError) as caught:
        REFUSED[kernel]()
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("kernel", REFUSED)
def test_or_warned_of(deterministic, kernel):
    torch.use_deterministic_algorithms(True, warn_only=True)
    with pytest.warns(UserWarning, match=f"^{kernel} does not have .* warn_only=True"):
        REFUSED[kernel]()


@pytest.mark.parametrize("call", TAKEN.values(), ids=TAKEN)
def test_what_cuda_can_do_is_done(deterministic, call):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call()
