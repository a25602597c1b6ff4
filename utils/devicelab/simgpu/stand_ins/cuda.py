"""torch.cuda.* over the simulated cards.

torch's own Python code stays in charge. Only what it would ask of the C++ extension (`torch._C._cuda_...`),
which a CPU build lacks, is answered here; so arguments, errors and formats are torch's own.
torch.version.cuda stays what it is (None on a CPU build): it speaks of the installed wheel, which the
simulation does not change.
"""

from typing import Any

import torch

from devicelab.gpus import Card
from devicelab.simgpu.machine import settings
from devicelab.simgpu.machine.clock import DEFAULT_STREAM
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.machine.texts import ORDINAL
from devicelab.simgpu.marks.marks import CPU, card_of

from .cudart import Runtime
from .tensor import touched

CUDA = 1  # the number of the CUDA device type in C++
# What a wheel of PyTorch 2.11 and later holds, and the one for CUDA 12.6, the last with code for cards before Turing (7.5):
# RELEASE.md, "PyTorch CUDA Support Matrix"; pytorch/pytorch pull request 175253.
ARCHITECTURES = "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120 compute_120"
OLDER_ARCHITECTURES = "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90"
TURING = (7, 5)
SETTER = "_cuda_cudaCachingAllocator_set_allocator_settings"  # until PyTorch 2.9
MOST_PRINTED = 1000  # values: larger tensors are summarized
NO_UUID = "00000000-0000-0000-0000-{:012d}"


class Bindings:
    """What torch's C++ extension answers to torch.cuda, for one simulation. The names are the extension's own."""

    def __init__(self, machine: Machine):
        self.machine = machine

    def _ledger(self, index: int) -> Any:
        if not 0 <= index < len(self.machine.cards):
            raise RuntimeError(f"Invalid device argument {index}: did you call init?")
        return self.machine.cards[index].ledger

    def _cuda_init(self) -> None:
        self.machine.initialized = self.machine.asked = True

    def _cuda_isInBadFork(self) -> bool:
        return self.machine.in_bad_fork

    def _cuda_get_cudnn_benchmark_limit(self) -> int:
        return self.machine.benchmark_limit

    def _cuda_set_cudnn_benchmark_limit(self, limit: int) -> None:
        self.machine.benchmark_limit = limit

    def _cuda_getDeviceCount(self) -> int:
        self.machine.asked = True
        return len(self.machine.cards)

    def _cuda_getDevice(self) -> int:
        return self.machine.current

    def _cuda_setDevice(self, index: int) -> None:
        torch.cuda._lazy_init()
        self._cuda_exchangeDevice(index)

    def _cuda_exchangeDevice(self, index: int) -> int:
        before = self._cuda_maybeExchangeDevice(index)
        if index >= 0 and index != before:
            self.machine.wake(
                index
            )  # as cudaSetDevice does from CUDA 12 on; pytorch/pytorch pull request 99533
        return before

    def _cuda_maybeExchangeDevice(self, index: int) -> int:
        if index < 0:
            return -1
        if index >= len(self.machine.cards):
            raise torch.AcceleratorError(ORDINAL)
        before, self.machine.current = self.machine.current, index
        return before

    def _cuda_synchronize(self) -> None:
        self.machine.wake(self.machine.current)
        self.machine.clock.wait(self.machine.current)

    def _cuda_sleep(self, cycles: int) -> None:
        torch.cuda._lazy_init()
        self.machine.wake(self.machine.current)
        self.machine.clock.sleep(self.machine.current, cycles)

    def _check_gpu(self, index: int) -> None:
        """c10/cuda/CUDAStream.cpp, check_gpu."""
        there = len(self.machine.cards)
        if not 0 <= index < there:
            raise RuntimeError(f"Device index value {index} is out of index range [0, {there})")

    def _cuda_getCurrentStream(self, index: int) -> tuple[int, int, int]:
        return (self._cuda_getCurrentRawStream(index), index, CUDA)

    def _cuda_getCurrentRawStream(self, index: int) -> int:
        self._check_gpu(index)
        return self.machine.clock.current_stream(index)

    def _cuda_getDefaultStream(self, index: int) -> tuple[int, int, int]:
        self._check_gpu(index)
        return (DEFAULT_STREAM, index, CUDA)

    def _cuda_setStream(self, stream_id: int, device_index: int, device_type: int) -> None:
        self._cuda_setDevice(device_index)
        self.machine.clock.set_stream(device_index, stream_id)

    def _cuda_isCurrentStreamCapturing(self) -> bool:
        return False

    def _cuda_canDeviceAccessPeer(self, index: int, peer: int) -> bool:
        return index != peer

    def _cuda_hasPrimaryContext(self, index: int) -> bool:
        return self.machine.cards[index].awake

    def _cuda_memoryStats(self, index: int) -> dict[str, Any]:
        return self._ledger(index).stats()

    def _cuda_resetPeakMemoryStats(self, index: int) -> None:
        self._ledger(index).reset_peaks()

    def _cuda_resetAccumulatedMemoryStats(self, index: int) -> None:
        self._ledger(index).reset_accumulated()

    def _cuda_hostMemoryStats(self) -> dict[str, Any]:
        return {}

    def _cuda_resetPeakHostMemoryStats(self) -> None:
        pass

    _cuda_resetAccumulatedHostMemoryStats = _cuda_resetPeakHostMemoryStats
    _cuda_ipc_collect = _cuda_resetPeakHostMemoryStats
    _cuda_clearCublasWorkspaces = _cuda_resetPeakHostMemoryStats

    def _cuda_emptyCache(self, *_: Any) -> None:
        for card in self.machine.cards:
            if card.index in self.machine.clock.faults:
                self.machine.clock.wait(card.index)  # as cudaFree does
            card.ledger.empty_cache()

    def _cuda_setMemoryFraction(self, fraction: float, index: int) -> None:
        self._ledger(index).limit(fraction)

    def _cuda_getMemoryFraction(self, index: int) -> float:
        ledger = self._ledger(index)
        return 1.0 if ledger.allowed is None else ledger.allowed / ledger.card.total_memory

    def _cuda_getAllocatorBackend(self) -> str:
        return (self.machine.allocator or settings.from_environment()).backend

    def set_allocator_settings(self, text: str) -> None:
        """Read the allocator's settings, whatever they were."""
        before = self.machine.allocator or settings.from_environment()
        self.machine.configure(settings.read(text, before))

    def _cuda_cudaCachingAllocator_is_enabled(self) -> bool:
        return True

    def _cuda_getArchFlags(self) -> str:
        self.machine.asked = True
        oldest = min(card.ledger.card.capability for card in self.machine.cards)
        return OLDER_ARCHITECTURES if oldest < TURING else ARCHITECTURES

    def _cuda_get_sync_debug_mode(self) -> int:
        return self.machine.clock.complain

    def _cuda_set_sync_debug_mode(self, mode: int) -> None:
        self.machine.clock.complain = mode

    def _cuda_tunableop_is_enabled(self) -> bool:
        return False

    _cuda_tunableop_tuning_is_enabled = _cuda_tunableop_is_enabled
    _cuda_record_untuned_is_enabled = _cuda_tunableop_is_enabled


class Ranges:
    """In the place of NVTX: marks that no profiler reads."""

    _depth = 0

    def rangePushA(self, message: str) -> int:
        """Return the depth of the range that begins."""
        self._depth += 1
        return self._depth - 1

    def rangePop(self) -> int:
        """Return the depth of the range that ends."""
        self._depth -= 1
        return self._depth

    def rangeStartA(self, message: str) -> int:
        """Return a handle."""
        return 0

    def rangeEnd(self, handle: int) -> None:
        """Do nothing."""

    markA = rangeEnd


class DeviceProperties:
    """What torch.cuda.get_device_properties returns; a property that nobody could name a source for is missing."""

    def __init__(self, card: Card, index: int):
        self.name, self.total_memory, self.multi_processor_count = (
            card.name,
            card.total_memory,
            card.multiprocessors,
        )
        self.major, self.minor = card.capability
        self.warp_size, self.regs_per_multiprocessor, self.shared_memory_per_block = 32, 65536, 49152
        self.is_integrated = self.is_multi_gpu_board = 0
        self.gcnArchName = card.name
        self.uuid = NO_UUID.format(index)
        self.pci_bus_id, self.pci_device_id, self.pci_domain_id = index, 0, 0
        if card.l2_bytes is not None:
            self.L2_cache_size = card.l2_bytes
        if card.threads is not None:
            self.max_threads_per_multi_processor = card.threads

    def __repr__(self) -> str:
        cache = f", L2_cache_size={self.L2_cache_size // 2**20}MB" if hasattr(self, "L2_cache_size") else ""
        return (
            f"_CudaDeviceProperties(name='{self.name}', major={self.major}, minor={self.minor}, "
            f"total_memory={self.total_memory // 2**20}MB, multi_processor_count={self.multi_processor_count}, uuid={self.uuid}, "
            f"pci_bus_id={self.pci_bus_id}, pci_device_id={self.pci_device_id}, pci_domain_id={self.pci_domain_id}{cache})"
        )


def install(machine: Machine) -> None:
    """Answer for the C++ side of torch.cuda, and give its Python side the state of a fresh process."""
    bindings, patches = Bindings(machine), machine.patches
    for name in dir(Bindings):
        if name.startswith("_cuda_"):
            patches.answer(f"torch._C.{name}", getattr(bindings, name))
    properties = lambda index: DeviceProperties(machine.cards[index].spec, index)  # noqa: E731
    patches.add("torch.cuda._get_device_properties", properties)
    answers = {
        "cuda._exchange_device": bindings._cuda_exchangeDevice,
        "cuda._maybe_exchange_device": bindings._cuda_maybeExchangeDevice,
        "cuda._is_in_bad_fork": bindings._cuda_isInBadFork,
        "cuda._CudaDeviceProperties": DeviceProperties,
        "cuda._cudart": Runtime(machine),
        "cuda.nvtx._nvtx": Ranges(),
        "cuda.graphs._cuda_isCurrentStreamCapturing": bindings._cuda_isCurrentStreamCapturing,
        "cuda.device_count": lambda: len(machine.cards),  # NVML's count, which leaves a later fork usable
        "backends.cuda.is_built": lambda: True,
    }
    for name, value in answers.items():
        patches.replace(f"torch.{name}", value)
    _settings(machine, bindings)
    _initialized(machine)
    patches.wrap("torch._tensor_str._str", lambda original: _printing(machine, original))


def _settings(machine: Machine, bindings: Bindings) -> None:
    """Hear of the allocator's settings; C++ keeps what it was told last, and is told again what it knew."""
    shared = settings.shared
    if shared is None:
        machine.patches.answer(f"torch._C.{SETTER}", bindings.set_allocator_settings)
        return
    # Before 2.12 C++ does not tell what it knows: it read the environment.
    before = getattr(torch._C, "_accelerator_getAllocatorSettings", settings.in_environment)()
    machine.on_stop(lambda: shared(settings.shareable(before)))
    machine.patches.replace("torch._C._accelerator_setAllocatorSettings", bindings.set_allocator_settings)


def _initialized(machine: Machine) -> None:
    """Let CUDA be initialized where it was before a rest, else not, with the calls that wait for it as they are."""
    patches = machine.patches
    patches.replace("torch.cuda._initialized", machine.initialized)
    patches.replace("torch.cuda._cached_device_count", None)
    patches.wrap("torch.cuda._queued_calls", list)
    # Unwrapped where it remembers its answers.
    patches.wrap(
        "torch.cuda._check_bf16_tensor_supported", lambda check: getattr(check, "__wrapped__", check)
    )


def _printing(machine: Machine, original: Any) -> Any:
    """Let printing a tensor wait for its card; torch takes all modes off this thread while it formats one."""

    def _str(self: torch.Tensor, *, tensor_contents: str | None = None) -> str:
        card = card_of(self)
        if card is None:
            touched(self, "print")
        else:
            machine.mode.usable(card)  # type: ignore[attr-defined]
            machine.clock.copy(card.device, CPU, min(self.numel(), MOST_PRINTED) * self.itemsize)
        return original(self, tensor_contents=tensor_contents)

    return _str
