"""What NCCL refuses, in its words and torch's, and how many bytes a collective sends.

Sources: c10d/ProcessGroup.hpp (getBackend), c10d/ProcessGroupNCCL.cpp and NCCLUtils.cpp, NCCL's init.cc; the bytes: NVIDIA's
nccl-tests, doc/PERFORMANCE.md, section "Bandwidth".
"""

from typing import NoReturn

import torch

BUS = 12  # bits by which NCCL shifts the number of a PCI bus


def no_backend(kind: str) -> NoReturn:
    """Raise torch's error for tensors of a kind of device that a group has no backend for."""
    raise RuntimeError(f"No backend type associated with device type {kind}")


def check_dense(tensor: torch.Tensor) -> None:
    """Raise as NCCL's group does for a tensor whose numbers do not lie one behind the other."""
    layouts = (torch.contiguous_format, torch.channels_last)[: 2 if tensor.dim() == 4 else 1]
    if not any(tensor.is_contiguous(memory_format=layout) for layout in layouts):
        raise ValueError("Tensors must be contiguous")


def duplicate(version: tuple[int, ...], rank: int, other: int, bus: int) -> NoReturn:
    """Raise NCCL's error where two ranks brought the same card."""
    number = ".".join(map(str, version))
    raise torch.distributed.DistBackendError(
        "NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:77, invalid usage (run with NCCL_DEBUG=WARN for "
        f"details), NCCL version {number}\nncclInvalidUsage: This usually reflects invalid usage of NCCL library.\nLast error:\n"
        f"Duplicate GPU detected : rank {rank} and rank {other} both on CUDA device {bus << BUS:x}"
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
