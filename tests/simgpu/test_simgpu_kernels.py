"""Kernels that only one of CUDA and the CPU has: for a type, a kind of tensor, or at all. Refused, served, never passed over."""

import zlib
from functools import partial

import opdb
import pytest
import torch
import torch.nn.functional as F

from devicelab import simulate_gpu
from devicelab.errors import SimulationError
from devicelab.simgpu.machine.texts import SCALAR_TYPES
from devicelab.simgpu.rules import dtypes, published
from devicelab.simgpu.run import only

half, bfloat16, long, byte = torch.float16, torch.bfloat16, torch.int64, torch.uint8
complex32, complex64, boolean = torch.complex32, torch.complex64, torch.bool


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("T4") as simulation:
        yield simulation


def ones(*size, dtype=torch.float32):
    return torch.ones(size, dtype=torch.float32, device="cuda").to(dtype)


def lacks(kernel, dtype):
    return f"\"{kernel}\" not implemented for '{dtype}'"


def coo(dtype=half):
    return torch.eye(2).to_sparse().cuda().to(dtype)


def under_autocast(call):
    with torch.autocast("cuda"):
        return call()


BASE, FILL = "cuda_scatter_gather_base_kernel_func", "cuda_scatter_fill_base_kernel_func"


def in_complex(name):
    return getattr(torch, name)(ones(3, dtype=torch.complex64))


REFUSED = {  # each with CUDA's words
    "igamma": (lambda: torch.igamma(ones(3, dtype=half), ones(3, dtype=half)), lacks("igamma_cuda", "Half")),
    "igamma_": (lambda: ones(3, dtype=half).igamma_(ones(3, dtype=half)), lacks("igamma_cuda", "Half")),
    "gammaincc": (
        lambda: torch.special.gammaincc(ones(3, dtype=bfloat16), ones(3, dtype=bfloat16)),
        lacks("igammac_cuda", "BFloat16"),
    ),
    **{
        name: (partial(in_complex, name), lacks(f"{name}_cuda", "ComplexFloat"))
        for name in ("digamma", "erf", "erfc", "erfinv", "lgamma")
    },
    "layer normalization of integers": (
        lambda: F.layer_norm(ones(3, dtype=torch.int64), (3,)),
        lacks("LayerNormKernelImpl", "Long"),
    ),
    "angle": (lambda: ones(3, dtype=half).angle(), lacks("angle_cuda", "Half")),
    "histc of halves": (lambda: ones(3, dtype=half).histc(3), "HalfTensor is not supported"),
    "histc of bfloat16": (lambda: torch.histc(ones(3, dtype=bfloat16)), lacks("histc", "BFloat16")),
    "bilinear": (
        lambda: F.interpolate(ones(1, 1, 4, 4, dtype=byte), size=2, mode="bilinear"),
        lacks("upsample_bilinear2d_out_frame", "Byte"),
    ),
    "bicubic": (
        lambda: F.interpolate(ones(1, 1, 4, 4, dtype=byte), size=2, mode="bicubic"),
        lacks("upsample_bicubic2d_out_frame", "Byte"),
    ),
    "antialiased": (
        lambda: F.interpolate(ones(1, 1, 4, 4, dtype=byte), size=2, mode="bicubic", antialias=True),
        lacks("upsample_bilinear2d_out_frame", "Byte"),
    ),
    "F.bilinear": (
        lambda: F.bilinear(ones(2, 3, dtype=long), ones(2, 3, dtype=long), ones(1, 3, 3, dtype=long)),
        lacks("baddbmm_cuda", "Long"),
    ),
    "scatter_reduce": (
        lambda: ones(3, dtype=boolean).scatter_reduce(0, ones(1, dtype=long), ones(1, dtype=boolean), "amax"),
        lacks(BASE, "Bool"),
    ),
    "scatter_reduce_": (
        lambda: ones(3, dtype=boolean).scatter_reduce_(
            0, ones(1, dtype=long), ones(1, dtype=boolean), "prod"
        ),
        lacks(BASE, "Bool"),
    ),
    "scatter_": (
        lambda: ones(3, dtype=complex64).scatter_(
            0, ones(1, dtype=long), ones(1, dtype=complex64), reduce="multiply"
        ),
        lacks(BASE, "ComplexFloat"),
    ),
    "scatter_ a number": (
        lambda: ones(3, dtype=complex64).scatter_(0, ones(1, dtype=long), 2.0, reduce="multiply"),
        lacks(FILL, "ComplexFloat"),
    ),
    "avg_pool1d": (
        lambda: F.avg_pool1d(ones(1, 1, 4, dtype=long), 2),
        lacks("avg_pool2d_out_cuda_frame", "Long"),
    ),
    "avg_pool3d": (
        lambda: F.avg_pool3d(ones(1, 1, 4, 4, 4, dtype=long), 2),
        lacks("avg_pool3d_out_cuda", "Long"),
    ),
    "max_pool2d": (
        lambda: F.max_pool2d(ones(1, 1, 4, 4, dtype=byte), 2),
        lacks("max_pool2d_with_indices_out_cuda_frame", "Byte"),
    ),
    "max_pool3d": (
        lambda: F.max_pool3d(ones(1, 1, 4, 4, 4, dtype=long), 2),
        lacks("max_pool3d_with_indices_out_frame", "Long"),
    ),
    "dropout": (
        lambda: torch.ops.aten.native_dropout_backward(ones(3, dtype=long), ones(3, dtype=boolean), 2.0),
        lacks("masked_scale", "Long"),
    ),
    "conv1d": (
        lambda: F.conv1d(ones(1, 1, 4, dtype=long), ones(1, 1, 2, dtype=long)),
        "getCudnnDataTypeFromScalarType() not supported for Long",
    ),
    "a product of truths": (
        lambda: ones(2, 2, dtype=boolean) @ ones(2, 2, dtype=boolean),
        lacks("addmm_cuda", "Bool"),
    ),
    "softmax": (lambda: F.softmax(ones(3, dtype=long), 0), lacks("host_softmax", "Long")),
    "cross_entropy": (
        lambda: F.cross_entropy(ones(2, 3, dtype=long), ones(2, dtype=long)),
        lacks("host_softmax", "Long"),
    ),
    "gelu": (lambda: F.gelu(ones(3, dtype=long)), lacks("GeluCUDAKernelImpl", "Long")),
    "cdist": (
        lambda: torch.cdist(ones(1, 2, 3, dtype=half), ones(1, 2, 3, dtype=half)),
        lacks("cdist_cuda", "Half"),
    ),
    "conv of truths": (
        lambda: F.conv2d(ones(1, 1, 4, 4, dtype=boolean), ones(1, 1, 2, 2, dtype=boolean)),
        "getCudnnDataTypeFromScalarType() not supported for Bool",
    ),
    "conv of bytes": (
        lambda: F.conv2d(ones(1, 1, 4, 4, dtype=byte), ones(1, 1, 2, 2, dtype=byte)),
        dtypes.UNKNOWN.format("convolution", "Byte"),
    ),
    "fft": (
        lambda: torch.fft.fft(ones(6, dtype=half)),
        "cuFFT only supports dimensions whose sizes are powers of two when computing in half precision, but got a signal "
        "size of[6]",
    ),
    "fft in its parts": (
        lambda: torch._refs.fft.irfft(ones(4, dtype=complex32), n=6),
        "cuFFT only supports dimensions whose sizes are powers of two when computing in half precision, but got a signal "
        "size of[6]",
    ),
    "sparse.mm": (lambda: torch.sparse.mm(coo(), ones(2, 3, dtype=half)), lacks("addmm_sparse_cuda", "Half")),
    "sparse @": (lambda: coo(bfloat16) @ ones(2, 3, dtype=bfloat16), lacks("addmm_sparse_cuda", "BFloat16")),
    "dense @ sparse": (lambda: ones(3, 2, dtype=half) @ coo(), lacks("addmm_sparse_cuda", "Half")),
    "sparse @ under autocast": (
        lambda: under_autocast(lambda: coo(torch.float32) @ ones(2, 3)),
        lacks("addmm_sparse_cuda", "Half"),
    ),
    "sparse.mm under autocast": (
        lambda: under_autocast(lambda: torch.sparse.mm(coo(torch.float32), ones(2, 3))),
        lacks("addmm_sparse_cuda", "Half"),
    ),
    "smm": (
        lambda: torch.smm(coo(torch.float32), ones(2, 3)),
        "NYI: CUDA sspaddmm is not implemented",
    ),
}


@pytest.mark.filterwarnings("ignore:The reduce argument of torch.scatter")
@pytest.mark.parametrize(("call", "words"), REFUSED.values(), ids=REFUSED)
def test_a_type_that_cudas_kernel_lacks_is_refused_in_its_words(call, words):
    with pytest.raises(RuntimeError) as caught:  # NotImplementedError is one
        call()
    assert str(caught.value) == words


def test_what_is_refused_writes_nothing():
    x = ones(3, dtype=boolean)
    with pytest.raises(NotImplementedError):
        x.scatter_reduce_(0, ones(1, dtype=long), ones(1, dtype=boolean) > 1, "prod", include_self=False)
    assert x.all()


def test_empty_tensors_need_no_kernel():
    assert ones(0, dtype=half).angle().is_cuda


SERVED = {
    "avg_pool3d": lambda: F.avg_pool3d(ones(1, 1, 4, 4, 4, dtype=half), 2),
    "multi_margin": lambda: F.multi_margin_loss(ones(2, 3, dtype=half), ones(2, dtype=long)),
    "multilabel_margin": lambda: F.multilabel_margin_loss(ones(2, 3, dtype=half), ones(2, 3, dtype=long)),
    "rrelu": lambda: F.rrelu(-ones(4, dtype=half), training=True),
    "fft": lambda: torch.fft.fft(ones(2, 8, dtype=half)).real,
    "rfft": lambda: torch.fft.rfft(ones(6, dtype=half), n=4).real,
    "irfft": lambda: torch.fft.irfft(ones(5, dtype=complex32)),
    "exp": lambda: ones(3, dtype=complex32).exp(),
    "exp_": lambda: ones(3, dtype=complex32).exp_(),
    "exp(out=)": lambda: torch.exp(
        ones(3, dtype=complex32), out=torch.empty(0, dtype=complex32, device="cuda")
    ),
    "abs": lambda: ones(3, dtype=boolean).abs(),
    "histc": lambda: torch.histc(ones(3, dtype=long), 3),
    "nansum": lambda: (ones(3, 2, dtype=complex64) / 0).nansum(1, keepdim=True),
    "sparse + sparse": lambda: coo() + coo(),
    "dense - sparse": lambda: ones(2, 2, dtype=half) - coo(),
    "sparse.add_": lambda: coo().add_(coo()),
    "sparse @ sparse": lambda: coo() @ coo(),
    "csr @ dense": lambda: coo().to_sparse_csr() @ ones(2, 3, dtype=half),
    "csr @ vector": lambda: coo().to_sparse_csr() @ ones(2, dtype=half),
    "addmm of csr": lambda: torch.addmm(
        ones(2, 3, dtype=half), coo().to_sparse_csr(), ones(2, 3, dtype=half)
    ),
}


@pytest.mark.parametrize("call", SERVED.values(), ids=SERVED)
def test_a_type_that_only_cuda_has_a_kernel_for_is_computed_in_a_wider_one(call):
    out = call()
    assert out.is_cuda and out.dtype in (half, complex32, complex64, boolean, long)


def test_wider_values_and_gradients_are_rounded_ones():
    x = torch.rand(1, 1, 4, 4, 4, device="cuda").half().requires_grad_()
    F.avg_pool3d(x, 2).sum().backward()
    assert x.grad.dtype == half and x.grad.eq(0.125).all()
    assert ones(3, 3, dtype=boolean).trace().item() == 3
    assert torch.histc(torch.arange(6, device="cuda"), 3).tolist() == [2, 2, 2]
    torch.testing.assert_close(
        torch.fft.fft(ones(4, dtype=half)).to(complex64).cpu(), torch.fft.fft(torch.ones(4))
    )


def test_a_type_that_neither_is_known_to_have_is_refused_in_words_of_our_own():
    with pytest.raises(
        NotImplementedError, match=r"linalg_qr is not implemented for 'Half' on the simulated GPU: the CPU"
    ):
        torch.linalg.qr(ones(2, 2, dtype=half))
    with pytest.raises(NotImplementedError, match=r"_cpu"):  # the CPU's own words for the CPU's own tensor
        torch.ones(3, dtype=complex32).exp()


def one_sided():
    """Return entries of PyTorch's database with a type that only one side has, and whether that is CUDA."""
    found = []
    for op in opdb.op_db:
        cpu, cuda = op.supported_dtypes("cpu"), op.supported_dtypes("cuda")
        for by_cuda, types in ((False, cpu - cuda), (True, cuda - cpu)):
            # of bfloat16 the database asks the card that is there
            known = sorted((dtype for dtype in types if dtype in SCALAR_TYPES and dtype != bfloat16), key=str)
            if known and "attention_forward" not in op.name and "batch_norm" not in op.name:
                found.append((op, known, by_cuda))
    return found


def function(op):
    """Return the operator's function, by the name under which a program calls it."""
    return getattr(torch.fft, op.name.removeprefix("fft.")) if op.name.startswith("fft.") else op.op


FORMS = ("einsum", "inner", "tensordot", "norm.inf", "histogram")  # have forms that need no such kernel


@pytest.mark.filterwarnings("ignore")
def test_the_operator_database_agrees_about_which_types_are_refused():
    wrong = []
    for op, known, by_cuda in one_sided():
        if zlib.crc32(opdb.name_of(op).encode()) % 10 >= 10 * max(opdb.FRACTION, 0.3):
            continue
        for dtype in known if opdb.FRACTION == 1 else known[:1]:
            samples = op.sample_inputs("cpu", dtype, requires_grad=False)
            ran = 0
            for sample, _ in zip(samples, range(2), strict=False):
                first, rest, named = opdb.on("cuda", (sample.input, sample.args, sample.kwargs))
                try:
                    out = function(op)(first, *rest, **named)
                    ran += any(tensor.numel() for tensor in opdb.tensors(out))
                except RuntimeError as error:
                    refused = "powers of two" in str(error) or "float8" in str(
                        dtype
                    )  # both stand on the page
                    if by_cuda and not refused:
                        wrong.append(f"{op.name} of {dtype}: {error}")
            if ran and not by_cuda and opdb.name_of(op) not in FORMS:
                wrong.append(f"{op.name} of {dtype} ran")
    assert not wrong, "\n".join(wrong)


def alone():
    """Return the operators of native_functions.yaml that CUDA has and a CPU build has not."""
    names = []
    for name, entry in published.published().items():
        origin = published.published().get(entry.get("structured_delegate", ""), {})
        base, _, overload = name.partition(".")
        func = getattr(getattr(torch.ops.aten, base, None), overload or "default", None)
        if func is None or not published.dispatch_keys(entry) | published.dispatch_keys(origin):
            continue
        if not only.runs_here(f"aten::{name}"):
            names.append(name)
    return names


def filled(argument):
    """Return a value for an argument of an operator."""
    kind = str(argument.real_type)
    if argument.name == "device":
        return torch.device("cuda")
    if argument.has_default_value() and "Tensor" not in kind:
        return argument.default_value
    values = {
        "Tensor": lambda: torch.ones(2, 2, device="cuda"),
        "Optional[Tensor]": lambda: None,
        "List[Tensor]": lambda: [torch.ones(2, 2, device="cuda")] * 4,
        "List[Optional[Tensor]]": lambda: [torch.ones(2, 2, device="cuda")],
        "number": lambda: 1.0,
        "Scalar": lambda: 1.0,
        "float": lambda: 0.5,
        "bool": lambda: False,
        "ScalarType": lambda: torch.float32,
        "str": lambda: "",
    }
    if kind.startswith("Optional"):
        return None
    return values[kind]() if kind in values else [1] * 2 if kind.startswith("List") else 1


@pytest.mark.filterwarnings("ignore")
def test_every_operator_that_only_cuda_has_is_served_or_refused_in_words():
    names = alone()
    refused = served = 0
    for name in names:
        base, _, overload = name.partition(".")
        func = getattr(getattr(torch.ops.aten, base), overload or "default")
        arguments = func._schema.arguments
        args = [filled(argument) for argument in arguments if not argument.kwarg_only]
        kwargs = {argument.name: filled(argument) for argument in arguments if argument.kwarg_only}
        try:
            out = func(*args, **kwargs)
        except SimulationError as error:
            assert f"torch.ops.aten.{name} is a kernel that only CUDA has, and is not simulated" in str(error)
            refused += 1
        except (RuntimeError, ValueError, IndexError) as error:
            assert "Could not run" not in str(error), name
            served += 1  # and says what is wrong with these arguments
        else:
            assert out is None or all(tensor.is_cuda for tensor in opdb.tensors(out)), name
            served += 1
    assert refused + served == len(names) and len(names) > 70
    assert refused > 60


def test_a_derived_form_of_such_an_operator_is_refused_too():
    with pytest.raises(SimulationError, match="_thnn_fused_gru_cell"):
        torch.ops.aten._thnn_fused_gru_cell.out(
            *[ones(2, 3)] * 3, out0=torch.empty(0, device="cuda"), out1=torch.empty(0, device="cuda")
        )


@pytest.mark.skipif(not hasattr(torch.ops.aten.mm, "dtype"), reason="younger than this PyTorch")
def test_a_product_of_halves_into_single_precision():
    a = ones(2, 2, dtype=half)
    assert torch.mm(a, a, out_dtype=torch.float32).dtype == torch.float32
    assert torch.bmm(a[None], a[None], out_dtype=torch.float32).tolist() == [[[2, 2], [2, 2]]]
    assert torch.addmm(ones(2, 2), a, a, out_dtype=torch.float32).tolist() == [[3, 3], [3, 3]]
    with pytest.raises(
        RuntimeError, match="out_dtype must be the same as input dtype or fp32 for fp16/bf16 inputs"
    ):
        torch.mm(ones(2, 2), ones(2, 2), out_dtype=half)
    with pytest.raises(RuntimeError, match="mat2 is on cpu, different from other tensors on cuda:0"):
        torch.mm(a, a.cpu(), out_dtype=torch.float32)


INT_MM = {  # Blas.cpp, _int_mm_out_cuda: (sizes of the first, of the second, type) and the words
    "self.size(0) needs to be greater than 16, but got 16": ((16, 8), (8, 8), torch.int8),
    "self.size(1) needs to be greater than 0 and a multiple of 8, but got 9": ((17, 9), (9, 8), torch.int8),
    "self.size(1) needs to be greater than 0 and a multiple of 8, but got 0": ((17, 0), (0, 8), torch.int8),
    "self.size(1) needs to match mat2.size(0) but got 8 and 16": ((17, 8), (16, 8), torch.int8),
    "mat2.size(1) needs to be greater than 0 and a multiple of 8, but got 7": ((17, 8), (8, 7), torch.int8),
    "Expected self to be of dimension 2 but got 1": ((17,), (8, 8), torch.int8),
    "Expected mat2 to be of dimension 2 but got 3": ((17, 8), (8, 8, 1), torch.int8),
    "expected scalar type Char but found Byte": ((17, 8), (8, 8), byte),
}


@pytest.mark.parametrize("words", INT_MM)
def test_a_product_of_bytes_has_the_sizes_that_cublas_takes(words):
    first, second, dtype = INT_MM[words]
    given = ones(*first, dtype=dtype), ones(*second, dtype=dtype)
    with pytest.raises(RuntimeError) as met:
        torch._int_mm(*given)
    assert str(met.value) == words


def test_a_product_of_bytes_is_made():
    bytes_ = partial(ones, dtype=torch.int8)
    made = torch._int_mm(bytes_(17, 8), bytes_(8, 16))
    assert (made.is_cuda, made.dtype, made.unique().tolist()) == (True, torch.int32, [8])
    assert torch._int_mm(bytes_(2, 3).cpu(), bytes_(3, 2).cpu()).tolist() == [[3, 3], [3, 3]]
    with pytest.raises(RuntimeError, match="mat2 is on cpu, different from other tensors on cuda:0"):
        torch._int_mm(bytes_(17, 8), bytes_(8, 16).cpu())


CPUS_ALONE = {
    "from_file": lambda: torch.from_file("none", size=1, device="cuda"),
    "to_mkldnn": lambda: ones(3).to_mkldnn(),
    "_add_relu.Tensor": lambda: torch._VF._add_relu(ones(3), ones(3)),
    "histogram.bin_ct": lambda: torch.histogram(ones(3), 3),
}


@pytest.mark.parametrize("name", CPUS_ALONE)
def test_what_only_the_cpu_has_is_refused_as_the_dispatcher_does(name):
    words = f"Could not run 'aten::{name}' with arguments from the 'CUDA' backend"
    with pytest.raises(NotImplementedError, match=words):
        CPUS_ALONE[name]()


@pytest.mark.filterwarnings("ignore")
def test_quantized_tensors_lie_on_the_card_and_their_arithmetic_is_refused():
    x = torch.quantize_per_tensor(ones(3), 0.1, 0, torch.quint8)
    assert x.is_cuda and x.dequantize().is_cuda and x.int_repr().is_cuda
    for call in (lambda: x.mean(0), lambda: x.sigmoid(), lambda: x + x):
        with pytest.raises(NotImplementedError, match="with arguments from the 'QuantizedCUDA' backend"):
            call()
    with pytest.raises(SimulationError, match="namespace quantized are not simulated on a card"):
        torch.ops.quantized.add(x, x, 0.1, 0)
    assert ones(3).mean(0).item() == 1  # the operator itself is as ever
    assert torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8).mean(0).device.type == "cpu"


@pytest.mark.filterwarnings("ignore")
def test_a_dynamically_quantized_model_does_not_run_on_the_card():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    quantized = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear})
    assert quantized(torch.ones(1, 2)).shape == (1, 2)
    words = "Could not run 'quantized::linear_dynamic' with arguments from the 'CUDA' backend"
    with pytest.raises(NotImplementedError, match=words):
        quantized(ones(1, 2))


def test_a_sparse_tensor_that_an_operator_lacks_is_called_by_cudas_name():
    with pytest.raises(NotImplementedError, match="with arguments from the 'SparseCUDA' backend"):
        torch.eye(3).to_sparse().cuda().cos()


def test_an_operator_of_somebody_that_fails_is_run_once():
    calls = []

    @torch.library.custom_op("devicelab_test::fails", mutates_args=())
    def fails(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return (1).shape  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="'int' object has no attribute 'shape'"):
        fails(ones(2))
    assert calls == [1]


@pytest.fixture
def t4():
    with simulate_gpu("Tesla T4"):
        yield


def test_softmax_of_halves_into_single_precision_is_cudas_alone(t4):
    halves = torch.rand(3, 3, device="cuda").half()
    for softmax in (torch._softmax, torch._log_softmax):
        wide = softmax(halves, 0, True)
        assert (wide.dtype, wide.device.type) == (torch.float32, "cuda")
        assert torch.equal(wide, softmax(halves.float(), 0, False))
        with pytest.raises(RuntimeError, match=r"^conversion is supported for Half type only$"):
            softmax(halves.float(), 0, True)
        with pytest.raises(RuntimeError, match="conversion is not supported on CPU"):
            softmax(halves.cpu(), 0, True)


def test_cudnns_grid_sampler_samples_in_its_one_way(t4):
    image, grid = (torch.rand(1, n, 4, n, device="cuda", requires_grad=True) for n in (2, 2))
    sampled = torch.cudnn_grid_sampler(image, grid)
    assert torch.equal(sampled, F.grid_sample(image, grid, align_corners=True))
    sampled.sum().backward()
    assert image.grad.is_cuda and grid.grad.is_cuda
    with pytest.raises(RuntimeError, match="expected input and grid to be on same device"):
        torch.cudnn_grid_sampler(image, grid.cpu())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_samples_of_small_types_are_rounded_once(t4, dtype):
    image, grid = (
        torch.randn(2, 3, 8, 8, device="cuda").to(dtype),
        torch.rand(2, 5, 5, 2, device="cuda").to(dtype),
    )
    for mode in ("bilinear", "nearest", "bicubic"):
        found, exact = (
            F.grid_sample(one, other, mode=mode, align_corners=False)
            for one, other in ((image, grid), (image.double(), grid.double()))
        )
        assert found.dtype == dtype
        torch.testing.assert_close(found, exact.to(dtype))
    grid_of_another_type = grid.float()
    with pytest.raises(RuntimeError, match="expected scalar type"):
        F.grid_sample(image, grid_of_another_type, align_corners=False)
