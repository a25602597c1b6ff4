# without a GPU: cpu; with one: accelerator
import tempfile

import torch

device = "cuda" if torch.cuda.is_available() else "cpu"


def make():
    model = torch.nn.Linear(3, 3).to(device)
    return model, torch.optim.Adam(model.parameters())


def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(4, 3, device=device)).norm().backward()
        optimizer.step()


model, optimizer = make()
train(model, optimizer, 2)
with tempfile.TemporaryFile() as file:
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, map_location="cpu")
model, optimizer = make()
model.load_state_dict(state["model"])
optimizer.load_state_dict(state["optimizer"])
train(model, optimizer, 2)
