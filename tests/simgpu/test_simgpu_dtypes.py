"""Types on the card: what CUDA's kernels do not have, and what they say of unlike types. No word of the CPU's shows."""

import itertools
import re
import zlib

import opdb
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from devicelab import simulate_gpu
from devicelab.simgpu.machine.texts import SCALAR_TYPES
from devicelab.simgpu.rules import dtypes

half, float32 = torch.float16, torch.float32
e4m3, e5m2 = torch.float8_e4m3fn, torch.float8_e5m2
EXPECTED = "expected scalar type Half but found Float"
YOUNG = [dtype for dtype, name in SCALAR_TYPES.items() if name.startswith(dtypes.YOUNG)]
CPU = re.compile(r"cpu|mkldnn|onednn|mkl", re.IGNORECASE)


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("T4") as simulation:
        yield simulation


def ones(*size, dtype=float32):
    """Return ones on the card; bytes of one where a type has no ones."""
    made = torch.ones(size, device="cuda")
    return made.to(torch.uint8).view(dtype) if dtype is torch.float4_e2m1fn_x2 else made.to(dtype)


def raised(call):
    """Return what a call raises."""
    with pytest.raises(RuntimeError) as caught:  # NotImplementedError is one
        call()
    return str(caught.value)


GENUINE = {  # as users met them: of eight bits kijai/ComfyUI and torchao, of unsigned integers sglang
    "add": (lambda: ones(2, dtype=e4m3) + ones(2, dtype=e4m3), "ufunc_add_CUDA", "Float8_e4m3fn"),
    "add_": (lambda: ones(2, dtype=torch.uint32).add_(1), "ufunc_add_CUDA", "UInt32"),
    "sub": (lambda: ones(2, dtype=torch.uint16) - 1, "ufunc_add_CUDA", "UInt16"),
    "mul": (lambda: ones(2, dtype=e5m2) * 2, "mul_cuda", "Float8_e5m2"),
    "matmul": (lambda: ones(16, 16, dtype=e4m3) @ ones(16, 16, dtype=e4m3), "addmm_cuda", "Float8_e4m3fn"),
    "linear": (
        lambda: torch.nn.Linear(16, 16, bias=False).cuda().to(e4m3)(ones(16, 16, dtype=e4m3)),
        "addmm_cuda",
        "Float8_e4m3fn",
    ),
}


MADE = {
    "arange": (lambda: torch.arange(3, device="cuda", dtype=e4m3), "arange_cuda"),
    "randn": (lambda: torch.randn(3, device="cuda", dtype=e4m3), "normal_kernel_cuda"),
    "normal_": (lambda: torch.empty(3, device="cuda", dtype=e4m3).normal_(), "normal_kernel_cuda"),
    "rand": (lambda: torch.rand(3, device="cuda", dtype=e4m3), "check_uniform_bounds"),
}


@pytest.mark.parametrize(("call", "kernel"), MADE.values(), ids=MADE)
def test_what_makes_no_young_type_on_a_card_says_so_in_cudas_words(call, kernel):
    assert raised(call) == f"\"{kernel}\" not implemented for 'Float8_e4m3fn'"


@pytest.mark.parametrize(("call", "kernel", "dtype"), GENUINE.values(), ids=GENUINE)
def test_a_genuine_message_about_a_young_type_comes_word_for_word(call, kernel, dtype):
    assert raised(call) == f"\"{kernel}\" not implemented for '{dtype}'"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", YOUNG if opdb.FRACTION == 1 else YOUNG[::3], ids=str)
def test_an_operator_without_a_kernel_for_a_young_type_never_answers_as_the_cpu(dtype):
    refused = 0
    for op in opdb.op_db:
        if op.name not in dtypes.table()["young"]:
            continue
        sample = next(iter(op.sample_inputs("cpu", float32)))
        sample = sample.transform(lambda x: ones(3, 4, 4, dtype=dtype) if isinstance(x, torch.Tensor) else x)
        try:
            op(sample.input, *sample.args, **sample.kwargs)
        except (RuntimeError, ValueError, IndexError) as error:
            refused += 1
            assert not CPU.search(str(error).partition("on the simulated GPU: the CPU")[0]), error
    assert refused > 30


def test_products_of_eight_bits_need_a_card_that_has_them():
    def product(dtype):
        scale, x = ones(1), ones(16, 16, dtype=dtype)
        return torch._scaled_mm(x, x.t(), scale, scale, out_dtype=torch.bfloat16)

    assert "compute capability >= 9.0 or 8.9" in raised(lambda: product(e4m3))
    with simulate_gpu("L4"):
        assert product(e4m3).eq(16).all()
        with pytest.raises(ValueError, match="two Float8_e5m2 matrices"):
            product(e5m2)


def of_halves(module):
    return module.cuda().half()


def attended(query, mask):
    return F.scaled_dot_product_attention(query, query, query, mask)


UNLIKE = {  # each with CUDA's words; of layer norms pytorch/pytorch issue 135969
    "layer norm, half input": (lambda: nn.LayerNorm(2).cuda()(ones(2, 2, dtype=half)), EXPECTED),
    "layer norm, half weight": (
        lambda: of_halves(nn.LayerNorm(2))(ones(2, 2)),
        "expected scalar type Float but found Half",
    ),
    "layer norm, half bias": (
        lambda: F.layer_norm(ones(2, 2), (2,), ones(2), ones(2, dtype=half)),
        "expected scalar type Float but found Half",
    ),
    "group norm, half input": (lambda: nn.GroupNorm(1, 2).cuda()(ones(2, 2, dtype=half)), EXPECTED),
    # The function that says so serves both; users of CUDA meet it: Comfy-Org/ComfyUI-Manager issue 618.
    "group norm, half weight": (
        lambda: of_halves(nn.GroupNorm(1, 2))(ones(2, 2)),
        "mixed dtype (CPU): expect parameter to have scalar type of Float",
    ),
    "batch norm by cuDNN": (
        lambda: of_halves(nn.BatchNorm2d(2))(ones(2, 2, 2, 2)),
        "Expected tensor for argument #1 'input' to have the same type as tensor for argument #2 'weight'; but type "
        "torch.cuda.FloatTensor does not equal torch.cuda.HalfTensor (while checking arguments for cudnn_batch_norm)",
    ),
    "batch norm of rows": (
        lambda: of_halves(nn.BatchNorm1d(2))(ones(2, 2)),
        "Expected weight to have type Float but got Half",
    ),
    "attention": (
        lambda: attended(ones(1, 1, 2, 8, dtype=half), ones(2, 2)),
        "invalid dtype for bias - should match query's dtype",
    ),
    "matmul": (
        lambda: ones(2, 2) @ ones(2, 2, dtype=half),
        "expected mat1 and mat2 to have the same dtype, but got: float != c10::Half",
    ),
    "linear without bias": (
        lambda: of_halves(nn.Linear(2, 2, bias=False))(ones(1, 2)),
        "expected mat1 and mat2 to have the same dtype, but got: float != c10::Half",
    ),
    "linear": (
        lambda: of_halves(nn.Linear(2, 2))(ones(1, 2)),
        "mat1 and mat2 must have the same dtype, but got Float and Half",
    ),
    "convolution without bias": (
        lambda: nn.Conv2d(1, 1, 3, bias=False).cuda()(ones(1, 1, 4, 4, dtype=half)),
        "Input type (torch.cuda.HalfTensor) and weight type (torch.cuda.FloatTensor) should be the same",
    ),
    "embedding": (
        lambda: nn.Embedding(3, 2).cuda()(ones(2)),
        "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
        "torch.cuda.FloatTensor instead (while checking arguments for embedding)",
    ),
    "lstm": (
        lambda: nn.LSTM(2, 2).cuda()(ones(1, 1, 2), (ones(1, 1, 2, dtype=half), ones(1, 1, 2, dtype=half))),
        "Input and hidden tensors are not the same dtype, found input tensor with Float and hidden tensor with Half",
    ),
    "sort": (
        lambda: ones(3, dtype=torch.complex64).sort(),
        "Sort currently does not support complex dtypes on CUDA.",
    ),
    "topk": (lambda: ones(3, dtype=torch.bool).topk(1), "\"topk_out_cuda\" not implemented for 'Bool'"),
}


@pytest.mark.parametrize(("call", "words"), UNLIKE.values(), ids=UNLIKE)
def test_unlike_types_are_refused_in_cudas_words(call, words):
    assert raised(call) == words


def test_unlike_types_that_cuda_takes_are_computed():
    assert nn.BatchNorm2d(2).cuda()(ones(2, 2, 2, 2, dtype=half)).dtype == half
    assert nn.RMSNorm(2).cuda()(ones(2, 2, dtype=torch.bfloat16)).is_cuda
    assert nn.LayerNorm(2).cuda()(ones(0, 2, dtype=half)).numel() == 0
    with torch.autocast("cuda"):
        assert nn.LayerNorm(2).cuda()(ones(2, 2, dtype=half)).dtype == float32
        assert attended(ones(1, 1, 2, 8, dtype=half), ones(2, 2)).dtype == half
        assert nn.LSTM(2, 2).cuda()(ones(1, 1, 2), [ones(1, 1, 2, dtype=half)] * 2)[0].dtype == half


def test_the_cpus_tensors_get_the_cpus_words():
    assert "m1 and m2" in raised(lambda: torch.ones(2, 2) @ torch.ones(2, 2).half())
    assert "but got torch.FloatTensor" in raised(lambda: nn.Embedding(3, 2)(torch.ones(2)))
    assert "mixed dtype (CPU)" in raised(lambda: nn.LayerNorm(2).half()(torch.ones(2, 2)))


OTHERS = (half, torch.float64, torch.bfloat16, torch.bool)
ELSEWHERE = {  # which CUDA words so as well, or lacks and says so by the dispatcher
    "nn.functional.group_norm": "mixed dtype (CPU)",
    "native_group_norm": "mixed dtype (CPU)",
    "histogram": "Could not run 'aten::histogram.",
    "histogramdd": "Could not run 'aten::_histogramdd_",
}


@pytest.mark.filterwarnings("ignore")
def test_no_operand_of_another_type_is_answered_in_the_cpus_words():
    wrong = []
    for op in opdb.op_db:
        if opdb.FRACTION < 1 and zlib.crc32(opdb.name_of(op).encode()) % 10 >= 3:
            continue
        if "sparse" in op.name or float32 not in op.dtypes:
            continue
        sample = next(iter(op.sample_inputs("cpu", float32)), None)
        if sample is not None:
            values, tree = tree_flatten(opdb.on("cuda", (sample.input, sample.args, sample.kwargs)))
            wrong += [f"{op.name}: {said}" for said in said_of(op, values, tree)]
    assert not wrong, "\n".join(wrong)


def said_of(op, values, tree):
    """Return the words of the CPU's in the errors of a call with one operand after the other in another type."""
    for place, dtype in itertools.product(range(len(values)), OTHERS):
        if not isinstance(values[place], torch.Tensor):
            continue
        changed = [*values[:place], values[place].detach().to(dtype), *values[place + 1 :]]
        first, args, kwargs = tree_unflatten(changed, tree)
        try:
            op(first, *args, **kwargs)
        except Exception as error:
            said = str(error).partition("on the simulated GPU: the CPU")[0]
            if CPU.search(said) and not said.startswith(ELSEWHERE.get(op.name, "no such")):
                yield f"{dtype} at {place}: {said}"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_layer_normalization_of_halves_keeps_single_precision_statistics(dtype):
    """cuda/layer_norm_kernel.cu: `acc_type` is that of the mean and of the deviation."""
    with simulate_gpu("T4"):
        x, weight = torch.randn(3, 5, 8).cuda().to(dtype), torch.rand(8).cuda().to(dtype)
        out, *statistics = torch.native_layer_norm(x, (8,), weight, weight, 1e-5)
        assert (out.dtype, *(value.dtype for value in statistics)) == (dtype, torch.float32, torch.float32)
        assert all(value.device.type == "cuda" for value in (out, *statistics))
        gradients = []
        for kind in (dtype, torch.float32):
            given, factor = (value.clone().to(kind).requires_grad_() for value in (x, weight))
            torch.nn.functional.layer_norm(given, (8,), factor).backward(x.to(kind))
            gradients.append((given.grad.to(dtype), factor.grad.to(dtype)))
        assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
        assert {one.device.type for one in gradients[0]} == {"cuda"}
