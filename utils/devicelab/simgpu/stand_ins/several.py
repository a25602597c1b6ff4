"""One process, several cards: what torch.cuda.comm asks of C++, on which DataParallel rests (torch/csrc/cuda/comm.cpp)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.machine.texts import NCCL_VERSION

from .unsupported import refusal

NCCL = (
    "torch.cuda.nccl.{} is not simulated. torch.cuda.comm does the same, or torch.distributed with a process for each "
    "card."
)
BY_HAND = ("unique_id", "init_rank", "all_reduce", "reduce", "broadcast", "all_gather", "reduce_scatter")


def install(machine: Machine) -> None:
    """Spread tensors over cards, and gather them."""
    for function in (scatter, gather, broadcast, broadcast_coalesced, scatter_out, gather_out, broadcast_out):
        machine.patches.answer(f"torch._C._{function.__name__}", function)
    for name in BY_HAND:
        machine.patches.replace(f"torch.cuda.nccl.{name}", refusal(NCCL.format(name)))
    machine.patches.replace("torch.cuda.nccl.version", lambda: NCCL_VERSION)
    machine.patches.replace("torch.cuda.nccl.is_available", lambda tensors: False)  # then Python adds


def card(index: int) -> torch.device:
    """Return the device of a number; -1 stands for the CPU."""
    return torch.device("cpu") if index == -1 else torch.device("cuda", index)


def broadcast(tensor: Tensor, devices: Sequence[int]) -> list[Tensor]:
    """Return a tensor on each card; on its own card it is itself."""
    return [tensor.to(card(index), non_blocking=True) for index in devices]


def broadcast_coalesced(
    tensors: Sequence[Tensor], devices: Sequence[int], buffer_size: int
) -> list[list[Tensor]]:
    """Return all tensors on each card; on the first one they are themselves."""
    if any(tensor.get_device() != devices[0] for tensor in tensors):
        raise RuntimeError(f"All tensors must be on devices[0]: {devices[0]}")
    return [[tensor.to(card(index), non_blocking=True) for tensor in tensors] for index in devices]


def scatter(
    tensor: Tensor,
    devices: Sequence[int],
    chunk_sizes: Sequence[int] | None = None,
    dim: int = 0,
    streams: Any = None,
) -> list[Tensor]:
    """Return a part of a tensor on each card: of equal sizes, as far as they go, or of the sizes that are given."""
    parts = tensor.chunk(len(devices), dim) if chunk_sizes is None else tensor.split(list(chunk_sizes), dim)
    return [part.to(card(index), non_blocking=True) for part, index in zip(parts, devices, strict=False)]


def gather(tensors: Sequence[Tensor], dim: int = 0, destination: int | None = None) -> Tensor:
    """Return tensors of several cards as one, on the current card or where it is said."""
    for number, tensor in enumerate(tensors):
        if not tensor.is_cuda:
            raise RuntimeError(
                f"Expected all input tensors to be CUDA tensors, but tensor at index {number} has device {tensor.device}"
            )
    target = card(torch.cuda.current_device() if destination is None else destination)
    return torch.cat([tensor.to(target, non_blocking=True) for tensor in tensors], dim)


def broadcast_out(tensor: Tensor, out: Sequence[Tensor]) -> list[Tensor]:
    """Write a tensor into others on any cards."""
    return [one.copy_(tensor, non_blocking=True) for one in out]


def scatter_out(tensor: Tensor, out: Sequence[Tensor], dim: int = 0, streams: Any = None) -> list[Tensor]:
    """Write the parts of a tensor into others on any cards."""
    parts = tensor.split([one.size(dim) for one in out], dim)
    return [one.copy_(part, non_blocking=True) for one, part in zip(out, parts, strict=True)]


def gather_out(tensors: Sequence[Tensor], out: Tensor, dim: int = 0) -> Tensor:
    """Write tensors of several cards into one."""
    return out.copy_(gather(tensors, dim, out.get_device()))
