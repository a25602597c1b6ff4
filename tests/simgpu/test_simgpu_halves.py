"""Small types on the card: what CUDA computes in single precision and rounds once gives just that."""

import gc

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from devicelab import simulate_gpu
from devicelab.simgpu.rules import dtypes


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("T4") as simulation:
        yield simulation


def values(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape))) * 0.8 + 0.3


LABELS = torch.randint(0, 9, (700,), generator=torch.Generator().manual_seed(0))
WORDS = torch.randint(0, 6, (400,), generator=torch.Generator().manual_seed(0))
# A function of tensors, and the tensors, which are rounded to the small type first.
CALLS = {
    "plus a number": (lambda x: x + 0.1, (2000,)),
    "a number minus": (lambda x: 0.1 - x, (2000,)),
    "plus a part": (lambda x, y: x.add(y, alpha=0.1), (2000,), (2000,)),
    "in place": (lambda x, y: x.clone().sub_(y, alpha=0.1), (2000,), (2000,)),
    "into another": (lambda x, y: torch.add(x, y, alpha=0.1, out=torch.empty_like(x)), (2000,), (2000,)),
    "softmax": (lambda x: x.softmax(0), (4096, 3)),
    "log_softmax": (lambda x: x.log_softmax(1), (3, 4096)),
    "batch": (lambda x: F.batch_norm(x, None, None, training=True), (16, 8, 9, 9)),
    "instances": (F.instance_norm, (4, 3, 16, 16)),
    "linear1d": (lambda x: F.interpolate(x, size=31, mode="linear"), (2, 3, 20)),
    "bicubic": (lambda x: F.interpolate(x, size=(33, 31), mode="bicubic"), (2, 3, 20, 20)),
    "trilinear": (lambda x: F.interpolate(x, size=(7, 8, 9), mode="trilinear"), (2, 3, 4, 5, 6)),
    "pool3d": (lambda x: F.adaptive_avg_pool3d(x, 3), (2, 3, 9, 8, 7)),
    "fold": (lambda x: F.fold(x, (12, 12), 3), (2, 36, 100)),
    "nll": (lambda x: F.nll_loss(x, LABELS.to(x.device)), (700, 9)),
    "bags": (lambda x: F.embedding_bag(WORDS.to(x.device).view(4, 100), x, mode="mean"), (6, 8)),
    "transposed": (F.conv_transpose2d, (2, 64, 8, 8), (64, 16, 3, 3)),
    "convolution": (F.conv3d, (2, 16, 6, 6, 6), (8, 16, 3, 3, 3)),
}
GRADIENTS = {
    **{name: CALLS[name] for name in ("batch", "transposed", "convolution", "bags")},
    "glu": (F.glu, (5000,)),
    "embedding": (lambda x: F.embedding(WORDS.to(x.device), x), (6, 8)),
    "pooled": (lambda x: F.avg_pool2d(x, 3, stride=1), (2, 3, 9, 9)),
}
both = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


@both
@pytest.mark.parametrize("name", CALLS)
def test_what_cuda_rounds_once_is_rounded_once(name, dtype):
    call, *shapes = CALLS[name]
    given = [values(*shape).to("cuda", dtype) for shape in shapes]
    out = call(*given)
    assert (out.dtype, out.device.type) == (dtype, "cuda")
    assert torch.equal(out, call(*(value.float() for value in given)).to(dtype))


@both
@pytest.mark.parametrize("name", GRADIENTS)
def test_so_are_gradients(name, dtype):
    call, *shapes = GRADIENTS[name]
    given = [values(*shape).to("cuda", dtype).requires_grad_() for shape in shapes]
    wide = [value.detach().float().requires_grad_() for value in given]
    out, exact = call(*given), call(*wide)
    towards = values(*out.shape).to("cuda", dtype)
    found, expected = (
        torch.autograd.grad(out, given, towards),
        torch.autograd.grad(exact, wide, towards.float()),
    )
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.dtype, mine.device.type) == (dtype, "cuda")
        assert torch.equal(mine, theirs.to(dtype))


@both
def test_so_are_those_of_group_normalization_and_of_softmax(dtype):
    """Of what the forward kept, which was rounded."""
    aten = torch.ops.aten
    x, y = values(4, 64, 256).to("cuda", dtype), values(4, 64, 256).to("cuda", dtype).flip(0)
    _, *kept = aten.native_group_norm(y, None, None, 4, 64, 256, 8, 1e-5)
    rest = (None, 4, 64, 256, 8, [True, False, False])
    found = aten.native_group_norm_backward(x, y, *kept, *rest)[0]
    expected = aten.native_group_norm_backward(
        x.float(), y.float(), *(value.float() for value in kept), *rest
    )
    assert torch.equal(found, expected[0].to(dtype))
    x, y = values(8, 4096).to("cuda", dtype), values(8, 4096).softmax(1).to("cuda", dtype)
    out = aten._softmax_backward_data(x, y, 1, dtype)
    assert torch.equal(out, aten._softmax_backward_data(x.float(), y.float(), 1, torch.float32).to(dtype))


@both
def test_a_product_of_hundreds_and_a_logit_are_exact(dtype):
    x = (values(8, 400) * 0.02 + 1).to("cuda", dtype)
    assert torch.equal(x.prod(1), x.float().prod(1).to(dtype)) and torch.equal(
        x.prod(), x.float().prod().to(dtype)
    )
    assert x.prod(1, dtype=torch.float32).dtype == torch.float32
    y = values(2000).sigmoid().to("cuda", dtype)
    assert torch.equal(y.logit(), y.float().logit().to(dtype))
    assert torch.equal(y.rsqrt(), y.float().rsqrt().to(dtype))


@both
def test_a_convolution_adds_its_bias_to_what_it_has_rounded(dtype):
    """aten/src/ATen/native/Convolution.cpp: `output.add_(reshape_bias(input.dim(), bias))` behind cuDNN's kernel."""
    x, weight, bias = (values(*shape).to("cuda", dtype) for shape in ((2, 8, 9, 9), (5, 8, 3, 3), (5,)))
    rounded = F.conv2d(x.float(), weight.float()).to(dtype)
    assert torch.equal(F.conv2d(x, weight, bias), rounded + bias[:, None, None])
    with pytest.raises(RuntimeError, match="expected bias to be 1-dimensional with 5 elements"):
        F.conv2d(x, weight, bias[:4])


def test_a_convolution_may_be_called_by_names():
    x, weight = (values(*shape).to("cuda", torch.float16) for shape in ((2, 8, 9, 9), (5, 8, 3, 3)))
    rest = {
        "stride": [1, 1],
        "padding": [0, 0],
        "dilation": [1, 1],
        "transposed": False,
        "output_padding": [0, 0],
        "groups": 1,
    }
    out = torch.ops.aten.convolution.default(x, weight=weight, bias=None, **rest)
    assert torch.allclose(out.float(), F.conv2d(x.float(), weight.float()), rtol=0.01, atol=0.01)


@both
def test_batch_normalization_keeps_single_precision_statistics(dtype):
    x = values(16, 3, 5, 5).to("cuda", dtype)
    layer, exact = nn.BatchNorm2d(3).to("cuda", dtype), nn.BatchNorm2d(3).to("cuda")
    assert torch.equal(layer(x), exact(x.float()).to(dtype))
    for name in ("running_mean", "running_var"):
        mine, theirs = getattr(layer, name), getattr(exact, name)
        assert (mine.dtype, mine.device.type) == (dtype, "cuda") and torch.equal(mine, theirs.to(dtype))
    _, *statistics = torch.native_batch_norm(x, None, None, None, None, True, 0.1, 1e-5)
    assert {(value.dtype, value.device.type) for value in statistics} == {(torch.float32, "cuda")}


@both
@pytest.mark.parametrize("ways", [{"foreach": True}, {"foreach": False}, {"fused": True}], ids=str)
def test_an_optimizer_takes_its_numbers_in_single_precision(ways, dtype):
    weights = [values(50).to("cuda", dtype).requires_grad_() for _ in range(2)]
    before, gradient = weights[0].detach().clone(), values(50).to("cuda", dtype)
    for weight in weights:
        weight.grad = gradient.clone()
    torch.optim.SGD(weights, lr=0.1, **ways).step()
    expected = (before.float() - 0.1 * gradient.float()).to(dtype)
    assert all(torch.equal(weight, expected) and weight.device.type == "cuda" for weight in weights)


def test_a_result_that_is_written_to_keeps_its_identity_and_its_shape():
    x = torch.ones(3, dtype=torch.float16, device="cuda")
    out = torch.empty(0, dtype=torch.float16, device="cuda")
    assert torch.add(x, 0.1, out=out) is out and out.shape == (3,) and out.device.type == "cuda"
    assert x.add_(x, alpha=0.1) is x and x.tolist() == [torch.tensor(1.1).half().item()] * 3


def test_nothing_of_it_is_kept_until_garbage_is_collected():
    x = torch.ones(1_000_000, dtype=torch.bfloat16, device="cuda")
    gc.disable()
    try:
        held = torch.cuda.memory_allocated()
        for _ in range(2):
            torch._foreach_add_([x.clone()], 0.1)
            F.softmax(x.clone(), 0)
        assert torch.cuda.memory_allocated() == held
    finally:
        gc.enable()


def test_the_cpus_own_are_as_they_were(card):
    x = values(2000).half()
    here = (x + 0.1, x.add(x, alpha=0.1), x.log_softmax(0))
    card.stop()
    assert all(map(torch.equal, here, (x + 0.1, x.add(x, alpha=0.1), x.log_softmax(0))))


def test_the_table_names_operators_that_there_are():
    names = [*dtypes.rounding(), "convolution"]
    assert all(hasattr(torch.ops.aten, name) or hasattr(torch.ops.aten, f"{name}_") for name in names)
