"""The checks of exercise 03: what if only half of it moved?"""

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn, optim

from devicelab.course.looking import is_on, same_values, short, watch
from devicelab.course.looking.predict import prediction
from devicelab.course.question import NotYet, exercise
from devicelab.expect import trimmed

_SUSPECTS = ("data", "weight", "bias", "labels", "class_weight")
# What was left on the CPU in each run of the question:
_STAYED = {"a": "weight", "b": "bias", "c": "class_weight"}
_BLAME = re.compile(r"got (\w+) is on (\S+), different from other tensors on (\S+) \(.*in method (\w+)\)")
_COMPARE = (
    "Compare the operator's name at the end first.",
    "Compare the argument that is named, and remember whose word that name is.",
    "Compare the two devices, and who is alone on the second one.",
)


def _message_when(stayed: str) -> str:
    """Run the question's two lines with one tensor left on the CPU and return what torch says."""
    made = (torch.randn(8, 10), torch.randn(3, 10), torch.randn(3), torch.randint(3, (8,)), torch.ones(3))
    tensors = dict(zip(_SUSPECTS, made, strict=True))
    data, weight, bias, labels, class_weight = (
        tensor if name == stayed else tensor.to("cuda") for name, tensor in tensors.items()
    )
    try:
        outputs = nn.functional.linear(data, weight, bias)
        nn.functional.cross_entropy(outputs, labels, weight=class_weight)
    except RuntimeError as error:
        return str(error)
    return "no error at all"


def _blamed(message: str) -> tuple[str, str, str]:
    """Return operator, argument and devices of a message; the message itself where it reads otherwise."""
    found = _BLAME.search(message)
    return (found[4], found[1], f"{found[2]} {found[3]}") if found else (message, "", "")


def _messages() -> dict[str, str]:
    return {run: _message_when(stayed) for run, stayed in _STAYED.items()}


def _compare_messages(run: str, name: str, wanted: str) -> str:
    """Return what torch says with that tensor left behind, and where that is not the wanted message."""
    tried = _message_when(name)
    for mine, theirs, advice in zip(_blamed(tried), _blamed(wanted), _COMPARE, strict=True):
        if mine != theirs:
            return f"Tried: with {name} alone on the CPU, torch says\n{tried}\nThat is not message {run}. {advice}"
    return ""


_judge_messages = prediction(_messages, _compare_messages, words=_SUSPECTS)


def _reference_step(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    weight, wanted = torch.tensor([1.0, 2.0, 4.0]), torch.full((len(images), 3), 0.05)
    wanted.scatter_(1, labels[:, None], 0.9)
    loss = -(weight * wanted * model(images).log_softmax(dim=1)).sum(dim=1).mean()
    loss.backward()
    optimizer.step()
    return loss.item()


def _judge_train_step(train_step) -> None:
    for device, rows in (("cuda", 12), ("cpu", 7)):
        model, twin = nn.Linear(16, 3), nn.Linear(16, 3)
        twin.load_state_dict(model.state_dict())
        images, labels = torch.randn(rows, 16), torch.randint(3, (rows,))
        wanted = _reference_step(twin, images, labels)
        model.to(device)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        try:
            seen = watch(train_step, model, optimizer, images, labels, device)
        except RuntimeError as error:
            if device == "cuda":
                raise
            raise NotYet(
                f"With 'cuda' it runs. Called with device='cpu' it stops:\n{trimmed(error)}"
            ) from None
        seen.ran_on(device, f"With device={device!r} a part of the step")
        seen.at_most(1, seen.waits, "In one step the CPU waited for the GPU", "Which value does it need?")
        sent = seen.copies("cpu", "cuda")
        once = images.nbytes + labels.nbytes + 3 * 4  # the weights of three classes, 4 bytes each
        seen.at_most_bytes(once, sent, "What one step needs was sent to the GPU", "What was sent already?")
        same_values(seen.value, wanted, f"With device={device!r} the loss")
        is_on(model, device, f"After train_step(..., {device!r}) the model")
        same_values(dict(model.state_dict()), dict(twin.state_dict()), "The trained model")


class _Encoder(nn.Module):
    """Adds a position to each word: a buffer that is not saved, as many published models keep it."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 4)
        self.norm = nn.BatchNorm1d(4, affine=False)
        self.register_buffer("position", torch.randn(6, 4), persistent=False)


def _half_moved(*stayed: str) -> nn.Module:
    """Return a model on the GPU, of which the named modules or tensors were put back on the CPU."""
    model = nn.ModuleDict({"encoder": _Encoder(), "head": nn.Linear(4, 2)}).to("cuda")
    for name in stayed:
        path, _, leaf = name.rpartition(".")
        part = getattr(model.get_submodule(path), leaf)
        if isinstance(part, nn.Module):
            part.to("cpu")
        else:
            part.data = part.data.cpu()
    return model


def _tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _judge_left_behind(left_behind) -> None:
    here, there = torch.ones(2, dtype=torch.long), torch.ones(2, dtype=torch.long, device="cuda")
    cases = (
        ("a model that was moved as a whole", _half_moved(), there),
        ("a model whose head was made anew", _half_moved("head"), there),
        ("a model of which one bias stayed behind", _half_moved("head.bias"), there),
        ("a model whose running statistics stayed behind", _half_moved("encoder.norm"), there),
        ("a model whose table of positions stayed behind", _half_moved("encoder.position"), there),
        ("a model that was never moved", _half_moved("encoder", "head"), there),
        ("a model that was moved without its head", _half_moved("head"), here),
    )
    for name, model, x in cases:
        before = {key: tensor.device for key, tensor in _tensors_of(model).items()}
        wanted = {key for key, device in before.items() if device != x.device}
        _compare_names(watch(left_behind, model, x).value, wanted, f"For {name}, with x on {x.device},")
        if before != {key: tensor.device for key, tensor in _tensors_of(model).items()}:
            raise NotYet(f"For {name} your function moved tensors. It was asked to look, and to leave them.")


def _compare_names(got: Any, wanted: set[str], case: str) -> None:
    if not isinstance(got, set) or not all(isinstance(name, str) for name in got):
        raise NotYet(f"{case} your function returned {short(got)}. A set of names was asked for.")
    missed, invented = ", ".join(sorted(wanted - got)), ", ".join(sorted(got - wanted))
    if missed:
        raise NotYet(f"{case} your function missed {missed}.")
    if invented:
        raise NotYet(f"{case} your function named {invented}. No such tensor lies elsewhere than x.")


def _detection_batch() -> dict[str, Any]:
    """Return a batch as a loader for object detection gives it: tensors in dicts, lists and tuples, and other things."""
    return {
        "image": torch.rand(2, 3, 4, 4),
        "target": {"boxes": torch.rand(3, 4), "labels": torch.arange(3)},
        "crops": [torch.rand(2, 2), torch.rand(3, 3)],
        "pair": (torch.ones(2), {"mask": torch.tensor([True, False])}),
        "size": (480, 640),
        "file": "street.jpg",
    }


def _judge_to_device(to_device) -> None:
    there = torch.rand(3, device="cuda")
    cases = (
        ("batch", _detection_batch(), "cuda"),
        ("(inputs, target)", (torch.rand(2, 3), torch.arange(2)), "cuda"),
        ("[x, None]", [there, None], "cuda"),
        ("batch", {"image": torch.rand(2, device="cuda"), "crops": [there]}, "cpu"),
    )
    for name, batch, device in cases:
        before, what = list(_leaves(batch)), f"to_device({name}, {device!r})"
        seen = watch(to_device, batch, device)
        if [id(leaf) for leaf in _leaves(batch)] != [id(leaf) for leaf in before]:
            raise NotYet(
                f"{what} changed the batch that it was given, and the loader may hand that out again."
            )
        _compare(what, seen.value, batch, device)


def _leaves(batch: Any) -> Iterator[Any]:
    """Yield what lies in a batch, in order, from all its containers."""
    if isinstance(batch, (dict, list, tuple)):
        for part in batch.values() if isinstance(batch, dict) else batch:
            yield from _leaves(part)
    else:
        yield batch


def _built(value: Any) -> str:
    is_container = isinstance(value, (dict, list, tuple))
    return f"a {type(value).__name__} of {len(value)} parts" if is_container else short(value)


def _compare(what: str, got: Any, before: Any, device: str) -> None:
    """Raise NotYet unless `got` is built as `before` is, with every tensor on the device."""
    if isinstance(before, torch.Tensor):
        if isinstance(got, torch.Tensor):
            is_on(got, device, what)
        same_values(got, before, what)
    elif isinstance(before, (dict, list, tuple)):
        if type(got) is not type(before) or len(got) != len(before):
            raise NotYet(f"{what} is {_built(got)}; {_built(before)} was given, and asked for.")
        for key in before if isinstance(before, dict) else range(len(before)):
            _compare(f"{what}[{key!r}]", got[key], before[key], device)
    elif type(got) is not type(before) or got != before:
        raise NotYet(f"{what} holds no tensor and stays as it is: {before!r}. It became {short(got)}.")


questions = q1, q2, q3, q4 = exercise(
    3, _judge_messages, _judge_train_step, _judge_left_behind, _judge_to_device
)
