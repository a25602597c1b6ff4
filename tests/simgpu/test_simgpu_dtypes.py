"""Types on the card: what CUDA's kernels do not have, and what they say of unlike types. No word of the CPU's shows."""

import re

import opdb
import pytest
import torch

from devicelab import simulate_gpu
from devicelab.simgpu.machine.texts import SCALAR_TYPES
from devicelab.simgpu.rules import dtypes

half, float32 = torch.float16, torch.float32
e4m3, e5m2 = torch.float8_e4m3fn, torch.float8_e5m2
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
