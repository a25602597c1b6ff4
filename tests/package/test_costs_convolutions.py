"""What convolutions and normalisations cost: their products, Winograd's way, tensor cores, and the order of the channels."""

import pytest
import torch
from torch.utils.flop_counter import flop_registry

import devicelab as lab
from devicelab.costs import CardCosts
from devicelab.gpus import find
from devicelab.operators import kind_of, traffic

aten = torch.ops.aten
T4, A100 = CardCosts(find("Tesla T4")), CardCosts(find("NVIDIA A100-SXM4-80GB"))


def meta(*shape, dtype=torch.float32, last=False):
    order = torch.channels_last if last else torch.contiguous_format
    return torch.empty(shape, device="meta", dtype=dtype, memory_format=order)


def convolution(batch, into, out, size, kernel=3, stride=1, groups=1, transposed=False, **how):
    """Return (function, arguments, result) of a convolution that keeps the size, but for its stride."""
    image = meta(batch, into, size, size, **how)
    weight = meta(into if transposed else out, (out if transposed else into) // groups, kernel, kernel, **how)
    args = (image, weight, None, [stride] * 2, [kernel // 2] * 2, [1, 1], transposed, [0, 0], groups)
    length = (size - 1) * stride + 1 if transposed else -(-size // stride)
    return aten.convolution.default, args, meta(batch, out, length, length, **how)


def backward(call, mask=(True, True, False)):
    """Return the same for the gradients."""
    _, (image, weight, _, *how), out = call
    args = (out, image, weight, None, *how, list(mask))
    results = (image if mask[0] else None, weight if mask[1] else None, None)
    return aten.convolution_backward.default, args, results


def seconds(costs, call):
    function, args, out = call
    return costs.operator(function, args, {}, out).work


CALLS = [
    convolution(8, 3, 16, 32), convolution(2, 64, 128, 56, kernel=1), convolution(4, 64, 64, 28, stride=2),
    convolution(4, 64, 64, 28, groups=4), convolution(4, 64, 64, 28, groups=64),
    convolution(2, 32, 16, 14, stride=2, transposed=True),
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS, ids=["first", "1x1", "strided", "grouped", "depthwise", "transposed"])
def test_forward_is_counted_as_torch_counts_it_and_each_gradient_takes_as_much(call):
    function, args, out = call
    counted = T4.operator(function, args, {}, out).flops
    assert counted == flop_registry[aten.convolution](*args, out_val=out)
    for mask, times in (((True, True, False), 2), ((False, True, True), 1), ((False, False, True), 0)):
        found = T4.operator(*backward(call, mask)[:2], {}, backward(call, mask)[2])
        assert found.flops == times * counted and found.work > 0


def test_winograd_s_way_is_quicker_for_large_images_in_float32_and_is_for_plain_3_by_3_kernels_only():
    product = 2 * 32 * 56 * 56 * 64 * 64 * 9 * T4.per_flop(torch.float32, 0)
    assert seconds(T4, convolution(32, 64, 64, 56)) < 0.75 * product
    assert seconds(T4, convolution(32, 64, 64, 56, kernel=5)) > 0.95 * product * 25 / 9
    assert seconds(T4, convolution(32, 64, 64, 112, stride=2)) > 0.95 * product


def test_float32_uses_tensor_cores_where_the_flag_and_the_card_allow_it():
    call, taken = convolution(32, 256, 256, 28), {}
    for allowed in (True, False):
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=allowed):
            taken[allowed] = seconds(T4, call), seconds(A100, call)
    assert taken[True][0] == taken[False][0] and taken[False][1] > 1.5 * taken[True][1]


def test_tensor_cores_want_the_channels_last_but_for_a_1_by_1_kernel():
    half = {"dtype": torch.float16}
    first, last = (convolution(32, 128, 128, 28, **half, last=last) for last in (False, True))
    assert seconds(T4, first) > 1.1 * seconds(T4, last)
    assert seconds(T4, backward(first)) > 1.1 * seconds(T4, backward(last))
    narrow = [convolution(32, 128, 128, 28, kernel=1, **half, last=last) for last in (False, True)]
    assert seconds(T4, narrow[0]) == seconds(T4, narrow[1])


def test_three_colours_cost_as_much_as_eight_channels_on_tensor_cores():
    three, eight = (
        convolution(256, count, 64, 56, kernel=7, dtype=torch.float16, last=True) for count in (3, 8)
    )
    assert seconds(T4, three) == pytest.approx(seconds(T4, eight), rel=0.1)


def test_one_channel_at_a_time_is_no_work_for_tensor_cores():
    half = convolution(64, 512, 512, 28, kernel=7, groups=512, dtype=torch.float16, last=True)
    assert seconds(T4, half) > 3 * T4.operator(half[0], half[1], {}, half[2]).flops * T4.per_flop(
        torch.float16, 0
    )


def test_normalisation_in_training_reads_an_image_twice_and_backward_its_gradient_too():
    image, line = meta(8, 16, 28, 28), meta(16)
    bytes_ = image.nbytes

    def moved(function, args, out):
        return traffic(kind_of(function).rule, args, out) // bytes_

    forward = aten.native_batch_norm.default
    assert moved(forward, (image, line, line, line, line, True, 0.1, 1e-5), (image, line, line)) == 3
    assert moved(forward, (image, line, line, line, line, False, 0.1, 1e-5), (image, line, line)) == 2
    given = (image, image, line, line, line, line, line, True, 1e-5, [True] * 3)
    assert moved(aten.native_batch_norm_backward.default, given, (image, line, line)) == 5


def test_images_with_their_channels_last_stay_so_in_an_estimate():
    def step(model, x):
        out = model(x)
        assert out.is_contiguous(memory_format=torch.channels_last) and not out.is_contiguous()
        out.sum().backward()
        gradient = model[0].weight.grad
        assert gradient.is_contiguous(memory_format=torch.channels_last)

    for device in ("meta", "cpu"):
        layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 1))
        model = layers.to(device=device, memory_format=torch.channels_last)
        x = torch.zeros(2, 3, 9, 9, device=device).contiguous(memory_format=torch.channels_last)
        assert lab.estimate(step, model, x).backward > 0


def test_attention_whose_heads_share_keys_stays_one_kernel():
    def attend(heads):
        key = torch.zeros(1, heads, 512, 64, device="meta", dtype=torch.bfloat16)
        query = torch.zeros(1, 8, 512, 64, device="meta", dtype=torch.bfloat16)
        return lambda: torch.nn.functional.scaled_dot_product_attention(
            query, key, key, is_causal=True, enable_gqa=True
        )

    shared, own = lab.estimate(attend(2)), lab.estimate(attend(8))
    assert shared.flops == own.flops == 4 * 8 * 512 * 512 * 64 and shared.operators == own.operators
