# without a GPU: cpu; with one: accelerator
import sys

import torch

from .net import build

device = "cuda" if torch.cuda.is_available() else "cpu"
model = build().to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    model(torch.randn(4, 5, device=device)).sum().backward()
    optimizer.step()
print(__name__, __package__, sys.argv[1:])
