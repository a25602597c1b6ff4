"""The checks of exercise 01: where does training run by default?"""

import torch
from torch import nn

from devicelab.course.looking import short, watch
from devicelab.course.looking.predict import prediction
from devicelab.course.question import NotYet, exercise


class _Positioned(nn.Module):
    """Its table is a buffer that no checkpoint holds."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.register_buffer("table", torch.ones(3, device=device), persistent=False)


class _Normalised(nn.Module):
    """Its layer stays on the CPU, its running statistics are buffers elsewhere."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2, affine=False, device=device)


def _devices_of(module: nn.Module) -> set[torch.device]:
    return {tensor.device for tensor in (*module.parameters(), *module.buffers())}


def _judge_devices_of(devices_of) -> None:
    half_moved = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2, device="cuda"))
    cases = {
        "a plain nn.Linear(3, 2)": nn.Linear(3, 2),
        "a Sequential whose second layer was made on cuda": half_moved,
        "a model whose BatchNorm statistics (buffers) were made on cuda": _Normalised("cuda"),
        "a model with a buffer on cuda that is kept out of checkpoints": _Positioned("cuda"),
        "nn.ReLU(), which holds no tensor at all": nn.ReLU(),
    }
    for name, module in cases.items():
        got, wanted = watch(devices_of, module).value, _devices_of(module)
        if not isinstance(got, set) or not all(isinstance(device, torch.device) for device in got):
            raise NotYet(
                f"For {name} your function returned {short(got)}. A set of torch.device was asked for; "
                "a tensor's own .device is one."
            )
        if got != wanted:
            missed, invented = _words(wanted - got), _words(got - wanted)
            problem = (
                f"it missed {missed}" if missed else f"it named {invented}, where none of its tensors is"
            )
            raise NotYet(f"For {name} your function returned {_words(got) or 'an empty set'}: {problem}.")


def _words(devices: set[torch.device]) -> str:
    return ", ".join(sorted(str(device) for device in devices))


_TRUTH = {"a": "cpu", "b": "cuda", "c": "cuda", "d": "cuda", "e": "cpu"}
_WHY = {
    "a": "it was made without a device, and a GPU that is present attracts nothing.",
    "b": "its line names the device on which it is made.",
    "c": "which tensor does .to('cuda') give back, and which one is kept?",
    "d": "it is made like c. What does ones_like take over from its model?",
    "e": "e.to('cuda') gave back a copy, and nobody kept it. Which tensor is called e?",
}


_judge_places = prediction(
    lambda: _TRUTH, lambda name, *_: f"Look at {name} again: {_WHY[name]}", words=("cpu", "cuda")
)


class _MovesItsInput(nn.Module):
    """Sends the data to where its layer is, as some libraries' models do."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2, device=device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.to(self.fc.weight.device))


def _judge_ran_on_gpu(ran_on_gpu) -> None:
    here, there = torch.ones(4, 3), torch.ones(4, 3, device="cuda")
    cases = (
        ("a model and data that were never moved", nn.Linear(3, 2), here, False),
        ("a model and data on cuda", nn.Linear(3, 2, device="cuda"), there, True),
        ("nn.Flatten(), which has no parameters, with data on cuda", nn.Flatten(), there, True),
        ("nn.Flatten(), which has no parameters, with data on the CPU", nn.Flatten(), here, False),
        ("a model on cuda that moves its input there by itself", _MovesItsInput("cuda"), here, True),
    )
    for name, model, data, wanted in cases:
        try:
            got = watch(ran_on_gpu, model, data).value
        except StopIteration:
            raise NotYet(f"For {name} your function stopped: next() found no parameter to ask.") from None
        if got is not wanted:
            raise NotYet(f"For {name} your function returned {short(got)}, but {wanted} is true.")


def _judge_send(send) -> None:
    for device in ("cuda", "cpu"):
        batch = {
            "pixels": torch.rand(5, 4),
            "labels": torch.arange(5, device="cuda" if device == "cpu" else "cpu"),
            "weights": torch.rand(5),
            "files": [f"photo-{number}.jpg" for number in range(5)],
        }
        whole = dict(batch)
        seen = watch(send, batch, device)
        if not isinstance(seen.value, dict) or set(seen.value) != set(whole):
            raise NotYet(f"send(batch, {device!r}) has to return a dict with the keys {', '.join(whole)}.")
        for name, value in whole.items():
            _compare_entry(f'send(batch, {device!r})["{name}"]', seen.value[name], value, device)


def _compare_entry(name: str, got: object, before: object, device: str) -> None:
    if not isinstance(before, torch.Tensor):
        if got != before:
            raise NotYet(
                f"{name} holds file names, which have no device and stay as they are. It is {short(got)}."
            )
    elif not isinstance(got, torch.Tensor):
        raise NotYet(f"{name} is {short(got)}; the tensor was asked for.")
    elif got.device.type != device:
        raise NotYet(f"{name} is on {got.device}, and it was {before.device} before. {device} was asked for.")
    elif got.dtype != before.dtype or not torch.equal(got.cpu(), before.cpu()):
        raise NotYet(
            f"{name} is on {got.device}, but its values or its dtype ({before.dtype}) changed on the way."
        )


questions = q1, q2, q3, q4 = exercise(1, _judge_devices_of, _judge_places, _judge_ran_on_gpu, _judge_send)
