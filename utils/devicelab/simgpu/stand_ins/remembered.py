"""The allocator's snapshots and history, its observers, and memory that no tensor has (torch.cuda.memory)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from devicelab.simgpu.machine import settings
from devicelab.simgpu.machine.history import ALLOC, CONTEXTS, NEVER, STATE
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.machine.memory import Ledger
from devicelab.simgpu.rules.refusals import refuse

STATES = (None, "state", "all")
# torch/csrc/cuda/memory_snapshot.cpp, checkOptionIn
WRONG_STATE = "expected state to be 'state', 'all', or None"
WRONG_CONTEXT = "expected context to be 'state', 'alloc', 'all', or None"
WRONG_STACKS = "expected stacks to be 'python', or 'all'"


class Remembered:
    """What torch's C++ extension answers for one simulation. The names are the extension's own."""

    def __init__(self, machine: Machine):
        self._machine = machine

    @property
    def _ledgers(self) -> list[Ledger]:
        return [card.ledger for card in self._machine.cards]

    def _cuda_memorySnapshot(self, chosen: Any = None) -> dict[str, Any]:
        """`chosen` is None, or a pool's two numbers, from PyTorch 2.13 on with whether to add what was recorded."""
        torch.cuda._lazy_init()
        pool, traced = tuple(chosen or (0, 0))[:2], not (chosen and len(chosen) > 2) or bool(chosen[2])
        segments = [segment for ledger in self._ledgers for segment in ledger.snapshot()]
        traces = [list(ledger.history.entries) if traced else [] for ledger in self._ledgers]
        for ledger in self._ledgers:
            ledger.history.add("snapshot", 0, ledger.used.bytes)
        known = self._machine.allocator or settings.from_environment()
        return {
            "segments": segments if pool == (0, 0) else [],
            "device_traces": traces,
            "allocator_settings": {
                "PYTORCH_CUDA_ALLOC_CONF": settings.in_environment(),
                "max_split_size": -1 if known.max_split == float("inf") else int(known.max_split),
                "garbage_collection_threshold": 0.0,
                "expandable_segments": False,
                "roundup_power2_divisions": {
                    str(2**number): division for number, division in enumerate(known.divisions)
                },
            },
            "external_annotations": [],
        }

    def _cuda_record_memory_history(
        self,
        enabled: str | None,
        context: str | None = "all",
        stacks: str = "all",
        most: int = 1,
        clear: bool = False,
        compiled: bool = False,
        annotations: bool = False,
        skipped: Sequence[str] = (),
        _pinned: bool = False,  # from 2.15 on: of the host's memory too
        of_card: bool = True,
    ) -> None:
        if enabled not in STATES:
            refuse(WRONG_STATE)
        if context not in CONTEXTS:
            refuse(WRONG_CONTEXT)
        if stacks not in ("python", "all"):
            refuse(WRONG_STACKS)
        self._record(
            enabled is not None and of_card,
            CONTEXTS[context],
            most if enabled == "all" else 1,
            clear,
            skipped,
        )

    def _cuda_record_memory_history_legacy(
        self,
        enabled: bool,
        lines: bool = True,
        most: int = 1,
        traced_lines: bool = False,
        of_cpp: bool = False,
        clear: bool = False,
        *_: Any,
    ) -> None:
        self._record(enabled, ALLOC if traced_lines else STATE if lines else NEVER, most, clear, ())

    def _record(self, enabled: bool, context: int, most: int, clear: bool, skipped: Sequence[str]) -> None:
        torch.cuda._lazy_init()
        for ledger in self._ledgers:
            ledger.history.record(enabled, context, most, clear, skipped)

    def _cuda_isHistoryEnabled(self) -> bool:
        return any(ledger.history.enabled for ledger in self._ledgers)

    def _cuda_setMemoryMetadata(self, metadata: str) -> None:
        for ledger in self._ledgers:
            ledger.history.metadata = metadata

    def _cuda_getMemoryMetadata(self) -> str:
        return self._ledgers[0].history.metadata

    def _cuda_attach_out_of_memory_observer(self, observer: Callable[[int, int, int, int], object]) -> None:
        torch.cuda._lazy_init()
        for ledger in self._ledgers:
            ledger.observers.append(observer)

    def _cuda_cudaCachingAllocator_raw_alloc(self, size: int, stream: int) -> int:
        self._machine.wake(self._machine.current)
        return self._ledgers[self._machine.current].hold(size)

    def _cuda_cudaCachingAllocator_raw_delete(self, address: int) -> None:
        if address and not any(ledger.drop(address) for ledger in self._ledgers):
            refuse(f"invalid device pointer: {address:#x}")


def install(machine: Machine) -> None:
    """Answer for the C++ side of torch.cuda.memory."""
    remembered = Remembered(machine)
    for name in dir(Remembered):
        if name.startswith("_cuda_"):
            machine.patches.answer(f"torch._C.{name}", getattr(remembered, name))
