"""What a trainer moves: batches of every shape, and a model that has registered all it needs."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from devicelab.course.looking import is_on, same_values, short, watch
from devicelab.course.question import NotYet

# --- 3: a batch ---------------------------------------------------------------------------------------------------------


def _batch(device: str) -> dict[str, Any]:
    """Return a batch as a loader of texts gives it: tensors and other things, in containers within containers."""
    words, lengths, mask, image = (torch.randn(3, size, device=device) for size in (4, 1, 4, 6))
    return {
        "words": words,
        "lengths": lengths.long(),
        "extra": (mask.bool(), [image, "cat.png", None]),
        "names": ["a", "b", "c"],
        "meta": {"epoch": 3, "seen": {}},
    }


def judge_send(send) -> None:
    for device, made_on in (("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")):
        given, case = _batch(made_on), f"A batch that was made on {made_on}, sent to {device!r}"
        before, tensors = _shape(given), 4
        seen = watch(send, given, device)
        is_on(seen.value, device, case)
        if _shape(seen.value) != before:
            raise NotYet(f"{case}: {_differs(seen.value, given)}")
        same_values(_tensors(seen.value), _tensors(given), case)
        copied = seen.copies(made_on, device) if made_on != device else None
        if copied:
            seen.at_most(
                tensors, copied, f"{case}: it holds {tensors} tensors and was copied", "What moved twice?"
            )
        if _shape(given) != before or {one.device.type for one in _tensors(given)} != {made_on}:
            raise NotYet(f"{case}: the caller's own batch has changed. Who else may still hold it?")
    lone = torch.ones(2)
    is_on(watch(send, lone, "cuda").value, "cuda", "A batch that is one tensor")


def _shape(value: Any) -> Any:
    """Return a batch with its tensors taken out: containers with their types, and the rest as it is."""
    if isinstance(value, torch.Tensor):
        return torch.Tensor
    if isinstance(value, dict):
        return dict, [(key, _shape(one)) for key, one in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [_shape(one) for one in value]
    return value


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def _differs(got: Any, given: Any) -> str:
    """Return a question about the first part of a batch that is no longer what it was."""
    if isinstance(given, dict) and isinstance(got, dict) and set(got) == set(given):
        parts = [(got[key], given[key]) for key in given]
    elif isinstance(given, (list, tuple)) and type(got) is type(given) and len(got) == len(given):
        parts = list(zip(got, given, strict=True))
    else:
        return f"{_words(given)} became {_words(got)}. Only tensors move; what should become of the rest?"
    return next(_differs(*pair) for pair in parts if _shape(pair[0]) != _shape(pair[1]))


def _words(value: Any) -> str:
    """Return a container by its kind and size, and any other value in a word or two."""
    return (
        f"a {type(value).__name__} of {len(value)}"
        if isinstance(value, (dict, list, tuple))
        else short(value)
    )


# --- 4: a model for trainers --------------------------------------------------------------------------------------------


def _fit(model: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> list[torch.Tensor]:
    """Train on a model and batches that have been moved, as accelerate, Lightning and Trainer do."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    losses = []
    for x, labels in batches:
        optimizer.zero_grad()
        loss = model(x, labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses


def _wanted(layer: nn.Linear, mean: torch.Tensor, weights: torch.Tensor) -> nn.Module:
    class Wanted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            outputs = self.layer(x - mean) + torch.arange(labels.shape[1])
            return (weights * (outputs - labels) ** 2).mean()

    return Wanted()


def _scorers(Scorer: Callable[..., Any]) -> Iterator[tuple[Any, nn.Module, list[Any]]]:
    for inputs, outputs in ((6, 2), (9, 4)):
        mean, weights = torch.randn(inputs), torch.rand(outputs) + 0.5
        scorer = Scorer(mean, weights)
        layer = getattr(scorer, "layer", None)
        if not isinstance(scorer, nn.Module) or not isinstance(layer, nn.Linear):
            raise NotYet(
                f"Scorer(mean, weights) should be a module with its Linear as `layer`, but it is {short(scorer)}."
            )
        batches = [(torch.randn(8, inputs), torch.randn(8, outputs)) for _ in range(3)]
        yield scorer, _wanted(copy.deepcopy(layer).cpu(), mean.clone(), weights.clone()), batches


def judge_scorer(Scorer) -> None:
    for device in ("cuda", "cpu"):
        for scorer, wanted, batches in _scorers(Scorer):
            case = f"A trainer that takes your Scorer to {device}"
            _trains_its_layer_alone(scorer)
            scorer.to(device)
            seen = watch(_fit, scorer, [(x.to(device), labels.to(device)) for x, labels in batches])
            for copied in (seen.copies("cpu", "cuda"), seen.copies("cuda", "cpu")):
                seen.at_most(
                    0, copied, f"{case}: in its steps something was copied", "Which tensor travels each time?"
                )
            seen.ran_on(device, f"{case}: a step", "forward")
            same_values(seen.value, _fit(wanted, batches), f"{case}: the losses")
            _keeps_them(scorer, case)


def _trains_its_layer_alone(scorer: nn.Module) -> None:
    trained = [name for name, parameter in scorer.named_parameters() if parameter.requires_grad]
    if Counter(trained) != Counter(("layer.weight", "layer.bias")):
        raise NotYet(
            f"Your Scorer trains {', '.join(trained) or 'nothing'}. mean and weights are given and stay as they are: which kind "
            "of tensor moves with a module and is not trained?"
        )


def _keeps_them(scorer: nn.Module, case: str) -> None:
    lost = {"mean", "weights"} - {name.rpartition(".")[2] for name in scorer.state_dict()}
    if lost:
        raise NotYet(
            f"{case}: it trains, but its state_dict has no {' and no '.join(sorted(lost))}. What would a checkpoint know of "
            "it?"
        )
