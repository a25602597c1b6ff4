"""What PyTorch's C++ writes: CUDA's error texts with its own advice, and the names of dtypes."""

import torch

RELEASE = tuple(int(part) for part in torch.__version__.split(".")[:2])
ASYNCHRONOUS = (
    "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.\n"
    "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
)
DEBUG = "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
_ADVICE = ASYNCHRONOUS + DEBUG
INITIALIZATION = f"CUDA error: initialization error\n{_ADVICE}"
HANDLE = f"CUDA error: invalid resource handle\n{_ADVICE}"
ORDINAL = (
    f"CUDA error: invalid device ordinal\nGPU device may be out of range, do you have enough GPUs?\n{_ADVICE}"
)

SCALAR_TYPES = {  # c10/core/ScalarType.h
    torch.bool: "Bool",
    torch.uint8: "Byte",
    torch.int8: "Char",
    torch.int16: "Short",
    torch.int32: "Int",
    torch.int64: "Long",
    torch.float16: "Half",
    torch.float32: "Float",
    torch.float64: "Double",
    torch.bfloat16: "BFloat16",
    torch.complex32: "ComplexHalf",
    torch.complex64: "ComplexFloat",
    torch.complex128: "ComplexDouble",
    torch.uint16: "UInt16",
    torch.uint32: "UInt32",
    torch.uint64: "UInt64",
    torch.float8_e4m3fn: "Float8_e4m3fn",
    torch.float8_e4m3fnuz: "Float8_e4m3fnuz",
    torch.float8_e5m2: "Float8_e5m2",
    torch.float8_e5m2fnuz: "Float8_e5m2fnuz",
    torch.float8_e8m0fnu: "Float8_e8m0fnu",
    torch.float4_e2m1fn_x2: "Float4_e2m1fn_x2",
}
# Those of torch.FloatTensor and its kin.
LEGACY = ("Byte", "Char", "Short", "Int", "Long", "Half", "Float", "Double")
# Those for which torch.cuda has a class of tensors.
CLASSES = (*LEGACY, "Bool", "BFloat16")
NCCL_VERSION = (2, 27, 5)  # what PyTorch 2.9's wheels for CUDA 12 ask for: nvidia-nccl-cu12==2.27.5
