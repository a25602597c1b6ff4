"""The checks of exercise 04: why does the monitor flicker?"""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn, optim
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from devicelab.course.looking import Seen, same_values, short, times, watch, without_gpu
from devicelab.course.looking.predict import prediction
from devicelab.course.question import NotAttempted, NotYet, exercise
from devicelab.expect import trimmed

_EFFECTS = ("asleep", "awake", "computes")
# What each line does as the first of a fresh kernel; tests/course/test_ex04.py runs them.
_TRUTH = {"a": "asleep", "b": "asleep", "c": "asleep", "d": "awake", "e": "computes", "f": "asleep"}
_WHY = {
    "a": "it asks the driver how many cards there are. Does an answer need a context?",
    "b": "where are weights made when no line says where?",
    "c": "the driver knows the name of every card. Did lesson 04 see nvidia-smi change after such a question?",
    "d": "memory on the card needs a context. Does anything have to be written into it?",
    "e": "three numbers have to become 0. Who writes them?",
    "f": "it is a name with a type and a number. Which of the two could need a card?",
}


_judge_effects = prediction(
    lambda: _TRUTH, lambda name, *_: f"Look at {name} again: {_WHY[name]}", words=_EFFECTS
)


def _trainer(device: str) -> Callable[[], float]:
    """Return a function that trains a small model there and gives back its loss as a Python number."""

    def train() -> float:
        model, data = nn.Linear(4, 2).to(device), torch.randn(8, 4).to(device)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        loss = model(data).square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return train


def _used_cases() -> Iterator[tuple[str, Callable[[], object], bool]]:
    """Yield a name, a function, and whether it lets the GPU run an operator."""
    kept = torch.zeros(1000, device="cuda")
    yield "a training on the CPU", _trainer("cpu"), False
    yield "a function that returns a tensor that has long been on the GPU", lambda: kept, False
    yield "a training on the GPU that returns its loss as a number", _trainer("cuda"), True
    yield "a training on the CPU beside a tensor that has long been on the GPU", _trainer("cpu"), False
    yield "a function that only waits for the GPU", torch.cuda.synchronize, False
    yield "a function that adds 1 in place to a tensor on the GPU", lambda: _dropped(kept.add_(1)), True
    yield (
        "a function that makes three zeros on the GPU and drops them",
        lambda: _dropped(torch.zeros(3, device="cuda")),
        True,
    )


def _dropped(_: object) -> None:
    """Take a value and give nothing back."""


def _judge_used_gpu(used_gpu) -> None:
    if not callable(used_gpu):
        raise NotYet(f"A function was asked for, but the answer is {short(used_gpu)}.")
    for name, function, wanted in _used_cases():
        calls: list[object] = []
        got = used_gpu(lambda run=function, calls=calls: calls.append(1) or run())
        if got is ...:
            raise NotAttempted
        if len(calls) != 1:
            raise NotYet(f"For {name} your used_gpu called fn {times(len(calls))}; once was asked for.")
        if got is not wanted:
            ran = "an operator" if wanted else "no operator"
            raise NotYet(f"For {name} your used_gpu returned {short(got)}, but {ran} ran on the GPU.")


def _reference_train(model: nn.Module, data: torch.Tensor, labels: torch.Tensor, epochs: int) -> list[float]:
    costs, history = torch.tensor([1.0, 2.0, 4.0]), []
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for _ in range(epochs):
        optimizer.zero_grad()
        outputs = model(data)
        nn.functional.cross_entropy(outputs, labels).backward()
        optimizer.step()
        history.append(costs[labels[outputs.argmax(dim=1) != labels]].sum().item())
    return history


def _judge_train(train) -> None:
    for device, rows, epochs in (("cpu", 60, 4), ("cuda", 40, 3)):
        model, data, labels = nn.Linear(6, 3), torch.randn(rows, 6), torch.randint(3, (rows,))
        wanted = _reference_train(copy.deepcopy(model), data, labels, epochs)
        try:
            seen = watch(train, model.to(device), data.to(device), labels.to(device), epochs)
        except RuntimeError as error:
            if device == "cpu":
                raise
            words = f"On the CPU it is right. With model and data on the GPU:\n{trimmed(error)}"
            raise NotYet(words) from None
        if device == "cpu":
            _leaves_the_gpu_alone(seen, f"In {epochs} epochs on the CPU,")
        seen.ran_on(device, f"With model and data on {device} a part of the training")
        same_values(seen.value, wanted, f"With model and data on {device} the history")


def _leaves_the_gpu_alone(seen: Seen, when: str) -> None:
    gpu = seen.operators("cuda")
    seen.at_most(0, gpu, f"{when} an operator ran on the GPU", "What sent it there?")
    for source, target in (("cpu", "cuda"), ("cuda", "cpu")):
        copies = seen.copies(source, target)
        seen.at_most(0, copies, f"{when} something was copied {source} -> {target}", "Where was it made?")


_NO_KERNEL = "CUDA error: no kernel image is available for execution on the device"
_WITHOUT_KERNEL = (torch.ops.aten.empty, torch.ops.aten._to_copy, torch.ops.aten.copy_, torch.ops.aten.detach)
_NO_WHEEL = "Torch not compiled with CUDA enabled"
_NO_CARD = "No CUDA GPUs are available"


class _NoKernels(TorchDispatchMode):
    """Lets every operator on the GPU fail as on a card too new for its PyTorch; memory and copies need no kernel there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = tree_leaves((args, kwargs))
        devices = [leaf.device if isinstance(leaf, torch.Tensor) else leaf for leaf in found]
        on_gpu = any(isinstance(device, torch.device) and device.type == "cuda" for device in devices)
        if on_gpu and func.overloadpacket not in _WITHOUT_KERNEL:
            raise RuntimeError(_NO_KERNEL)
        return func(*args, **(kwargs or {}))


class _CpuOnly(TorchFunctionMode):
    """Refuses the GPU in the words of a PyTorch that was built without CUDA, inside `without_gpu`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            return func(*args, **(kwargs or {}))
        except RuntimeError as error:
            if str(error) != _NO_CARD:
                raise
        raise AssertionError(_NO_WHEEL)


@contextmanager
def _cpu_wheel() -> Iterator[None]:
    with without_gpu(), _CpuOnly():
        yield


def _machines() -> Iterator[tuple[str, AbstractContextManager]]:
    yield "On a card that is counted, for which this PyTorch holds no kernels,", _NoKernels()
    yield "On a machine whose GPUs are hidden", without_gpu()
    yield "Under a PyTorch that was built without CUDA", _cpu_wheel()


def _judge_usable_gpu(usable_gpu) -> None:
    seen = watch(usable_gpu)
    _compare_usable(seen.value, True, "Here, where a GPU works,")
    if not seen.operators("cuda").count:
        sent = seen.copies("cpu", "cuda").count
        why = "a copy alone needs no kernel" if sent else "the card was believed, not tried"
        raise NotYet(f"It said True, but no operator was seen on the GPU: {why}.")
    for where, machine in _machines():
        with machine:
            try:
                got = usable_gpu()
            except (RuntimeError, AssertionError) as error:
                kind = type(error).__name__
                raise NotYet(f"{where} your usable_gpu stopped with {kind}: {error}.") from None
        _compare_usable(got, False, where)


def _compare_usable(got: object, wanted: bool, where: str) -> None:
    if got is not wanted:
        raise NotYet(f"{where} your usable_gpu returned {short(got)}; {wanted} was asked for.")


questions = q1, q2, q3, q4 = exercise(4, _judge_effects, _judge_used_gpu, _judge_train, _judge_usable_gpu)
