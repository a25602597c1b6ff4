"""torch.accelerator.* over the simulated cards, again by supplying what torch's C++ extension would answer."""

from typing import Any

import torch

from devicelab.simgpu.machine.machine import Machine

from .cuda import Bindings

# What CUDA allocates and converts on every card of the catalogue.
DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32,
    torch.float64, torch.complex64, torch.complex128,
)  # fmt: skip


def install(machine: Machine) -> None:
    """Let torch.accelerator find the simulated cards."""
    cuda = Bindings(machine)

    def index_of(index: int | None) -> int:
        return machine.current if index is None or index < 0 else index

    def wait(index: int | None = None) -> None:
        machine.wake(index_of(index))
        machine.clock.wait(index_of(index))

    def info(index: int | None = None) -> tuple[int, int]:
        machine.wake(index_of(index))
        machine.clock.notice(index_of(index))
        return machine.cards[index_of(index)].ledger.info()

    def set_stream(stream: torch.Stream) -> None:
        cuda._cuda_setStream(stream.stream_id, stream.device_index, stream.device_type)

    def stream(index: int | None = None) -> torch.Stream:
        return torch.cuda.current_stream(index_of(index))

    answers: dict[str, Any] = {
        "_get_accelerator": lambda *_: torch.device("cuda"),
        "_accelerator_getAccelerator": lambda: torch.device("cuda"),
        "_accelerator_getDeviceIndex": cuda._cuda_getDevice,
        "_accelerator_setDeviceIndex": cuda._cuda_setDevice,
        "_accelerator_exchangeDevice": cuda._cuda_exchangeDevice,
        "_accelerator_maybeExchangeDevice": cuda._cuda_maybeExchangeDevice,
        "_accelerator_getStream": stream,
        "_accelerator_setStream": set_stream,
        "_accelerator_synchronizeDevice": wait,
        "_accelerator_isAllocatorInitialized": lambda: machine.initialized,
        "_accelerator_emptyCache": cuda._cuda_emptyCache,
        "_accelerator_getDeviceStats": cuda._cuda_memoryStats,
        "_accelerator_resetAccumulatedStats": cuda._cuda_resetAccumulatedMemoryStats,
        "_accelerator_resetPeakStats": cuda._cuda_resetPeakMemoryStats,
        "_accelerator_getMemoryInfo": info,
        "_accelerator_emptyHostCache": lambda: None,
        "_accelerator_getDeviceCapability": lambda index: {"supported_dtypes": set(DTYPES)},
    }
    for name, answer in answers.items():
        machine.patches.replace(f"torch._C.{name}", answer)
    # Unwrapped where it remembers its answers.
    machine.patches.wrap(
        "torch.accelerator.get_device_capability", lambda original: getattr(original, "__wrapped__", original)
    )
