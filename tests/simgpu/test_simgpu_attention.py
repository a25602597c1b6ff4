"""Which of CUDA's kernels for attention a call gets: by card, type, shape and switch; and what programs ask of cuDNN first."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from devicelab import simulate_gpu
from devicelab.errors import SimulationError
from devicelab.simgpu.rules import attention

MATH, FLASH, EFFICIENT, CUDNN = (
    SDPBackend.MATH,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
)
NAMES = {FLASH: "flash", EFFICIENT: "efficient", CUDNN: "cudnn"}
T4, V100, A100 = "Tesla T4", "Tesla V100-SXM2-16GB", "NVIDIA A100-SXM4-80GB"
half, bfloat16, float32, float64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
# Which types each kernel takes (cuda/sdp_utils.cpp, can_use_...).
TAKES = {
    T4: {FLASH: [], EFFICIENT: [half, float32], CUDNN: []},
    V100: {FLASH: [], EFFICIENT: [half, float32], CUDNN: []},
    A100: {FLASH: [half, bfloat16], EFFICIENT: [half, bfloat16, float32], CUDNN: [half, bfloat16]},
}


def tensors(dtype=float32, shape=(2, 2, 8, 16), **kwargs):
    return [torch.randn(shape, device="cuda").to(dtype).requires_grad_(**kwargs) for _ in range(3)]


def why(call):
    """Return the warnings of a call that no kernel takes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(RuntimeError, match=r"No available kernel\. Aborting execution\."):
            call()
    return [str(one.message) for one in caught]


def can_use(kernel, query, key, value, mask=None, dropout=0.0, causal=False, gqa=False):
    params = torch.backends.cuda.SDPAParams(query, key, value, mask, dropout, causal, gqa)
    return getattr(torch.backends.cuda, f"can_use_{NAMES[kernel]}_attention")(params)


@pytest.mark.parametrize("kernel", [FLASH, EFFICIENT, CUDNN])
@pytest.mark.parametrize("card", TAKES)
def test_a_kernel_runs_on_the_cards_and_types_that_it_is_written_for(card, kernel):
    with simulate_gpu(card), sdpa_kernel(kernel):
        for dtype in (half, bfloat16, float32, float64):
            query, key, value = tensors(dtype, requires_grad=False)
            takes = dtype in TAKES[card][kernel]
            assert can_use(kernel, query, key, value) == takes
            if takes:
                assert F.scaled_dot_product_attention(query, key, value).is_cuda
                assert torch._fused_sdp_choice(query, key, value) == kernel.value
            else:
                why(lambda q=query, k=key, v=value: F.scaled_dot_product_attention(q, k, v))


def test_the_warnings_say_why_each_kernel_cannot_be_used():
    with simulate_gpu(T4), sdpa_kernel(FLASH):
        assert why(lambda: F.scaled_dot_product_attention(*tensors())) == [
            "Memory efficient kernel not used because:",
            "Memory Efficient attention has been runtime disabled.",
            "Flash attention kernel not used because:",
            "Flash attention only supports gpu architectures in the range [sm80, sm121]. Attempting to run on a sm 7.5 gpu.",
            "cuDNN attention kernel not used because:",
            "cuDNN attention has been runtime disabled.",
        ]
    with simulate_gpu(A100), sdpa_kernel(FLASH):
        assert (
            "Expected query, key and value to all be of dtype: {Half, BFloat16}. Got Query dtype: float, Key dtype: float, "
            "and Value dtype: float instead."
        ) in why(lambda: F.scaled_dot_product_attention(*tensors()))


def refused(**change):
    return {"shape": (2, 2, 8, 16), "dtype": half, "mask": None, "dropout": 0.0, "causal": False} | change


CASES = {
    "a mask": (FLASH, refused(mask=(8, 8)), "does not support non-null attn_mask"),
    "wide heads": (
        FLASH,
        refused(shape=(2, 2, 8, 264)),
        "less than or equal to 256. Got Query.size.-1.: 264",
    ),
    "another number of keys": (
        FLASH,
        refused(keys=4, causal=True),
        "seqlen_q != seqlen_k. Got seqlen_q: 8 seqlen_k: 4",
    ),
    "five dimensions": (
        EFFICIENT,
        refused(shape=(2, 2, 2, 8, 16)),
        "to be 4 dimensional, but got Query dim: 5",
    ),
    "odd heads": (EFFICIENT, refused(shape=(2, 2, 8, 12)), "last dimension of inputs to be divisible by 8"),
    "no keys": (EFFICIENT, refused(keys=0), "do not support zero seq_len_q or seq_len_kv"),
    "strides": (EFFICIENT, refused(transposed=True), "have stride 1. Got Query.stride.-1.: 8"),
    "heads of 136": (CUDNN, refused(shape=(2, 2, 8, 136)), "head_dim should be no more than 128"),
    "a fine dropout": (CUDNN, refused(dropout=0.1), "multiple of 1/16"),
    "one key": (CUDNN, refused(keys=1), "does not support key/value sequence length 1"),
}


@pytest.mark.parametrize(("kernel", "case", "words"), CASES.values(), ids=CASES)
def test_what_a_kernel_cannot_do_is_refused_with_its_reason(kernel, case, words):
    with simulate_gpu(A100), sdpa_kernel(kernel):
        query, key, value = tensors(case["dtype"], case["shape"], requires_grad=False)
        if "keys" in case:
            key, value = key[:, :, : case["keys"]], value[:, :, : case["keys"]]
        if "transposed" in case:
            query, key, value = (
                x.transpose(-1, -2).contiguous().transpose(-1, -2) for x in (query, key, value)
            )
        mask = case["mask"] and torch.ones(case["mask"], dtype=case["dtype"], device="cuda")
        reasons = why(
            lambda: F.scaled_dot_product_attention(query, key, value, mask, case["dropout"], case["causal"])
        )
        with pytest.raises(AssertionError, match=words):
            raise AssertionError(reasons)
        assert not can_use(kernel, query, key, value, mask, case["dropout"], case["causal"])


def test_wide_heads_train_on_the_cards_of_computing_centres_only():
    for card, trains in (("NVIDIA GeForce RTX 4090", False), (A100, True)):
        with simulate_gpu(card):
            query, key, value = tensors(half, (1, 1, 8, 224))
            assert can_use(FLASH, query, key, value) == trains
            with torch.no_grad():
                assert can_use(FLASH, query, key, value)


@pytest.mark.parametrize("card", [T4, A100])
def test_values_and_gradients_are_those_of_the_parts_whatever_kernel_runs(card):
    results = []
    with simulate_gpu(card):
        torch.manual_seed(0)
        inputs = tensors()
        for kernel in (MATH, EFFICIENT):
            with sdpa_kernel(kernel):
                out = F.scaled_dot_product_attention(*inputs, is_causal=True)
            results.append([out, *torch.autograd.grad(out.sum(), inputs)])
        assert torch.backends.cuda.flash_sdp_enabled() and torch.backends.cuda.math_sdp_enabled()
    torch.testing.assert_close(*results)


def test_where_all_kernels_are_off_pytorch_says_so():
    with (
        simulate_gpu(T4),
        sdpa_kernel(SDPBackend.OVERRIDEABLE),
        pytest.raises(RuntimeError, match="No viable backend for scaled_dot_product_attention was found"),
    ):
        F.scaled_dot_product_attention(*tensors())


def test_on_the_cpu_its_own_kernels_are_chosen():
    query = torch.randn(1, 2, 8, 16)
    with simulate_gpu(T4):
        assert not can_use(EFFICIENT, query, query, query)
        with sdpa_kernel(FLASH):
            assert not F.scaled_dot_product_attention(query, query, query).is_cuda


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_attend_and_train(layout):
    with simulate_gpu(T4):
        rows = [torch.randn(3, 2, 8), torch.randn(5, 2, 8)]
        nested = torch.nested.nested_tensor(rows, layout=layout, device="cuda").transpose(1, 2)
        out = F.scaled_dot_product_attention(nested, nested, nested).transpose(1, 2)
        for one, row in zip(out.unbind(), rows, strict=True):
            row = row.cuda().transpose(0, 1)
            torch.testing.assert_close(one, F.scaled_dot_product_attention(row, row, row).transpose(0, 1))
        weight = torch.randn(4, 8, device="cuda", requires_grad=True)
        F.linear(
            torch.nested.nested_tensor([row[:, 0] for row in rows], layout=layout, device="cuda"), weight
        )


@pytest.mark.parametrize(("card", "oldest"), [(T4, 91002), (V100, 91002)])
def test_cudnn_is_there_in_the_version_that_pytorchs_wheel_requires(card, oldest):
    cudnn = torch.backends.cudnn
    with simulate_gpu(card):
        assert cudnn.is_available() and cudnn.version() >= oldest
        assert cudnn.version() == attention.cudnn_version(torch.cuda.get_device_capability())
        assert cudnn.is_acceptable(torch.ones(1, device="cuda")) and not cudnn.is_acceptable(torch.ones(1))
        assert not cudnn.is_acceptable(torch.ones(1, device="cuda", dtype=torch.int64))
        with cudnn.flags(enabled=False):
            assert not cudnn.is_acceptable(torch.ones(1, device="cuda"))
        assert torch.nn.LSTM(3, 4).cuda()(torch.ones(2, 2, 3, device="cuda"))[0].is_cuda


def test_the_runtime_has_the_names_that_pytorch_binds():
    with simulate_gpu(T4):
        runtime = torch.cuda.cudart()
        assert runtime.cudaProfilerStart() == runtime.cudaProfilerStop() == runtime.cudaError.success
        assert runtime.cudaGetErrorString(runtime.cudaError.success) == "no error"
        free, total = runtime.cudaMemGetInfo(0)
        assert 0 < free < total
        torch.cuda.check_error(runtime.cudaError.success)
        with pytest.raises(torch.cuda.CudaError, match="out of memory"):
            torch.cuda.check_error(2)
        for name in ("cudaStreamCreate", "cudaStreamDestroy", "cudaHostRegister", "cudaHostUnregister"):
            with pytest.raises(SimulationError, match=f"{name} is not simulated. Use t"):
                getattr(runtime, name)(0)
        assert not hasattr(runtime, "cudaMalloc")
