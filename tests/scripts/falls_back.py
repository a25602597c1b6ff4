# without a GPU: cpu; with one: cpu
# A silent fallback: the error is swallowed, and training goes on where nobody meant it to.
import torch

device = "cuda" if torch.cuda.is_available() else "cpu"
model = torch.nn.Linear(6, 3).to(device)
x = torch.randn(16, 6)
try:
    model(x)
except RuntimeError:
    model = model.cpu()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    loss = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
