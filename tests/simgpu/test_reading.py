"""Every sentence by which the simulated GPU refuses something is read, with the devices that it names."""

import ast
import importlib
import re
from pathlib import Path

import pytest
import test_simgpu_errors as tables
import yaml

from devicelab import simgpu
from devicelab.explain.reading import read
from devicelab.explain.wordings import _MISMATCHES, DTYPE, MISMATCH, WORDINGS
from devicelab.simgpu.rules import nondeterministic
from devicelab.verdict import is_mismatch

TEXTS = yaml.safe_load((Path(__file__).parents[1] / "data" / "explain_texts.yaml").read_text("utf-8"))
ROOT = Path(simgpu.__file__).parent
DEVICE = re.compile(r"(?<![\w.])(?:cpu|meta|cuda(?::\d+)?)(?![\w.])")

TABLED = {case["message"] for case in tables.GENUINE.values()} | set(tables.DERIVED.values())
# Sentences that stand in no table: the devices that are to be read, and the family.
FURTHER = {
    "All tensors must be on devices[0]: 0": (MISMATCH, set()),
    "hook '<lambda>' has changed the type of value (was torch.cuda.FloatTensor got torch.FloatTensor)": (
        MISMATCH,
        {"cuda", "cpu"},
    ),
    "attempting to assign a gradient with device type 'cuda' to a tensor with device type 'cpu'. Please ensure that the "
    "gradient and the tensor are on the same device": ("gradient", {"cuda", "cpu"}),
    "attempting to assign a gradient located on device with index 1 to a tensor located on device with index 0. Please "
    "ensure that the gradient and the tensor are on the same device": ("gradient", {"cuda:1", "cuda:0"}),
    "device type cuda does not match device type of out parameter (cpu)": (MISMATCH, {"cuda", "cpu"}),
    "Expected data.get_device() == lengths_value.get_device() to be true, but got false.  (Could this error message be "
    "improved?  If so, please report an enhancement request to PyTorch.)": (MISMATCH, set()),
    "found_inf must be on the same GPU device as the params": (MISMATCH, set()),
    "params, grads, exp_avgs, and exp_avg_sqs must have same dtype, device, and layout": (MISMATCH, set()),
    "cholesky_solve: Expected result and input tensors to be on the same device, but got result on cuda:0 and input on cpu": (
        MISMATCH,
        {"cuda:0", "cpu"},
    ),
    "linalg_solve: Expected the output and input tensors to be on the same device, but got the output tensor on cpu, the "
    "'input' tensor on cuda:0, and the 'other' tensor on cuda:0": (MISMATCH, {"cuda:0", "cpu"}),
    "tensordot: Expected the output and input tensors to be on the same device, but got the output tensor on cpu, input "
    "tensor a on cuda:0, and input tensor b on cuda:0": (MISMATCH, {"cuda:0", "cpu"}),
    "Expected tensor to have cuda DeviceType, but got tensor with cpu DeviceType (while checking arguments for inner())": (
        MISMATCH,
        {"cuda", "cpu"},
    ),
    "expected device 'cuda:0' but got 'cpu' for min output": (MISMATCH, {"cuda:0", "cpu"}),
    "multi_dot(): expected out tensor to be on device cuda:0 but got cpu": (MISMATCH, {"cuda:0", "cpu"}),
    "expected device cuda:0 but found cpu": (MISMATCH, {"cuda:0", "cpu"}),
    "Expected scalars to be on CPU, got cuda:0 instead.": ("scalars", {"cuda:0"}),
    "Expected a 'cpu' generator device but found 'cuda'": ("generator", {"cuda", "cpu"}),
    "Expected a 'cpu' device type for generator but found 'cuda'": ("generator", {"cuda", "cpu"}),
    "Expected a 'cuda' device type for generator but found 'cpu'": ("generator", {"cuda", "cpu"}),
    "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.": (
        "numpy",
        {"cuda:0"},
    ),
    "Only dense CPU tensors can be pinned": ("pin", set()),
    "CPU Scalar support for tensor1 argument is not supported when calling addcmul on CUDA tensors. However, CPU Scalar "
    "support for tensor2 is supported, please swap your tensor1 and tensor2 terms.": (
        MISMATCH,
        {"cpu", "cuda"},
    ),
    "can't alias tensor from device 'cpu' to 'cuda:0'.": ("alias", {"cpu", "cuda:0"}),
    'Attempted to set the storage of a tensor on device "cuda:0" to a storage on different device "cpu".  This is no '
    "longer allowed; the devices must match.": (MISMATCH, {"cpu", "cuda:0"}),
    "type <class 'torch.cuda.FloatTensor'> not available. Torch not compiled with CUDA enabled.": (
        "cpu build",
        set(),
    ),
    "Could not run 'aten::histogram.bin_ct' with arguments from the 'CUDA' backend. This could be because the operator "
    "doesn't exist for this backend, or was omitted during the selective/custom build process (if using custom build). If "
    "you are a Facebook employee using PyTorch on mobile, please visit https://fburl.com/ptmfixes for possible resolutions. "
    "'aten::histogram.bin_ct' is only available for these backends: [CPU].": ("operator", {"cuda"}),
    "Expected weight to have type Float but got Half": (DTYPE, set()),
    "invalid dtype for bias - should match query's dtype": (DTYPE, set()),
    "CUDA error: invalid device ordinal": ("ordinal", set()),
    "CUDA error: initialization error": ("fork", set()),
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 14.58 GiB": (
        "memory",
        {"cuda"},
    ),
    "CUDA out of memory. Tried to allocate more than 1EB memory.": ("memory", {"cuda"}),
    "map_: expected torch.FloatTensor for 'other' (got torch.cuda.FloatTensor)": (MISMATCH, {"cpu", "cuda"}),
}
# The device that a sentence asks for is not where anything is; some name devices in capitals.
ASKED_FOR = {
    **{message: {"cuda", "cpu"} for message in TABLED if message.startswith("add: expected")},
    "indices should be either on cpu or on the same device as the indexed tensor (cuda:0)": {"cuda:0"},
    "tensor_split expected tensor_indices_or_sections to be on cpu, but it's on cuda:0": {"cuda:0"},
}
# What the simulated GPU raises that says nothing about where a tensor is: shapes, dtypes, events, streams, arguments.
NOT_ABOUT_DEVICES = (
    "the derivative for '_cudnn_rnn_backward' is not implemented. Double backwards is not supported for CuDNN RNNs due to "
    "limitations in the CuDNN API. To run double backwards, please disable the CuDNN backend temporarily while running the "
    "forward pass of your RNN. For example: ",
    "cudnn RNN backward can only be called in training mode",
    "expected state to be 'state', 'all', or None",
    "expected context to be 'state', 'alloc', 'all', or None",
    "expected stacks to be 'python', or 'all'",
    "invalid device pointer: 0x7f0000000000",
    "Tensors must be contiguous",
    "Tensors must be CUDA and dense",
    "output tensor must have the same type as input tensor",
    "output tensor size must be equal to world_size times input tensor size",
    "Unconvertible NCCL type Short",
    "Input tensor data type is not supported for NCCL process group: Short",
    "Unsupported Float8 type for NCCL reduction",
    "PreMulSum Data type must be half, float, bfloat16 or double",
    "Cannot use ReduceOp.AVG with boolean inputs",
    "ProcessGroupNCCL does not support recvAnysource",
    "ProcessGroupNCCL::gather: invalid tensor type at index 0 (expected CUDAFloatType, got CPUFloatType)",
    "Expected all input tensors to be CUDA tensors, but tensor at index 1 has device cpu",
    "No backend type associated with device type cpu",  # the catalogue says what it means
    "called a synchronizing CUDA operation",
    "Device index value 5 is out of index range [0, 2)",
    "Event device 0 does not match recording stream's device 1.",
    "Both events must be created with argument 'enable_timing=True'.",
    "Both events must be recorded before calculating elapsed time.",
    "Both events must be completed before calculating elapsed time.",
    "Invalid device, must be cuda device",
    "RNG state must be a torch.ByteTensor",
    "RNG state must be contiguous",
    "RNG state is wrong size",
    "expected a torch.ByteTensor, but got list",
    "offset must be a multiple of 4",
    "CUDA error: invalid resource handle",
    "\"ufunc_add_CUDA\" not implemented for 'UInt16'",
    "torch._scaled_mm is only supported on CUDA devices with compute capability >= 9.0 or 8.9, or ROCm MI300+",
    "conversion is supported for Half type only",
    "Multiplication of two Float8_e5m2 matrices is not supported",
    "legacy constructor expects device type: cuda but device type: cpu was passed",
    "torch.linalg.lstsq: `driver` other than `gels` is not supported on CUDA",
    "torch.linalg.svd: unknown svd driver gels in svd_cusolver computation. Check doc at "
    "https://pytorch.org/docs/stable/generated/torch.linalg.svd.html",
    "expected scalar type Half but found Float",
    "Expected tensor for argument #1 'input' to have the same type as tensor for argument #2 'weight'; but type "
    "torch.cuda.FloatTensor does not equal torch.cuda.HalfTensor (while checking arguments for cudnn_batch_norm)",
    "Input and hidden tensors are not the same dtype, found input tensor with Float and hidden tensor with Half",
    "Unsupported device in DLTensor.",
    "No available kernel. Aborting execution.",
    "num_classes should be positive",
    "cuFFT only supports dimensions whose sizes are powers of two when computing in half precision, but got a signal size of[3]",
    "cufft_get_plan_cache_size: expected 0 <= device_index < 1], but got device_index=3",
    "cuFFT plan cache size must be non-negative, but got -1",
    "out_dtype must be the same as input dtype or fp32 for fp16/bf16 inputs",
    "the shapes of a sparse tensor's parts depend on values",
    "Can't export tensors that require gradient, use tensor.detach()",
    "Can't export tensors with the conjugate bit set",
    "Unexpected floating ScalarType in at::autocast::prioritize",
    "Invalid device argument 3: did you call init?",
    "Allocator backend parsed at runtime != allocator backend parsed at load time, cudaMallocAsync != native",
    "apply_ is only implemented on CPU tensors",  # and says not where this one is
    "map2_ is only implemented on CPU tensors",
    # Whether a tensor is in the wrong place, or the constructor is the wrong one, it does not say.
    "expected TensorOptions(dtype=float, device=cpu, layout=Strided, requires_grad=false (default), pinned_memory=false "
    "(default), memory_format=(nullopt)) (got TensorOptions(dtype=float, device=cuda:0, layout=Strided, requires_grad=false "
    "(default), pinned_memory=false (default), memory_format=(nullopt)))",
    "Expected mat2 to be of dimension 2 but got 3",
    "self.size(0) needs to be greater than 16, but got 16",
    "mat2.size(1) needs to be greater than 0 and a multiple of 8, but got 7",
    "self.size(1) needs to match mat2.size(0) but got 8 and 16",
    "expected scalar type Char but found Byte",
    f"cumsum_cuda_kernel{nondeterministic.ERROR}",
    "median() cannot operate on more than 25 dimensions",
    "NYI: CUDA sspaddmm is not implemented",
    "_share_filename_: only available on CPU",  # these name a way of sharing, not where a tensor should be
    "_share_cuda_: only available on CUDA",
    "Not available for 'meta' device type",
)


def devices_in(message: str) -> set[str]:
    """Return the devices that a message names, "torch.cuda.FloatTensor" among them."""
    kinds = re.findall(r"torch\.(cuda\.)?\w+Tensor", message)
    return set(DEVICE.findall(message)) | {"cuda" if kind else "cpu" for kind in kinds}


ABOUT_SHAPES = {message for message in tables.SHAPE_FIRST.values() if not DEVICE.search(message)}


@pytest.mark.parametrize("message", sorted(TABLED - ABOUT_SHAPES))
def test_each_tabled_refusal_is_read_as_a_mismatch_with_its_devices(message):
    found = read(message)
    assert found is not None and found.is_misplaced and is_mismatch(f"RuntimeError: {message}")
    if "cannot pin" in message:
        assert found.devices == ("cuda",)
    else:
        assert set(found.devices) == ASKED_FOR.get(message, devices_in(message))


@pytest.mark.parametrize("message", FURTHER)
def test_each_further_refusal_is_read_as_what_it_is(message):
    found = read(message)
    family, devices = FURTHER[message]
    assert (found.family, set(found.devices)) == (family, devices)


@pytest.mark.parametrize("message", [*NOT_ABOUT_DEVICES, *sorted(ABOUT_SHAPES, key=str)])
def test_what_says_nothing_about_devices_is_not_taken_for_it(message):
    found = read(message)
    assert (found is None or found.family == DTYPE) and not is_mismatch(message)


RAISES = (
    "RuntimeError",
    "NotImplementedError",
    "TypeError",
    "ValueError",
    "BufferError",
    "AcceleratorError",
    "OutOfMemoryError",
)
# Words that are put together elsewhere: a parameter, a method or a table, whose sentences stand above or say nothing of devices.
ELSEWHERE = {
    "message",
    "self._words(wanted)",
    "lists.BANNED[_name(op)]",
    "row['says'].format(name)",
    "NONE.format(func._schema.name, found[1])",
    "UNKNOWN.format(driver)",
}


def raised() -> list[tuple[str, str]]:
    """Return the words of every error of torch's that the simulated GPU raises, as a pattern, with the file's name."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            call = node.exc if isinstance(node, ast.Raise) else node
            if not isinstance(call, ast.Call) or not call.args:
                continue
            name = ast.unparse(call.func).rpartition(".")[2]
            refuses = name == "refuse" or (isinstance(node, ast.Raise) and name in RAISES)
            if refuses and ast.unparse(call.args[0]) not in ELSEWHERE:
                found.append((pattern_of(call.args[0], path), path.name))
    return sorted(set(found))


def pattern_of(node: ast.expr, path: Path) -> str:
    """Return a pattern of what an expression can say; a name stands for the constant of its module."""
    if isinstance(node, ast.Constant):
        return re.escape(str(node.value))
    if isinstance(node, ast.JoinedStr):
        return "".join(pattern_of(part, path) for part in node.values)
    if isinstance(node, ast.BinOp):
        return pattern_of(node.left, path) + pattern_of(node.right, path)
    if isinstance(node, ast.IfExp):
        return f"(?:{pattern_of(node.body, path)}|{pattern_of(node.orelse, path)})"
    if isinstance(node, ast.Name):
        module = ".".join(path.relative_to(ROOT.parents[1]).with_suffix("").parts)
        return re.escape(getattr(importlib.import_module(module), node.id).splitlines()[0])
    return ".*"


@pytest.mark.parametrize(("pattern", "file"), raised())
def test_no_refusal_is_forgotten(pattern, file):
    """A new sentence fails here until it stands in one of the tables above, which say how it is to be read."""
    assert pattern.strip(".*"), f"{file} raises words that nobody sees here"
    known = (*TABLED, *FURTHER, *NOT_ABOUT_DEVICES)
    said = [message for message in known if re.fullmatch(pattern, message, re.DOTALL)]
    assert said


def test_the_refusals_are_found():
    assert len(raised()) > 40


SENTENCES = [
    *TABLED,
    *FURTHER,
    *(case["text"] for case in TEXTS.values()),
    "PyTorch is not linked with support for mps devices",
]


@pytest.mark.parametrize(("number", "wording"), [*enumerate(pattern.pattern for _, pattern in WORDINGS)])
def test_each_wording_is_the_one_that_reads_some_sentence(number, wording):
    texts = [" ".join(text.split()) for text in SENTENCES]
    first = {next((at for at, (_, one) in enumerate(WORDINGS) if one.search(text)), None) for text in texts}
    assert number in first


def test_each_wording_of_a_mismatch_says_which_releases_use_it():
    for releases, wording in _MISMATCHES:
        assert re.fullmatch(r"\d\.(\d+|x)( to \d\.\d+| and newer)?", releases), wording


def test_what_is_raised_today_is_read_by_a_wording_of_today():
    today = [
        pattern
        for (releases, _), (_, pattern) in zip(_MISMATCHES, WORDINGS, strict=False)
        if releases.endswith("newer")
    ]
    for message in TABLED - ABOUT_SHAPES:
        if read(message).family == MISMATCH:
            assert any(one.search(message) for one in today), message
