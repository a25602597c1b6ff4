"""The real GPU that is recorded, and the refusal where there is none."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch

from devicelab import devices, variants
from devicelab.errors import InputError
from devicelab.monitor.readers import Nvidia
from devicelab.results import Timing
from devicelab.timing import timeit

# A fresh process: until the first tensor lies on the card. It then holds its memory until its input is closed.
CONTEXT = """
import sys, time, torch
begin = time.perf_counter()
torch.zeros(1, device="cuda")
torch.cuda.synchronize()
print(time.perf_counter() - begin, torch.cuda.memory_reserved(), flush=True)
sys.stdin.read()
"""
NO_TIMES = "A recording holds measured times only."


class Card:
    """A real NVIDIA GPU; tests pass one that is made up, with the same methods."""

    device = torch.device("cuda", 0)
    label = "cuda:0"

    def __init__(self) -> None:
        self.name = torch.cuda.get_device_name(0)

    def facts(self) -> dict[str, Any]:
        """Return what the schema asks about the card."""
        properties = torch.cuda.get_device_properties(0)
        driver, limit = _driver()
        return {
            "name": self.name,
            "capability": [properties.major, properties.minor],
            "memory": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
            "power_limit": limit,
            "driver": driver,
        }

    def synchronize(self) -> None:
        """Wait until the queue is empty."""
        torch.cuda.synchronize()

    def host(self, nbytes: int, pinned: bool) -> torch.Tensor:
        """Return host memory to copy from and to."""
        return torch.empty(nbytes, dtype=torch.uint8, pin_memory=pinned)

    def free(self) -> int:
        """Return the bytes of the card that nobody has taken."""
        return torch.cuda.mem_get_info(0)[0]

    def compare(self, rows: int, width: int) -> variants.Comparison:
        """Return the article's examples, timed."""
        return variants.compare(rows, width)

    def context(self) -> tuple[float, int]:
        """Return the seconds that a fresh process needs to get a tensor onto the card, and the bytes beyond PyTorch's own.

        The bytes are what the card lost meanwhile, so other programs on it must rest.
        """
        before = self.free()
        command = [sys.executable, "-c", CONTEXT]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            seconds, reserved = child.stdout.readline().split()  # type: ignore[union-attr]
            taken = before - self.free()
        except ValueError:
            raise InputError("A fresh process could not start CUDA; see the error above.") from None
        finally:
            child.communicate()
        return float(seconds), taken - int(reserved)

    def time(self, fn: Callable[[], object], seconds: float) -> Timing:
        """Return the time of one call, from about so many seconds of calls."""
        return timeit(fn, seconds=seconds)


def _driver() -> tuple[str | None, float | None]:
    """Return the driver's version and the power limit in watts; None where nvidia-ml-py is missing or is not told."""
    try:
        import pynvml
    except ImportError:
        return None, None
    try:
        reader = Nvidia(pynvml, 0)
    except (pynvml.NVMLError, RuntimeError):
        return None, None
    try:
        version = pynvml.nvmlSystemGetDriverVersion()
    except pynvml.NVMLError:
        return None, reader.limit
    finally:
        reader.close()
    return version.decode() if isinstance(version, bytes) else version, reader.limit


def real_card() -> Card:
    """Return this machine's NVIDIA GPU; InputError where there is none, or where a simulated one answers in its place."""
    mode = os.environ.get("DEVICELAB_GPU", "auto") or "auto"
    if devices.simulated():
        raise InputError(f"The GPU here is simulated, so there is nothing to record. {NO_TIMES}")
    if mode not in ("auto", "real"):
        raise InputError(
            f"DEVICELAB_GPU is {mode!r}, so no real GPU is used. {NO_TIMES} Unset it to record one."
        )
    if torch.version.hip:
        raise InputError("Only NVIDIA GPUs are recorded so far, and this torch was built for AMD's.")
    if torch.cuda.is_available():
        return Card()
    if torch.backends.mps.is_available():
        raise InputError(
            "Only NVIDIA GPUs are recorded so far: Apple's has neither pinned copies nor a CUDA context to measure."
        )
    raise InputError(
        f"There is no real GPU here to measure. {NO_TIMES} Why there is none: python -m devicelab doctor"
    )
