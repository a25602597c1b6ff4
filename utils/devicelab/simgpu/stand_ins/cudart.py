"""torch.cuda.cudart(): the few functions of CUDA's runtime that PyTorch binds (torch/csrc/cuda/shared/cudart.cpp)."""

import torch

from devicelab.errors import SimulationError
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.machine.texts import ORDINAL

INSTEAD = {
    "cudaHostRegister": "tensor.pin_memory()",
    "cudaHostUnregister": "tensor.pin_memory()",
    "cudaStreamCreate": "torch.cuda.Stream()",
    "cudaStreamDestroy": "torch.cuda.Stream()",
}
TEXTS = {  # the CUDA Runtime API's own, its section on error handling
    0: "no error",
    1: "invalid argument",
    2: "out of memory",
    3: "initialization error",
    100: "no CUDA-capable device is detected",
    101: "invalid device ordinal",
    700: "an illegal memory access was encountered",
    710: "device-side assert triggered",
}


class cudaError(int):
    """The result of a call."""

    success: "cudaError"


cudaError.success = cudaError(0)


class Runtime:
    """What torch.cuda.cudart() returns; what works on bare addresses is refused."""

    cudaError = cudaError

    def __init__(self, machine: Machine):
        self._machine = machine

    def __getattr__(self, name: str) -> object:
        if name not in INSTEAD:
            raise AttributeError(f"module 'torch._C._cudart' has no attribute {name!r}")

        def refused(*args: object) -> None:
            raise SimulationError(
                f"{name} is not simulated. Use {INSTEAD[name]}, or run this part on a real GPU."
            )

        return refused

    def cudaMemGetInfo(self, index: int) -> tuple[int, int]:
        """Return (free, total) bytes; the question makes a context."""
        if not 0 <= index < len(self._machine.cards):
            raise torch.AcceleratorError(ORDINAL)
        self._machine.wake(index)
        self._machine.clock.notice(index)
        return self._machine.cards[index].ledger.info()

    def cudaGetErrorString(self, error: int) -> str:
        """Return what an error is called."""
        return TEXTS.get(int(error), "unrecognized error code")

    def cudaProfilerStart(self) -> int:
        """Do nothing: there is no profiler of NVIDIA's to start."""
        return cudaError.success

    cudaProfilerStop = cudaProfilerStart
