"""The checks of exercise 01: where does training run by default?"""

import torch
from torch import nn

from .question import NotAttempted, NotYet, Question


def _other_device() -> str:
    """A device that is not the CPU: the GPU where there is one, else "meta", which computes nothing."""
    return "cuda" if torch.cuda.is_available() else "meta"


class _Normalised(nn.Module):
    """Its layer stays on the CPU, its running statistics are buffers elsewhere."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2, affine=False, device=device)


def _devices_of(module: nn.Module) -> set[torch.device]:
    return {tensor.device for tensor in (*module.parameters(), *module.buffers())}


def _judge_devices_of(devices_of) -> None:
    other = _other_device()
    half_moved = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2, device=other))
    cases = {
        "a plain nn.Linear(3, 2)": nn.Linear(3, 2),
        f"a Sequential whose second layer was made on {other}": half_moved,
        f"a model whose BatchNorm statistics (buffers) were made on {other}": _Normalised(other),
        "nn.ReLU(), which holds no tensor at all": nn.ReLU(),
    }
    for name, module in cases.items():
        _compare(name, devices_of(module), _devices_of(module))


def _compare(name: str, got: object, wanted: set[torch.device]) -> None:
    if got is ...:
        raise NotAttempted
    if not isinstance(got, set) or not all(isinstance(device, torch.device) for device in got):
        raise NotYet(f"For {name} your function returned {got!r}. A set of torch.device was asked for.")
    if got != wanted:
        missed, invented = _words(wanted - got), _words(got - wanted)
        problem = f"it missed {missed}" if missed else f"it named {invented}, where none of its tensors is"
        raise NotYet(f"For {name} your function returned {_words(got) or 'an empty set'}: {problem}.")


def _words(devices: set[torch.device]) -> str:
    return ", ".join(sorted(str(device) for device in devices))


q1 = Question(
    judge=_judge_devices_of,
    start_here="Replace the `...` in devices_of by your code, run the cell, then run this check again.",
    praise="Parameters and buffers, each asked for its own device: no tensor could hide.",
    hints=(
        "Which kinds of tensors does a module hold? Lesson 01 asked only the first parameter.",
        "A BatchNorm layer keeps its running mean, although no optimizer ever changes it. How is such a tensor called?",
        "module.parameters() and module.buffers() give all of them, and each tensor has .device.",
    ),
    answer="def devices_of(module):\n    return {t.device for t in (*module.parameters(), *module.buffers())}",
)

_TRUTH = {"a": "cpu", "b": "cuda", "c": "cuda", "d": "cuda", "e": "cpu"}
_WHY = {
    "a": "it was made without a device, and a GPU that is present attracts nothing.",
    "b": "its line names the device on which it is made.",
    "c": "which tensor does .to('cuda') give back, and which one is kept?",
    "d": "it is made like c. What does ones_like take over from its model?",
    "e": "e.to('cuda') gave back a copy, and nobody kept it. Which tensor is called e?",
}


def _judge_places(places) -> None:
    if not isinstance(places, dict) or set(places) != set(_TRUTH):
        raise NotYet("The answer is a dict with the five keys 'a' to 'e', as in the cell.")
    if all(place is ... for place in places.values()):
        raise NotAttempted
    for name, wanted in _TRUTH.items():
        if str(places[name]).removesuffix(":0") not in ("cpu", "cuda"):
            raise NotYet(f"For {name} you wrote {places[name]!r}; 'cpu' or 'cuda' was asked for.")
        if str(places[name]).removesuffix(":0") != wanted:
            raise NotYet(f"Look at {name} again: {_WHY[name]}")


q2 = Question(
    judge=_judge_places,
    start_here="Replace each `...` by 'cpu' or 'cuda' before you run the five lines.",
    praise="Five of five. A tensor is where it was made, or where .to() returned it.",
    hints=(
        "Which of the five lines name a device at all?",
        "Tensor.to returns a tensor. In which lines is the returned tensor kept?",
        "torch.ones_like(t) takes shape, dtype and device from t; x.to(device) leaves x as it is.",
    ),
    answer='places = {"a": "cpu", "b": "cuda", "c": "cuda", "d": "cuda", "e": "cpu"}',
)


class _MovesItsInput(nn.Module):
    """Sends the data to where its layer is, as some libraries' models do."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2, device=device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.to(self.fc.weight.device))


def _judge_ran_on_gpu(ran_on_gpu) -> None:
    other = _other_device()
    here, there = torch.ones(4, 3), torch.ones(4, 3, device=other)
    cases = (
        ("a model and data that were never moved", nn.Linear(3, 2), here, False),
        (f"a model and data on {other}", nn.Linear(3, 2, device=other), there, True),
        (f"nn.Flatten(), which has no parameters, with data on {other}", nn.Flatten(), there, True),
        ("nn.Flatten(), which has no parameters, with data on the CPU", nn.Flatten(), here, False),
        (f"a model on {other} that moves its input there by itself", _MovesItsInput(other), here, True),
    )
    for name, model, data, wanted in cases:
        try:
            got = ran_on_gpu(model, data)
        except StopIteration:
            raise NotYet(f"For {name} your function stopped: next() found no parameter to ask.") from None
        if got is ...:
            raise NotAttempted
        if got is not wanted:
            raise NotYet(f"For {name} your function returned {got!r}, but {wanted} is true.")


q3 = Question(
    judge=_judge_ran_on_gpu,
    start_here="Replace the `...` in ran_on_gpu by your code, run the cell, then run this check again.",
    praise="You asked the result, not the machine: evidence instead of belief.",
    hints=(
        "Does a GPU that is available have to be used? What would show that it was?",
        "An operator leaves its result on the device on which it ran.",
        "model(data).device.type is 'cpu' exactly if the last operator ran on the CPU.",
    ),
    answer='def ran_on_gpu(model, data):\n    return model(data).device.type != "cpu"',
)
