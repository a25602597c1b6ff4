"""The checks of exercise 02: what does it take to run on the GPU?"""

import copy
import warnings

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

from devicelab.course.looking import is_on, same_values, short, watch, without_gpu
from devicelab.course.looking.predict import device_prediction
from devicelab.course.question import NotAttempted, NotYet, exercise

_PLACES_WHY = {
    "weight": "Module.to moved the layer. Which tensors does a layer hold?",
    "class_weight": "a loss can hold a tensor of its own. Which line would have moved it?",
    "batch": "batch.to('cuda') stands inside the call. What is the name batch bound to after it?",
    "outputs": "where are the two inputs of the layer when it runs?",
    "momentum": "the optimizer makes it in its first step, in the likeness of a tensor. Of which one?",
}


def _where_they_are() -> dict[str, torch.Tensor]:
    """Run the lines of the question on the present GPU and return the five tensors."""
    loader = DataLoader(TensorDataset(torch.randn(32, 10), torch.randint(3, (32,))), batch_size=16)
    model = nn.Linear(10, 3).to("cuda")
    criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 2.0]))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    batch, _ = next(iter(loader))
    outputs = model(batch.to("cuda"))
    outputs.sum().backward()
    optimizer.step()
    return {
        "weight": model.weight,
        "class_weight": criterion.weight,
        "batch": batch,
        "outputs": outputs,
        "momentum": optimizer.state[model.weight]["momentum_buffer"],
    }


_judge_places = device_prediction(_where_they_are, _PLACES_WHY)


def _classifier() -> tuple[nn.Module, nn.Module, DataLoader]:
    """A small classifier with a weighted loss, and 50 rows in 4 batches, the last one short."""
    model = nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    loader = DataLoader(TensorDataset(torch.randn(50, 10), torch.randint(3, (50,))), batch_size=16)
    return model, nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 4.0])), loader


def _reference_epoch(model: nn.Module, criterion: nn.Module, loader: DataLoader) -> float:
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for batch, target in loader:
        optimizer.zero_grad()
        loss = criterion(model(batch), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def _judge_train_epoch(train_epoch) -> None:
    for device in ("cuda", "cpu"):
        model, criterion, loader = _classifier()
        twin = copy.deepcopy(model)
        wanted = _reference_epoch(twin, copy.deepcopy(criterion), loader)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        seen = watch(train_epoch, model, loader, criterion, optimizer, device)
        seen.trained_on(device)
        held = sum(1 for module in (model, criterion) for _ in (*module.parameters(), *module.buffers()))
        seen.at_most(
            2 * len(loader) + held,
            seen.copies("cpu", "cuda"),
            f"{len(loader)} batches were copied to the GPU",
            "How few copies does one batch need?",
        )
        same_values(seen.value, wanted, f"With device={device!r} the mean loss")
        is_on(model, device, f"After train_epoch(..., {device!r}) the model")
        same_values(dict(model.state_dict()), dict(twin.state_dict()), "The trained model")


def _judge_pick_device(pick_device) -> None:
    for name, wanted in (("cuda", "cuda"), ("auto", "cuda"), ("cpu", "cpu")):
        _expect_device(watch(pick_device, name).value, wanted, f"With a GPU pick_device({name!r})")
    with without_gpu(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        _expect_device(pick_device("cpu"), "cpu", "Without a usable GPU pick_device('cpu')")
        if said:
            raise NotYet("pick_device('cpu') warned, although the CPU is what was asked for.")
        _expect_device(pick_device("auto"), "cpu", "Without a usable GPU pick_device('auto')")
        if not said:
            raise NotYet(
                "Without a usable GPU pick_device('auto') said nothing: that is the silent fallback."
            )
        _expect_refusal(pick_device)


def _expect_device(got: object, wanted: str, what: str) -> None:
    if got is ...:
        raise NotAttempted
    if not isinstance(got, torch.device) or got.type != wanted:
        raise NotYet(f"{what} returned {short(got)}; a torch.device of type {wanted} was asked for.")


def _expect_refusal(pick_device) -> None:
    try:
        got = pick_device("cuda")
    except RuntimeError as refusal:
        if not str(refusal).strip():
            raise NotYet(
                "pick_device('cuda') refuses, but without a word. Somebody will read this at night."
            ) from None
        return
    raise NotYet(f"Without a usable GPU pick_device('cuda') returned {short(got)} instead of refusing.")


def _reference_train(model: nn.Module, data: torch.Tensor, labels: torch.Tensor, epochs: int) -> torch.Tensor:
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for _ in range(epochs):
        for start in range(0, len(data), 25):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(data[start : start + 25]), labels[start : start + 25]).backward()
            optimizer.step()
    return model(data)


def _judge_train(train) -> None:
    for device, rows, epochs in (("cuda", 100, 5), ("cpu", 75, 3)):
        model, data = nn.Linear(10, 2), torch.randn(rows, 10)
        labels = data[:, 0:2] + data[:, 2:4]
        wanted = _reference_train(copy.deepcopy(model), data, labels, epochs)
        seen = watch(train, model, data, labels, device, epochs)
        seen.trained_on(device)
        once = sum(tensor.nbytes for tensor in (data, labels, *model.parameters()))
        what = f"In {epochs} epochs, what has to be on the GPU was sent there"
        seen.at_most_bytes(once, seen.copies("cpu", "cuda"), what, "Does it change between two epochs?")
        back = seen.copies("cuda", "cpu")
        seen.at_most(1, back, "Results were copied back to the CPU", "Only the last outputs were asked for.")
        is_on(seen.value, "cpu", "What train returned")
        same_values(seen.value, wanted, "What train returned")


questions = q1, q2, q3, q4 = exercise(2, _judge_places, _judge_train_epoch, _judge_pick_device, _judge_train)
