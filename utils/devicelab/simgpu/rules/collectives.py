"""What NCCL refuses, in its words and torch's, and how many bytes a collective sends.

Sources: c10d/ProcessGroup.hpp (getBackend), c10d/ProcessGroupNCCL.cpp, NCCLUtils.hpp and NCCLUtils.cpp, c10d/Utils.hpp,
torch/csrc/cuda/nccl.cpp, NCCL's init.cc and enqueue.cc; the bytes: NVIDIA's nccl-tests, doc/PERFORMANCE.md, section
"Bandwidth".
"""

import re
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import torch

from devicelab.errors import SimulationError
from devicelab.simgpu.machine.texts import NCCL_VERSION, SCALAR_TYPES

BUS = 12  # bits by which NCCL shifts the number of a PCI bus
REDUCING = ("allreduce_", "allreduce_coalesced_", "reduce_", "reduce_scatter_", "_reduce_scatter_base_",
            "reduce_scatter_tensor_coalesced_")  # fmt: skip
WHOLE = ("_allgather_base_", "_reduce_scatter_base_", "allgather_into_tensor_coalesced_",
         "reduce_scatter_tensor_coalesced_")  # fmt: skip
BETWEEN_TWO = ("send", "recv_", "alltoall_", "alltoall_base_")  # made of sends, which look at less
BY_TORCH = (*BETWEEN_TWO, "gather_", "scatter_")  # whose types torch/csrc/cuda/nccl.cpp knows
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
FLOAT8_ELSEWHERE = (torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)
TYPES = (*FLOATS, torch.uint8, torch.int8, torch.int32, torch.int64, torch.bool, *FLOAT8, *FLOAT8_ELSEWHERE)
FLOAT8_FROM = (9, 0)  # the compute capability
FLOAT8_SUMS = (
    "NCCL adds float8 tensors on this card, but there is nothing here that does. Add them in bfloat16."
)
OF_BITS = ("BAND", "BOR", "BXOR")
APART = (
    "Detected non-contiguous tensor in P2P operations. It is user responsibility to guarantee that source and destination "
    "tensors have the same contiguity format."
)


def no_backend(kind: str) -> NoReturn:
    """Raise torch's error for tensors of a kind of device that a group has no backend for."""
    raise RuntimeError(f"No backend type associated with device type {kind}")


def check(name: str, tensor: torch.Tensor, is_on_card: bool, is_copied: bool = False) -> None:
    """Raise as NCCL's group does for a tensor of a collective; one that `is_copied` on the way may lie in pieces."""
    if not is_on_card or tensor.layout is not torch.strided:
        raise ValueError("Tensors must be CUDA and dense")
    check_type(name, tensor.dtype)
    if not is_copied:
        check_dense(name, tensor)


def check_type(name: str, dtype: torch.dtype) -> None:
    """Raise as NCCL's group does for a type that NCCL does not send."""
    if name in BY_TORCH:
        if dtype not in TYPES or dtype in FLOAT8_ELSEWHERE:
            raise RuntimeError(f"Unconvertible NCCL type {SCALAR_TYPES[dtype]}")
    elif dtype not in TYPES and not dtype.is_complex:  # which is seen as real
        raise TypeError(
            f"Input tensor data type is not supported for NCCL process group: {SCALAR_TYPES[dtype]}"
        )


def check_dense(name: str, tensor: torch.Tensor) -> None:
    """Raise as NCCL's group does for a tensor whose numbers do not lie one behind the other; of a send it warns."""
    if is_dense(tensor):
        return
    if name not in BETWEEN_TWO:
        raise ValueError("Tensors must be contiguous")
    warnings.warn(APART, UserWarning, stacklevel=2)


def is_dense(tensor: torch.Tensor) -> bool:
    """Say whether the numbers of a tensor lie one behind the other, in the order of a memory format."""
    layouts = (torch.contiguous_format, torch.channels_last)[: 2 if tensor.dim() == 4 else 1]
    return any(tensor.is_contiguous(memory_format=layout) for layout in layouts)


def check_list(name: str, listed: Sequence[torch.Tensor], one: torch.Tensor) -> None:
    """Raise as NCCL's group does where a tensor of a list that is gathered or scattered is unlike the one of each rank."""
    for index, tensor in enumerate(listed):
        if (tensor.device, tensor.dtype, tensor.layout) != (one.device, one.dtype, one.layout):
            _unlike(name, "type", index, _kind(one), _kind(tensor))
        if tensor.shape != one.shape:
            _unlike(name, "size", index, list(one.shape), list(tensor.shape))


def _unlike(name: str, what: str, index: int, expected: object, got: object) -> NoReturn:
    raise ValueError(
        f"ProcessGroupNCCL::{name.strip('_')}: invalid tensor {what} at index {index} (expected {expected}, got {got})"
    )


def _kind(tensor: torch.Tensor) -> str:
    place = "CUDA" if tensor.device.type == "cuda" else tensor.device.type.upper()
    return f"{place}{SCALAR_TYPES[tensor.dtype]}Type"


def check_sum(way: str, dtype: torch.dtype, capability: tuple[int, int], second: bool) -> None:
    """Raise as NCCL's group does for a way to reduce, such as "SUM"; `second`: the group of PyTorch 2.15 and later."""
    if way in OF_BITS:
        raise (RuntimeError if second else ValueError)(f"Cannot use ReduceOp.{way} with NCCL")
    if way == "AVG" and dtype is torch.bool:
        raise TypeError("Cannot use ReduceOp.AVG with boolean inputs")
    if way == "PREMUL_SUM" and dtype not in FLOATS and not dtype.is_complex:
        raise TypeError("PreMulSum Data type must be half, float, bfloat16 or double")
    if dtype in FLOAT8_ELSEWHERE:
        raise RuntimeError("Unsupported Float8 type for NCCL reduction")
    if dtype in FLOAT8:
        if capability >= FLOAT8_FROM:
            raise SimulationError(FLOAT8_SUMS)
        failed(
            "invalid argument (run with NCCL_DEBUG=WARN for details)",
            "ncclInvalidArgument: Invalid value for an argument.",
            "FP8 reduction support begins with sm90 capable devices.",  # enqueue.cc, quoted from memory
        )


def check_bases(name: str, output: torch.Tensor, given: torch.Tensor, size: int) -> None:
    """Raise as NCCL's group does where one tensor for all ranks does not fit that of each."""
    gathers = name == "_allgather_base_"
    if output.dtype != given.dtype:
        raise TypeError(
            "output tensor must have the same type as input tensor"
            if gathers
            else "input tensor must be the same type as the output tensor."
        )
    whole, part = (output, given) if gathers else (given, output)
    if whole.numel() != part.numel() * size:
        raise ValueError(
            "output tensor size must be equal to world_size times input tensor size"
            if gathers
            else "input tensor must be the same size as output size times world size"
        )


def any_source() -> NoReturn:
    """Raise for a receiver that does not say from whom."""
    raise NotImplementedError("ProcessGroupNCCL does not support recvAnysource")


def failed(what: str, kind: str, last: str) -> NoReturn:
    """Raise the error by which PyTorch tells one of NCCL's own."""
    number = ".".join(map(str, NCCL_VERSION))
    raise torch.distributed.DistBackendError(
        f"NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:77, {what}, NCCL version {number}\n{kind}\n"
        f"Last error:\n{last}"
    )


def told(error: RuntimeError, rank: int, work: str) -> RuntimeError:
    """Return what NCCL says where gloo waited too long, or lost another process; other errors are as they were."""
    if over := TOO_LONG.search(str(error)):
        return torch.distributed.DistBackendError(
            f"[Rank {rank}] Watchdog caught collective operation timeout: WorkNCCL({work}, Timeout(ms)={over[1]}) ran for "
            f"{over[1]} milliseconds before timing out."
        )
    if LOST.search(str(error)):
        try:
            failed(
                "remote process exited or there was a network error",
                "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.",
                "socketProgress: Connection closed by remote peer",
            )
        except torch.distributed.DistBackendError as lost:
            return lost
    return error


def never_came(rank: int, error: object) -> NoReturn:
    """Raise what NCCL's group says where another rank does not come to connect."""
    raise torch.distributed.DistBackendError(
        f"[{rank}] is setting up NCCL communicator and retrieving ncclUniqueId from [0] via c10d key-value store by key '0', "
        f"but store->get('0') got error: {error}. This may indicate a possible application crash on rank 0 or a network set up "
        "issue."
    )


def work_of(name: str, turn: int, tensors: Sequence[torch.Tensor]) -> str:
    """Return how NCCL's group names its work: number, kind, how many values go in and come out."""
    kind = KINDS.get(name, "COALESCED" if "coalesced" in name else name.rstrip("_").upper())
    first, last = (tensors[0].numel(), tensors[-1].numel()) if tensors else (1, 1)
    return f"SeqNum={turn}, OpType={kind}, NumelIn={last}, NumelOut={first}"


KINDS = {
    "barrier": "ALLREDUCE",
    "_allgather_base_": "_ALLGATHER_BASE",
    "_reduce_scatter_base_": "_REDUCE_SCATTER_BASE",
}
TOO_LONG = re.compile(r"Timed out waiting (\d+)ms")
LOST = re.compile(r"Connection (?:closed|reset) by peer|Broken pipe")


def duplicate(rank: int, other: int, bus: int) -> NoReturn:
    """Raise NCCL's error where two ranks brought the same card."""
    failed(
        "invalid usage (run with NCCL_DEBUG=WARN for details)",
        "ncclInvalidUsage: This usually reflects invalid usage of NCCL library.",
        f"Duplicate GPU detected : rank {rank} and rank {other} both on CUDA device {bus << BUS:x}",
    )


def sent(name: str, nbytes: int, size: int) -> float:
    """Return the bytes that one rank of `size` sends in a collective whose tensors, in and out, have `nbytes` in all."""
    others, name = (size - 1) / size, name.strip("_")
    if name.startswith("allreduce"):
        return 2 * others * nbytes  # once to add, once to hand the sum on
    if name.startswith("alltoall"):
        return others * nbytes / 2
    if name.startswith(("allgather", "reduce_scatter", "gather", "scatter")):
        return others * nbytes * size / (size + 1)  # one side holds a part for each rank, the other its own
    return float(nbytes if size > 1 else 0)


def tensors_of(value: Any) -> list[torch.Tensor]:
    """Return the tensors of an argument, a list of lists among them, in turn."""
    if isinstance(value, torch.Tensor):
        return [value]
    return [one for item in value for one in tensors_of(item)] if isinstance(value, (list, tuple)) else []
