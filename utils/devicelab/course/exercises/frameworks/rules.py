"""Where an operation runs in TensorFlow, in JAX and here; what is true is known by stored runs (tools/notebooks/elsewhere.py)."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch

from devicelab import devices
from devicelab.course.elsewhere.runs import stored
from devicelab.course.looking import is_on, same_values, short, watch
from devicelab.course.looking.predict import prediction
from devicelab.course.question import NotAttempted, NotYet

# --- 1: six products --------------------------------------------------------------------------------------------------

_TWO_PARTS = """\
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
part = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [part, part])
with tf.device("CPU:0"):
    a = tf.ones((2, 2))
with tf.device("CPU:1"):
    b = tf.ones((2, 2))
"""
_TWO_FLAGGED = """\
import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import jax
from jax import numpy as jnp

first, second = jax.devices()
a = jnp.ones((2, 2))
b = jax.device_put(a, second)
"""
PRODUCTS = {  # as the task shows them
    "tensorflow": {"outside": "outside = b @ b", "inside": 'with tf.device("CPU:1"):\n    inside = a @ a'},
    "jax": {
        "free": "free = a @ b",
        "put": "put = jax.device_put(a, first) @ b",
        "chained": "chained = jax.device_put(a, first) @ free",
    },
    "torch": {"half": 'half = a @ a.to("cuda")'},
}
_SECOND = {"tensorflow": "CPU:1", "jax": "cpu:1", "torch": "cuda"}
_WHY = {
    "outside": "Both lie on the second device. Which device is in force where the line stands?",
    "inside": "a lies on the first device. Which device is in force where the line stands?",
    "free": "Which of the two was put somewhere, and which lies where JAX made it?",
    "put": "Who has asked for a's device here, and who for b's?",
    "chained": "free came out of a product with an array that was put on the second device. Is it free?",
    "half": "Lesson 03 has this product.",
}


def script(framework: str) -> str:
    """Return the script that runs a framework's products and prints, for each, the device or "stops"."""
    lines = [{"tensorflow": _TWO_PARTS, "jax": _TWO_FLAGGED}[framework]]
    for name, product in PRODUCTS[framework].items():
        indented = product.replace("\n", "\n    ")
        lines += ["try:", f"    {indented}", f"    print('{name}:', {name}.device)"]
        lines += ["except ValueError:", f"    print('{name}: stops')"]
    return "\n".join([*lines, ""])


def _products() -> dict[str, str]:
    """Return where each product of the question was seen to run."""
    found = {}
    for framework in ("tensorflow", "jax"):
        run = stored(framework, script(framework))
        assert run, f"{framework}'s products have a stored run"
        for name, where in (line.split(": ", 1) for line in run.text.splitlines()):
            found[name] = where if where == "stops" else _place(framework, where)
    return {name: found[name] for name in _WHY if name in found} | {"half": _half()}


def _place(framework: str, where: str) -> str:
    return "second" if _SECOND[framework] in where else "first"


def _half() -> str:
    a = torch.ones(2, 2)
    try:
        return _place("torch", str((a @ a.to("cuda")).device))
    except RuntimeError:
        return "stops"


judge_products = prediction(
    _products,
    lambda name, said, _: (
        f"For {name} you wrote {said!r}. The line was run, and it came otherwise. {_WHY[name]}"
    ),
    words=("first", "second", "stops"),
)

# --- 2: TensorFlow's rule in PyTorch ------------------------------------------------------------------------------------


def _shifted(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a @ b + torch.full((b.shape[1],), 3.0)  # made where no line says


def _pairs() -> Iterator[tuple[str, str, str]]:
    for device in ("cuda", "cpu", "cuda:0"):
        for one, other in itertools.product(("cpu", "cuda"), repeat=2):
            yield device, one, other


def judge_call(call) -> None:
    for device, *places in _pairs():
        here = torch.randn(4, 5), torch.randn(5, 3)
        wanted = _shifted(*here)
        given = [tensor.clone().to(place) for tensor, place in zip(here, places, strict=True)]
        kind = device.partition(":")[0]
        case = f"With device={device!r} and tensors on {' and '.join(places)}"
        for policy in ("silent", "explicit"):
            if policy == "explicit" and set(places) != {kind}:
                _refuses(call, given, device, case)
                continue
            seen = _called(call, given, device, policy, case)
            away = sum(place != kind for place in places)
            for source, target in (("cpu", "cuda"), ("cuda", "cpu")):
                most = away if target == kind else 0
                seen.at_most(
                    most, seen.copies(source, target), f"{case} something was copied", "Which had to be?"
                )
            seen.ran_on(kind, f"{case} the function")
            same_values(seen.value, wanted, f"{case} the result")
            is_on(seen.value, kind, f"{case} the result")
            for tensor, place in zip(given, places, strict=True):
                is_on(tensor, place, f"{case}: afterwards a tensor of the list")


def _called(call: Callable[..., Any], given: list[torch.Tensor], device: str, policy: str, case: str) -> Any:
    """Call the answer where nothing stands against it, and look at what it leaves behind."""
    try:
        seen = watch(call, _shifted, given, device, policy)
    except ValueError as error:
        raise NotYet(
            f"{case}, policy={policy!r} raised a ValueError ({error}). Which of the tensors had to be copied there?"
        ) from None
    left = devices.default()
    if left.type != "cpu":
        torch.set_default_device(None)
        raise NotYet(f"{case} you leave {left} as the default device behind. For how long was it needed?")
    return seen


def _refuses(call: Callable[..., Any], given: list[torch.Tensor], device: str, case: str) -> None:
    try:
        seen = watch(call, _shifted, given, device, "explicit")
    except ValueError:
        return
    raise NotYet(
        f'{case}, policy="explicit" returned {short(seen.value)}. One of them lies elsewhere: what does TensorFlow do then, '
        "made strict?"
    )


# --- 5: JAX's rule ------------------------------------------------------------------------------------------------------

DEFAULT = "cpu:2"
EVERY_PAIR = """\
import itertools
import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=3"
import jax

first, second, default = jax.devices()


def made(device, committed):
    with jax.default_device(device):
        array = jax.numpy.ones((2, 2))
    return jax.device_put(array, device) if committed else array


jax.config.update("jax_default_device", default)
kinds = list(itertools.product((first, second), (False, True)))
for pair in itertools.product(kinds, repeat=2):
    a, b = (made(*kind) for kind in pair)
    try:
        c = a @ b
        said = (str(c.device), c.committed)
    except ValueError:
        said = "stops"
    print([(str(array.device), array.committed) for array in (a, b)], "->", said)
"""


def lands(arrays: list[tuple[str, bool]], default: str) -> tuple[str, bool]:
    """Return (device, committed) of what JAX makes of arrays given so; ValueError where two committed ones clash."""
    wanted = {device for device, committed in arrays if committed}
    if len(wanted) > 1:
        raise ValueError(f"incompatible devices: {', '.join(sorted(wanted))}")
    return (wanted.pop(), True) if wanted else (default, False)


def _cases() -> Iterator[tuple[list[tuple[str, bool]], str]]:
    kinds = list(itertools.product(("cpu:0", "cpu:1"), (False, True)))
    for size, default in ((1, "cpu:0"), (2, DEFAULT), (3, "cpu:0")):
        for arrays in itertools.product(kinds, repeat=size):
            yield list(arrays), default
    yield [("gpu:0", False), ("cpu:0", True)], "gpu:0"
    yield [("cpu:0", False), ("cpu:0", False)], "gpu:0"


def _asked(rule: Callable[..., Any], arrays: list[tuple[str, bool]], default: str) -> object:
    try:
        return rule(list(arrays), default)
    except ValueError:
        return "stops"


def judge_lands(answer) -> None:
    for arrays, default in _cases():
        right, said = _asked(lands, arrays, default), _asked(answer, arrays, default)
        if said is ...:
            raise NotAttempted
        if isinstance(said, list):
            said = tuple(said)
        if said != right or type(said) is not type(right):
            told = "raised ValueError" if said == "stops" else f"returned {short(said)}"
            raise NotYet(
                f"lands({arrays}, {default!r}) {told}. JAX does something else. {_of_rule(arrays, right)}"
            )


def _of_rule(arrays: list[tuple[str, bool]], right: object) -> str:
    committed = [device for device, is_committed in arrays if is_committed]
    if right == "stops":
        return "Two arrays were put, on different devices: which of them could come to the other?"
    if not committed:
        return (
            "No array was put anywhere. Where does JAX run what nobody has placed, wherever its arrays lie?"
        )
    return "One device was asked for. Who comes along, and is the result free to go elsewhere?"
