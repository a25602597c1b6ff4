"""A kernel's assertion that failed: what CUDA says of it, and the card that is lost with it.

The words: c10/cuda/CUDAException.cpp and CUDAMiscFunctions.cpp. PyTorch 2.9 added the line that says where to search (pull
requests 158395 and 158688). That the card is lost until the process ends: CUDA's description of cudaErrorAssert.
"""

import sys
from dataclasses import dataclass

import torch

from devicelab.source import Line

from .texts import ASYNCHRONOUS, DEBUG, RELEASE

CODE = 710  # cudaErrorAssert
SEARCH = (
    "Search for `cudaErrorAssert' in https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html "
    "for more information.\n"
)


@dataclass(eq=False)
class Fault:
    """An assertion that failed on a card.

    `kernel` is the line that CUDA prints; `argument`, `values` and `allowed` say which values were wrong, `line` which line
    of the user's launched it. The card finds out at `end`, in simulated seconds; the host at its next wait.
    """

    operator: str
    kernel: str
    argument: str
    values: tuple[float, ...]
    allowed: str
    line: Line | None
    is_blocking: bool  # CUDA_LAUNCH_BLOCKING=1: every launch waits for its kernel
    end: float = 0.0
    is_known: bool = False  # to the host: from then on nothing works on this card
    is_printed: bool = False

    @property
    def summary(self) -> str:
        """What failed, in a sentence for those who watch."""
        values = ", ".join(f"{value:g}" for value in self.values)
        met = f" met {self.argument} = {values}; allowed is {self.allowed}" if values else ""
        return f"device-side assert: {self.operator}{met}"

    def print(self) -> None:
        """Print the kernel's line, once: CUDA does so when the host waits, or leaves."""
        if not self.is_printed:
            self.is_printed = True
            print(self.kernel, file=sys.stderr)

    def error(self) -> torch.AcceleratorError:
        """Return CUDA's error, which the host has met now; it carries this fault for `explain`."""
        self.print()
        self.is_known = True
        text = "CUDA error: device-side assert triggered\n"
        text += SEARCH if RELEASE >= (2, 9) else ""
        error = torch.AcceleratorError(text + ("" if self.is_blocking else ASYNCHRONOUS) + DEBUG)
        error.error_code, error.asserted = CODE, self  # type: ignore[attr-defined]
        return error
