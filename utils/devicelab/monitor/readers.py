"""What can be read of CPU and GPU, and a plain sentence where something cannot."""

import os
import time
from typing import Any, NamedTuple

import torch

from devicelab.devices import Origin, simulated

NO_PSUTIL = "The cores cannot be read without psutil: python -m pip install psutil."
NO_NVML = "The GPU cannot be read without NVIDIA's library for it: python -m pip install nvidia-ml-py."
NO_GPU = "No GPU was found, so the CPU alone was watched. Why there is none: python -m devicelab doctor."
MPS = (
    "macOS tells the load and the power of its GPU to administrators only (sudo powermetrics). "
    "Activity Monitor draws it: Window, then GPU History."
)
ROCM = "Of an AMD card nothing is read here: use rocm-smi."
COARSE = 0.04  # seconds: systems count a core's time in steps of 10 to 16 ms, so shorter looks say nothing


class Reading(NamedTuple):
    """One look at a GPU: the share of time in which it was busy, bytes taken, watts; None where nobody tells."""

    gpu: float | None = None
    memory: int | None = None
    power: float | None = None


class Cpu:
    """The load of every core since the last look, and the cores that this process used."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        try:
            import psutil
        except ImportError:
            self.notes.append(NO_PSUTIL)
            self._cores = None
        else:
            self._cores = psutil.cpu_times
        self._busy = self._look()
        self._process = time.process_time()

    def read(self, seconds: float) -> tuple[tuple[float, ...], float]:
        """Return the share of the time in which each core was busy, and this process's CPU seconds per second.

        The cores are those of the whole machine, with the work of all programs; none after a
        time too short to tell.
        """
        spent, self._process = self._process, time.process_time()
        return self._since_last(), (self._process - spent) / max(seconds, 1e-9)

    def _since_last(self) -> tuple[float, ...]:
        now = self._look()
        spent = [(new[0] - old[0], new[1] - old[1]) for old, new in zip(self._busy, now, strict=True)]
        if not spent or max(total for _, total in spent) < COARSE:
            return ()  # the next look will cover this time too
        self._busy = now
        return tuple(min(1.0, max(0.0, busy / total)) if total > 0 else 0.0 for busy, total in spent)

    def _look(self) -> list[tuple[float, float]]:
        """Return (busy, total) seconds of each core since the machine started."""
        if self._cores is None:
            return []
        return [_busy(times._asdict()) for times in self._cores(percpu=True)]


def _busy(times: dict[str, float]) -> tuple[float, float]:
    for twice in ("guest", "guest_nice"):  # Linux counts them in user and nice already
        times.pop(twice, 0.0)
    total = sum(times.values())
    return total - times["idle"] - times.get("iowait", 0.0), total


class Gpu:
    """No GPU, or one that tells nothing; `notes` say why."""

    origin: Origin = "measured"

    def __init__(self, device: str = "cpu", name: str = "CPU", note: str = "") -> None:
        self.device, self.name = device, name
        self.total: int | None = None  # bytes
        self.limit: float | None = None  # watts
        self.notes = [note] if note else []

    def read(self) -> Reading:
        """Look once."""
        return Reading()

    def close(self) -> None:
        """Let go of the driver."""


class Mps(Gpu):
    """Apple's GPU: of the memory, what this process took."""

    def __init__(self) -> None:
        super().__init__("mps", "Apple GPU (mps)", MPS)

    def read(self) -> Reading:
        """Look once."""
        return Reading(memory=torch.mps.driver_allocated_memory())


class Nvidia(Gpu):
    """An NVIDIA card, as the driver's own library sees it: with the work and the memory of all programs.

    NVML numbers the cards of the machine, torch those that CUDA_VISIBLE_DEVICES leaves, and in another order. The
    card's UUID is the same to both; torch tells it once CUDA has started, and is not made to start it here.
    """

    def __init__(self, nvml: Any, index: int) -> None:
        self._nvml, self._index, self._is_sure = nvml, index, False
        nvml.nvmlInit()
        try:
            self._handle = self._find()
            super().__init__(f"cuda:{index}", _text(nvml.nvmlDeviceGetName(self._handle)))
            self.total = self._ask("memory", lambda: nvml.nvmlDeviceGetMemoryInfo(self._handle).total)
            milliwatts = self._ask("power limit", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(self._handle))
        except BaseException:
            nvml.nvmlShutdown()
            raise
        self.limit = None if milliwatts is None else milliwatts / 1000

    def read(self) -> Reading:
        """Look once."""
        self._make_sure()
        nvml, handle = self._nvml, self._handle
        busy = self._ask("utilization", lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        memory = self._ask("memory", lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used)
        power = self._ask("power", lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        return Reading(None if busy is None else busy / 100, memory, None if power is None else power / 1000)

    def close(self) -> None:
        """Let go of the driver."""
        self._nvml.nvmlShutdown()

    def _ask(self, what: str, call: Any) -> Any:
        try:
            return call()
        except self._nvml.NVMLError as error:
            note = f"This driver does not tell the GPU's {what} (NVML: {error})."
            if note not in self.notes:
                self.notes.append(note)
            return None

    def _find(self) -> Any:
        """Return NVML's handle of the card that torch calls cuda:`index`."""
        if torch.cuda.is_initialized():
            return self._by_uuid()
        self._is_sure = self._nvml.nvmlDeviceGetCount() == 1
        return self._nvml.nvmlDeviceGetHandleByIndex(torch.cuda._get_nvml_device_index(self._index))

    def _by_uuid(self) -> Any:
        self._is_sure = True
        uuid = torch.cuda.get_device_properties(self._index).uuid
        try:
            return self._nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        except self._nvml.NVMLError:  # a part of a card (MIG)
            return self._nvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")

    def _make_sure(self) -> None:
        """Ask again which card it is, once CUDA has started inside the block."""
        if self._is_sure or not torch.cuda.is_initialized():
            return
        name, self._handle = self.name, self._by_uuid()
        self.name = _text(self._nvml.nvmlDeviceGetName(self._handle))
        if self.name != name:
            self.notes.append(
                f"Until CUDA started, the {name} was watched: torch numbers the cards otherwise."
            )


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def gpu_reader(index: int | None) -> Gpu:
    """Return what reads this machine's own GPU; where it cannot be read, its notes say why. CUDA is not started.

    While a simulation runs, no real GPU is asked: cuda:0 is the simulated one.
    """
    if simulated():
        return Gpu()
    if torch.version.hip:
        return Gpu("cuda:0", "AMD GPU", ROCM)
    if torch.cuda.is_available():
        return _nvidia(index)
    if torch.backends.mps.is_available():
        return Mps()
    return Gpu(note=NO_GPU)


def _nvidia(index: int | None) -> Gpu:
    if index is None:
        index = torch.cuda.current_device() if torch.cuda.is_initialized() else 0
    try:
        import pynvml
    except ImportError:
        return Gpu(f"cuda:{index}", "NVIDIA GPU", NO_NVML)
    try:
        return Nvidia(pynvml, index)
    except (pynvml.NVMLError, RuntimeError) as error:
        where = f" (CUDA_VISIBLE_DEVICES={seen})" if (seen := os.environ.get("CUDA_VISIBLE_DEVICES")) else ""
        note = f"The driver does not let us look at cuda:{index}{where}: {error}. In a container it may be withheld."
        return Gpu(f"cuda:{index}", "NVIDIA GPU", note)
