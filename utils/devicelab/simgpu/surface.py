"""torch.cuda.* over the simulated cards.

torch's own Python code stays in charge: only the functions of the C++ extension below it (`torch._C._cuda_...`), which a CPU build lacks,
are supplied. So arguments, errors and formats are torch's own.
"""

import copy
import os
import types
from typing import TYPE_CHECKING, Any

import torch

from .. import costs

if TYPE_CHECKING:
    from devicelab.simgpu.session import Simulation

ORDINAL = (
    "CUDA error: invalid device ordinal\nGPU device may be out of range, do you have enough GPUs?\n"
    "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.\n"
    "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)


class Bindings:
    """What torch's C++ extension offers to torch.cuda, answered by one simulation."""

    def __init__(self, simulation: "Simulation"):
        self.simulation = simulation
        self.pid = os.getpid()

    def _cuda_init(self) -> None:
        self.simulation.initialized = True
        self.simulation.clock.spend(costs.CONTEXT)

    def _cuda_getDeviceCount(self) -> int:
        return len(self.simulation.cards)

    def _cuda_getDevice(self) -> int:
        return self.simulation.current

    def _cuda_setDevice(self, index: int) -> None:
        if not 0 <= index < len(self.simulation.cards):
            raise torch.AcceleratorError(ORDINAL)
        self.simulation.current = index

    def _cuda_exchangeDevice(self, index: int) -> int:
        if index < 0:
            return -1
        before = self.simulation.current
        self._cuda_setDevice(index)
        return before

    _cuda_maybeExchangeDevice = _cuda_exchangeDevice

    def _cuda_isInBadFork(self) -> bool:
        return os.getpid() != self.pid

    def _cuda_synchronize(self) -> None:
        self.simulation.clock.wait(self.simulation.current)

    def _cuda_getCurrentStream(self, index: int) -> tuple[int, int, int]:
        return (self.simulation.clock.stream[index], index, 1)

    def _cuda_getDefaultStream(self, index: int) -> tuple[int, int, int]:
        return (0, index, 1)

    def _cuda_setStream(self, stream_id: int, device_index: int, device_type: int) -> None:
        self.simulation.clock.stream[device_index] = stream_id
        self.simulation.current = device_index

    def _cuda_isCurrentStreamCapturing(self) -> bool:
        return False

    def _cuda_memoryStats(self, index: int) -> dict[str, Any]:
        return self.simulation.cards[index].ledger.stats()

    def _cuda_resetPeakMemoryStats(self, index: int) -> None:
        self.simulation.cards[index].ledger.reset_peaks()

    def _cuda_resetAccumulatedMemoryStats(self, index: int) -> None:
        self.simulation.cards[index].ledger.reset_accumulated()

    def _cuda_emptyCache(self, *_: Any) -> None:
        for card in self.simulation.cards:
            card.ledger.empty_cache()

    def _cuda_clearCublasWorkspaces(self) -> None:
        pass

    def _get_device_properties(self, index: int) -> "Properties":
        return Properties(self.simulation.cards[index].spec, index)


class Properties:
    """What torch.cuda.get_device_properties returns."""

    def __init__(self, card: Any, index: int):
        self.name, self.total_memory = card.name, card.total_memory
        self.major, self.minor = card.capability
        self.multi_processor_count = card.multiprocessors
        self.warp_size = 32
        self.is_integrated = self.is_multi_gpu_board = 0


def install(simulation: "Simulation") -> None:
    """Supply the C++ side of torch.cuda, and give its Python side fresh state."""
    bindings, patch, cuda = Bindings(simulation), simulation.patches.set, torch.cuda
    for name in dir(Bindings):
        if name.startswith("_cuda_"):
            patch(torch._C, name, getattr(bindings, name))
    patch(cuda, "_exchange_device", bindings._cuda_exchangeDevice)
    patch(cuda, "_maybe_exchange_device", bindings._cuda_maybeExchangeDevice)
    patch(cuda, "_get_device_properties", bindings._get_device_properties)
    patch(cuda, "_is_in_bad_fork", bindings._cuda_isInBadFork)
    patch(cuda, "_cudart", types.SimpleNamespace(cudaMemGetInfo=lambda index: simulation.cards[index].ledger.info()))
    patch(cuda, "is_available", lambda: True)
    patch(cuda, "device_count", bindings._cuda_getDeviceCount)
    patch(cuda, "_initialized", False)
    patch(cuda, "_queued_calls", list(cuda._queued_calls))
    patch(cuda, "_lazy_seed_tracker", copy.copy(cuda._lazy_seed_tracker))
    patch(cuda, "_cached_device_count", None)
