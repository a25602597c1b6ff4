"""Learn to add pairs of sensor readings.

python train.py --epochs 4              trains, and writes sums.pt after each epoch
python train.py --epochs 8 --resume     goes on where sums.pt ends
"""

import argparse

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

CHANNELS = 10


class Readings(Dataset):
    """Rows of ten sensor readings around 20, with two sums to learn for each row."""

    def __init__(self, rows, seed):
        data = torch.randn(rows, CHANNELS, generator=torch.Generator().manual_seed(seed))
        self.readings = 20 + 5 * data
        self.labels = data[:, 0:2] + data[:, 2:4]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, row):
        return self.readings[row], self.labels[row]


class Adder(nn.Module):
    """Clips broken sensors, normalises the readings, corrects their drift along the channels, and adds."""

    def __init__(self, mean, std, hidden):
        super().__init__()
        self.register_buffer("limit", torch.full((CHANNELS,), 60.0))
        self.mean = mean
        self.std = std
        self.drift = nn.Parameter(torch.zeros(()))
        self.net = nn.Sequential(nn.Linear(CHANNELS, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def forward(self, x):
        x = torch.minimum(x, self.limit)
        x = (x - self.mean) / self.std
        place = torch.linspace(-1, 1, CHANNELS)
        return self.net(x + self.drift * place)


class WeightedMSE(nn.Module):
    """The mean squared error, in which the second sum counts twice."""

    def __init__(self):
        super().__init__()
        self.weights = torch.tensor([1.0, 2.0])

    def forward(self, outputs, labels):
        return (self.weights.to(outputs.device) * (outputs - labels) ** 2).mean()


def pick_device():
    """Return the accelerator that can be used here, else the CPU."""
    found = torch.accelerator.is_available()
    return torch.accelerator.current_accelerator() if found else torch.device("cpu")


def train_epoch(model, loader, criterion, optimizer, scaler, device):
    """Train one epoch; return the mean loss, and the share of rows whose sums came within 0.5."""
    model.train()
    total, close = 0.0, 0
    for x, y in loader:
        x.to(device)
        y.to(device)
        optimizer.zero_grad()
        with torch.autocast(device.type, enabled=scaler.is_enabled()):
            outputs = model(x)
            loss = criterion(outputs, y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        total += loss.detach()
        errors = (outputs.detach() - y).abs().amax(dim=1)
        close += sum(1 for error in errors if error < 0.5)
    return float(total) / len(loader), int(close) / len(loader.dataset)


def evaluate(model, loader, device):
    """Return the mean absolute error over rows that were not trained on."""
    model.eval()
    errors = []
    with torch.no_grad():
        for x, y in loader:
            outputs = model(x.to(device))
            errors.append(np.abs(outputs.numpy() - y.numpy()))
    return float(np.concatenate(errors).mean())


def save(path, model, optimizer, scaler, history):
    """Write everything that is needed to go on."""
    states = {"model": model, "optimizer": optimizer, "scaler": scaler}
    saved = {name: part.state_dict() for name, part in states.items()}
    torch.save(saved | {"history": history}, path)


def load(path, model, optimizer, scaler):
    """Take up what `save` wrote; return the history so far."""
    saved = torch.load(path)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    if saved["scaler"]:  # empty when it was saved without mixed precision
        scaler.load_state_dict(saved["scaler"])
    return saved["history"]


def options():
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description="Learn to add pairs of sensor readings.")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--checkpoint", default="sums.pt")
    parser.add_argument("--resume", action="store_true", help="go on where the checkpoint ends")
    return parser.parse_args()


def main():
    """Train, tell, and store, epoch by epoch."""
    asked = options()
    device = pick_device()
    torch.manual_seed(0)
    training, validation = Readings(asked.rows, seed=1), Readings(asked.rows // 4, seed=2)
    mean, std = training.readings.mean(0), training.readings.std(0)

    model = Adder(mean, std, asked.hidden)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler(device.type, init_scale=1024.0, enabled=device.type == "cuda")
    history = load(asked.checkpoint, model, optimizer, scaler) if asked.resume else []
    model.to(device)
    criterion = WeightedMSE().to(device)

    for epoch in range(len(history), asked.epochs):
        order = torch.Generator().manual_seed(epoch)  # the same batches, resumed or not
        batches = DataLoader(training, asked.batch, shuffle=True, generator=order)
        loss, close = train_epoch(model, batches, criterion, optimizer, scaler, device)
        error = evaluate(model, DataLoader(validation, asked.batch), device)
        history.append({"loss": loss, "close": close, "error": error})
        print(f"epoch {epoch + 1}: loss {loss:.3f}, within 0.5: {close:.0%}, mean error {error:.3f}")
        save(asked.checkpoint, model, optimizer, scaler, history)


if __name__ == "__main__":
    main()
