# without a GPU: cpu; with one: mismatch
# Adagrad makes its state when it is built; the model moves afterwards, the state does not.
import torch

model = torch.nn.Linear(3, 1)
optimizer = torch.optim.Adagrad(model.parameters())
device = "cuda" if torch.cuda.is_available() else "cpu"
model.to(device)
for _ in range(2):
    optimizer.zero_grad()
    model(torch.randn(4, 3, device=device)).sum().backward()
    optimizer.step()
