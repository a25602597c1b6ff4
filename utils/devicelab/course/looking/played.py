"""Machines that one does not have, played for a check: torch answers as it would there.

for machine in WITH_NVIDIA:  # the present card is theirs
    with machine.played(): ...
with without_gpu():
    for machine in OTHERS: ...
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode

from devicelab.course.guard.guards import CARD
from devicelab.simgpu import session, simulate_gpu
from devicelab.simgpu.session import current

from .words import device_kind

_HIDING = ("CUDA_VISIBLE_DEVICES", "DEVICELAB_GPU")


@dataclass(frozen=True)
class Machine:
    """A machine to play: its accelerator, whether that can be used, and whether torch.accelerator exists."""

    name: str
    kind: str  # "cuda", "mps", "xpu" or "cpu"
    ready: bool = True
    new: bool = True

    @property
    def best(self) -> str:
        """The kind of device that a script should use there."""
        return self.kind if self.ready else "cpu"

    @contextmanager
    def played(self) -> Iterator[None]:
        """Let torch answer as on that machine; nothing can be put on an accelerator that is only played."""
        with ExitStack() as stack:
            if self.best != "cuda":
                for owner, name, answer in self._answers():
                    stack.enter_context(patch.object(owner, name, answer))
            if not self.new:
                stack.callback(setattr, torch, "accelerator", torch.accelerator)
                del torch.accelerator
            yield

    def _answers(self) -> Iterator[tuple[Any, str, Callable[..., object]]]:
        usable = self.best != "cpu"
        built = None if self.kind == "cpu" else torch.device(self.kind)
        yield torch.accelerator, "is_available", lambda: usable
        yield torch.accelerator, "device_count", lambda: int(usable)
        yield (
            torch.accelerator,
            "current_accelerator",
            lambda check_available=False: None if check_available and not usable else built,
        )
        yield torch.backends.mps, "is_available", lambda: self.best == "mps"
        yield torch.backends.mps, "is_built", lambda: self.kind == "mps"
        yield torch.xpu, "is_available", lambda: self.best == "xpu"
        yield torch.xpu, "device_count", lambda: int(self.best == "xpu")


NVIDIA = Machine("with an NVIDIA card", "cuda")
OLDER_NVIDIA = Machine("with an NVIDIA card and an older PyTorch", "cuda", new=False)
MAC = Machine("that is a Mac", "mps")
OTHERS = (
    Machine("without any GPU", "cpu"),
    Machine("with a wheel for CUDA and no driver", "cuda", ready=False),
    MAC,
    Machine("with an Intel GPU", "xpu"),
    Machine("that is a Mac with an older PyTorch", "mps", new=False),
    Machine("without any GPU and with an older PyTorch", "cpu", new=False),
)


@contextmanager
def without_gpu() -> Iterator[None]:
    """Run the block as on a machine whose GPU cannot be used: torch says so, as it does with a hidden card."""
    simulation = current()
    if simulation is not None:
        simulation.stop()
    patches: list[tuple[Any, str, Callable[[], object]]] = [
        (torch.cuda, "is_available", lambda: False),
        (torch.cuda, "device_count", lambda: 0),
        (torch.accelerator, "is_available", lambda: False),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
    for owner, name, value in patches:
        setattr(owner, name, value)
    try:
        with _NoCard():
            yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        if simulation is not None:
            simulation.start()


@contextmanager
def a_card_to_lose() -> Iterator[None]:
    """Run the block on a simulated card, on every machine, since a device-side assert would take a real one from the kernel.

    What CUDA prints of the assert is not shown, and the next simulated card says nothing of this one.
    """
    told = list(session.lost)
    try:
        with redirect_stderr(io.StringIO()), simulate_gpu(CARD):
            yield
    finally:
        session.lost[:] = told


@contextmanager
def two_cards() -> Iterator[None]:
    """Run the block with two simulated cards on every machine; Pythons that it starts see them, whatever is hidden."""
    others = {name: value for name, value in os.environ.items() if name not in _HIDING}
    with patch.dict(os.environ, others, clear=True), simulate_gpu(CARD, count=2):
        yield


@contextmanager
def asked_of_autocast_on_a_mac() -> Iterator[set[str]]:
    """Run the block as on a Mac: yield the kinds of device for which it enters autocast.

    Tensors that are sent to `mps`, or made there, are on the CPU, and every tensor says that it is on `mps`: what autocast was
    asked can be seen so, what it would do cannot.
    """
    asked: set[str] = set()
    enter = torch.autocast.__enter__

    def noted(self: torch.autocast) -> object:
        if self._enabled:
            asked.add(self.device)
        return enter(self)

    with without_gpu(), MAC.played(), ExitStack() as stack:
        stack.enter_context(patch.object(torch.backends.mps, "is_macos_or_newer", lambda *_: True))
        stack.enter_context(patch.object(torch.autocast, "__enter__", noted))
        stack.enter_context(_SaysMac())
        yield asked


class _SaysMac(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if func == torch.Tensor.device.__get__:  # type: ignore[attr-defined]
            return torch.device("mps")
        if func is torch.Tensor.to and any(_means("mps", value) for value in (*args[1:], *named.values())):
            return args[0]
        if _means("mps", named.get("device")):
            named = named | {"device": "cpu"}
        return func(*args, **named)


class _NoCard(TorchFunctionMode):
    """Refuses what would need the card, as torch does where it finds none; a real card may be in use already."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        asked = [*args[1:], *named.values()]
        if func is torch.Tensor.cuda or any(_means("cuda", value) for value in asked):
            raise RuntimeError("No CUDA GPUs are available")
        return func(*args, **named)


def _means(kind: str, value: object) -> bool:
    return isinstance(value, (str, torch.device)) and device_kind(value) == kind
