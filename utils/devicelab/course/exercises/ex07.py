"""The checks of exercise 07: what hides from .to()?"""

import copy
import math
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn, optim

from devicelab.course.looking import is_on, same_values, short, tally, watch, without_gpu
from devicelab.course.looking.predict import device_prediction
from devicelab.course.looking.same import CLOSE
from devicelab.course.question import NotYet, exercise
from devicelab.placement import placement

STEPS = 4  # trained before a checkpoint, and again after it

_PLACES_WHY = {
    "weight": "a parameter stays the same object in a move. What does that mean for a second name of it?",
    "scale": "a buffer is replaced in a move. Who still holds the old one?",
    "own_scale": "this asks the model itself, and its buffer was registered.",
    "head": "how many modules does list(tagger.children()) count?",
    "average": "a deepcopy shares nothing with what it was copied from. Which of the two moved?",
}


class _Tagger(nn.Module):
    """The model of the question: an embedding, two heads in a list, a buffer."""

    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.heads = [nn.Linear(8, 2), nn.Linear(8, 3)]
        self.register_buffer("scale", torch.ones(8))


def _where_they_are() -> dict[str, torch.Tensor]:
    """Run the lines of the question on the present GPU and return the five tensors."""
    tagger = _Tagger()
    average = copy.deepcopy(tagger)
    weight, scale = tagger.embed.weight, tagger.scale
    tagger.to("cuda")
    return {
        "weight": weight,
        "scale": scale,
        "own_scale": tagger.scale,
        "head": tagger.heads[0].weight,
        "average": average.embed.weight,
    }


_judge_places = device_prediction(_where_they_are, _PLACES_WHY)


def _waves(length: int, width: int) -> torch.Tensor:
    angle = torch.arange(length)[:, None] / 10_000 ** (torch.arange(0, width, 2) / width)
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)


def _reference_read(mix: nn.Linear, length: int, x: torch.Tensor) -> torch.Tensor:
    steps, layer = x.shape[1], copy.deepcopy(mix).cpu()
    mask = torch.ones(steps, steps).tril()
    return layer(mask / mask.sum(dim=1, keepdim=True) @ (x + _waves(length, mix.in_features)[:steps]))


def _judge_reader(Reader: Callable[..., nn.Module]) -> None:
    for device, length, steps in (("cuda", 9, 6), ("cpu", 7, 7)):
        reader, here = _module(Reader, length, 8), torch.randn(2, steps, 8)
        _says_what_it_keeps(reader)
        reader.to("cuda")
        reader(here.to("cuda"))  # a first call may still prepare something
        reader.to(device)
        x = here.to(device)
        reader(x)
        case = f"Three calls of a Reader on {device}"
        seen = watch(_three_calls, reader, x)
        _copies_nothing(case, seen)
        seen.ran_on(device, f"In {case[0].lower()}{case[1:]} a part of the work")
        remade = tally(one for one in seen.trace.operators if one.name.startswith("aten::sin"))
        seen.at_most(0, remade, f"{case} computed the table", "Does it change between two calls?")
        same_values(seen.value[-1], _reference_read(reader.mix, length, here), f"On {device} the result")


def _three_calls(reader: Callable[..., Any], x: torch.Tensor) -> list[torch.Tensor]:
    return [reader(x) for _ in range(3)]


def _copies_nothing(case: str, seen: Any) -> None:
    for source, target in (("cpu", "cuda"), ("cuda", "cpu")):
        found = seen.copies(source, target)
        seen.at_most(
            0, found, f"{case} copied something from {source} to {target}", "Where could it be already?"
        )


def _module(kind: Callable[..., object], *sizes: int) -> Any:
    """Return what the learner's class makes of these sizes; raise NotYet unless it is a module."""
    if not callable(kind):
        raise NotYet(f"A class was asked for, but the answer is {short(kind)}.")
    made, call = kind(*sizes), f"{getattr(kind, '__name__', 'the answer')}({', '.join(map(str, sizes))})"
    if not isinstance(made, nn.Module):
        raise NotYet(f"{call} made {short(made)}; a module that can be moved was asked for.")
    return made


def _says_what_it_keeps(reader: nn.Module) -> None:
    """Raise NotYet unless the Linear is all that an optimizer trains and a checkpoint holds."""
    if not isinstance(getattr(reader, "mix", None), nn.Linear):
        raise NotYet("The Reader has lost its layer, reader.mix, which was right as it was.")
    wanted = {"mix.weight", "mix.bias"}
    trained = {name for name, one in reader.named_parameters() if one.requires_grad} - wanted
    if trained:
        raise NotYet(
            f"An optimizer over reader.parameters() would train {', '.join(sorted(trained))}, which is computed."
        )
    saved = set(reader.state_dict()) - wanted
    if saved:
        raise NotYet(
            f"The checkpoint holds {', '.join(sorted(saved))} now. The old checkpoints have no such entry, and would not load."
        )


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def _go_on(model: nn.Module, optimizer: optim.Optimizer, data: torch.Tensor) -> list[float]:
    """Train STEPS steps where the model is and return the losses."""
    x = data.to(next(model.parameters()).device)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), x[:, :2] - x[:, 2:4])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _all_on(device: str, case: str, **named: object) -> None:
    """Raise NotYet unless these lie on one kind of device in all their parts, which are told by these names."""
    for place in placement(**named).places:
        if place.expected or place.device.partition(":")[0] == device:
            continue
        raise NotYet(f"{case}, {place.name} ({place.why}) is on {place.device}; {device} was asked for.")


def _saved_training(path: Path, device: str, data: torch.Tensor) -> list[float]:
    """Train some steps, save, train as many more as if nothing had happened; return the losses of the latter."""
    model = _network().to(device)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    _go_on(model, optimizer, data)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    return _go_on(model, optimizer, data)


def _judge_resume(resume) -> None:
    for saved_on, device, rows in (("cuda", "cuda", 20), ("cpu", "cuda", 12), ("cuda", "cpu", 16)):
        data, case = torch.randn(rows, 6), f"Saved on {saved_on} and resumed on {device}"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checkpoint.pt"
            wanted = _saved_training(path, saved_on, data)
            with without_gpu() if device == "cpu" else nullcontext():
                model = _network()
                optimizer = watch(resume, path, model, device).value
                _holds_the_model(case, optimizer, model)
                _all_on(device, case, model=model, optimizer=optimizer)
                _goes_on(case, _go_on(model, optimizer, data), wanted)


def _goes_on(case: str, losses: list[float], wanted: list[float]) -> None:
    for step, (got, right) in enumerate(zip(losses, wanted, strict=True), start=1):
        if not math.isclose(got, right, rel_tol=CLOSE):
            agreed = "Before it all agree. What does a training keep from step to step? " if step > 1 else ""
            raise NotYet(
                f"{case}, step {step} has the loss {got:.4f}; uninterrupted it was {right:.4f}. {agreed}".rstrip()
            )


def _holds_the_model(case: str, optimizer: object, model: nn.Module) -> None:
    if not isinstance(optimizer, optim.Optimizer):
        raise NotYet(f"{case}: resume returned {short(optimizer)}; the optimizer was asked for.")
    held = {id(one) for group in optimizer.param_groups for one in group["params"]}
    own = [id(one) for one in model.parameters()]
    found = sum(1 for one in own if one in held)
    if found < len(own):
        raise NotYet(
            f"{case}: the optimizer holds {found} of the model's {len(own)} parameters. What it holds "
            "instead, the model left behind, and training would change nothing."
        )


def _batches(rows: int, count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return batches of outputs and labels in which each of three classes occurs."""
    return [(torch.randn(rows, 3), torch.arange(rows) % 3) for _ in range(count)]


def _true_recall(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    outputs, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    right = outputs.argmax(dim=1) == labels
    return torch.stack([right[labels == kind].float().mean() for kind in range(3)])


def _judge_recall(Recall: Callable[..., Any]) -> None:
    for first, device, rows in (("cpu", "cuda", 12), ("cuda", "cpu", 9)):
        recall, batches = _module(Recall, 3), _batches(rows, 6)
        recall.to(first)
        _counts(recall, first, batches[:1], f"On {first}")
        recall.to(device)
        _counts(recall, device, batches[1:4], f"Moved to {device}")
        _computes(recall, batches[:4], f"Counted on {first}, then on {device}: the recall")
        watch(recall.reset)
        _all_on(device, f"After reset() on {device}", recall=recall)
        _counts(recall, device, batches[4:], f"After reset() on {device}")
        _computes(recall, batches[4:], f"Reset and counted on {device}: the recall")
        if recall.state_dict():
            raise NotYet(
                f"state_dict() holds {', '.join(recall.state_dict())}. The counts of a past epoch do not belong in a checkpoint."
            )


def _counts(recall: Any, device: str, batches: list[tuple[torch.Tensor, torch.Tensor]], case: str) -> None:
    for outputs, labels in batches:
        seen = watch(recall.update, outputs.to(device), labels.to(device))
        back, sent = seen.copies("cuda", "cpu"), seen.copies("cpu", "cuda")
        seen.at_most(
            0,
            back,
            f"{case}, one update() copied back to the CPU",
            "Could the counts be where the outputs are?",
        )
        seen.at_most(0, sent, f"{case}, one update() copied to the GPU", "Where were the counts?")
        seen.at_most(0, seen.waits, f"{case}, one update() waited for the GPU", "Who needs a number now?")
        seen.ran_on(device, f"{case}, a part of update()")
    _all_on(device, case, recall=recall)


def _computes(recall: Any, batches: list[tuple[torch.Tensor, torch.Tensor]], what: str) -> None:
    seen = watch(recall.compute)
    is_on(seen.value, "cpu", what) if isinstance(seen.value, torch.Tensor) else None
    same_values(seen.value, _true_recall(batches), what)
    back = seen.copies("cuda", "cpu")
    seen.at_most(1, back, "In one compute() results were copied back", "How many would do?")


questions = q1, q2, q3, q4 = exercise(7, _judge_places, _judge_reader, _judge_resume, _judge_recall)
