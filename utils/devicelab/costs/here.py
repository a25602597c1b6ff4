"""What the host in this computer pays for each operator: measured once a process, when a simulated time is first read.

A card in this computer would be given its work by this computer's Python, modules, autograd and optimizers, which a step on
its CPU pays too. So what that step costs is measured here, in some 40 ms; launches come on top, from published times. With
DEVICELAB_HOST=nominal the nominal host of host.py is taken instead, and a simulated time depends on no machine.
"""

import os
import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim.sgd import sgd
from torch.profiler import record_function
from torch.utils._python_dispatch import TorchDispatchMode

from devicelab import devices, units
from devicelab.errors import InputError
from devicelab.results import WIDE, quartiles
from devicelab.versions import release

from .host import DISPATCH, Span

VARIABLE = "DEVICELAB_HOST"
WARM = 5  # steps before
BLOCK, BLOCKS = 3, 40  # steps in a block, and blocks: short, so that other programs interrupt few
LONGEST = 0.08  # seconds: a busy machine measures fewer blocks
FEWEST = 5
MARKS_ARE_HEARD = release(torch.__version__) >= (2, 11)  # as in simgpu/stand_ins/profiler.py


class Host(NamedTuple):
    """What an operator costs a host before its kernel is launched, and how this is known."""

    dispatch: Span
    is_measured: bool
    is_busy: bool = False  # whether the blocks differed widely

    def __str__(self) -> str:
        if not self.is_measured:
            return f"a nominal host: {units.seconds(self.dispatch.seconds)} for each operator"
        when = ", while it was busy" if self.is_busy else ""
        return f"{units.seconds(self.dispatch.seconds)} for each operator measured on this machine{when}"


NOMINAL = Host(DISPATCH, is_measured=False)


def host() -> Host:
    """Return the host that feeds a simulated card: this machine's, or the nominal one where DEVICELAB_HOST asks for it."""
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", "nominal"):
        raise InputError(
            f'{VARIABLE}="{asked}": only "nominal" is known. Leave it out to measure this machine.'
        )
    return NOMINAL if asked else measured()


@cache
def measured() -> Host:
    """Measure this machine's host, the first time that it is asked for."""
    with devices.present().undisturbed(), torch.inference_mode(False), torch.enable_grad():
        step = smallest_step()
        for _ in range(WARM):
            step()
        with Counter() as counter:
            step()
        each = [seconds / counter.count for seconds in _blocks(step)]
    usual, slow = quartiles(each)  # what other programs interrupt takes longer, never shorter
    return Host(Span(min(each), usual, slow), is_measured=True, is_busy=slow - usual > WIDE * usual)


def _blocks(step: Callable[[], None]) -> list[float]:
    """Return seconds of a step, one for each block of steps."""
    taken: list[float] = []
    begin = time.perf_counter()
    while len(taken) < BLOCKS and (len(taken) < FEWEST or time.perf_counter() - begin < LONGEST):
        start = time.perf_counter()
        for _ in range(BLOCK):
            step()
        taken.append((time.perf_counter() - start) / BLOCK)
    return taken


def smallest_step() -> Callable[[], None]:
    """Return a training step of which the arithmetic takes next to nothing, as CUDA would run it: foreach.

    The update is torch's own, in its functional form: an Optimizer would load torch._dynamo, a second of work that a script need
    not want, and would tell those who wait for every optimizer's steps. It took 0.92 of the time with torch.optim.SGD (measured).
    """
    with torch.random.fork_rng(devices=[]):  # the learner's random numbers stay what they are
        model = nn.Linear(10, 2, device="cpu", dtype=torch.float32)
    data, labels = (torch.ones(4, width, device="cpu", dtype=torch.float32) for width in (10, 2))
    parameters: list[torch.Tensor] = [*model.parameters()]

    def step() -> None:
        with record_function("Optimizer.zero_grad#SGD.zero_grad"):
            for one in parameters:
                one.grad = None
        nn.functional.mse_loss(model(data), labels).backward()
        with record_function("Optimizer.step#SGD.step"), torch.no_grad():
            gradients = [one.grad for one in parameters if one.grad is not None]
            sgd(
                parameters, gradients, [None] * len(parameters), has_sparse_grad=False, foreach=True, fused=False,
                weight_decay=0, momentum=0, lr=0.01, dampening=0, nesterov=False, maximize=False,
            )  # fmt: skip

    return step


class Counter(TorchDispatchMode):
    """Counts operators as the simulated clock does: each that is dispatched, marks for the profiler where that hears of them."""

    count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Answer PyTorch that this needs no compiler: else the first operator loads torch._dynamo."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += MARKS_ARE_HEARD or func.namespace != "profiler"
        return func(*args, **(kwargs or {}))
