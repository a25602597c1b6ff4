# without a GPU: cpu; with one: accelerator
# Gradient descent without torch.optim and without nn.Module.
import torch

device = "cuda" if torch.cuda.is_available() else "cpu"
w = torch.zeros(3, 1, device=device, requires_grad=True)
x = torch.randn(64, 3, device=device)
y = x @ torch.tensor([[1.0], [-2.0], [0.5]], device=device)
for _ in range(10):
    loss = ((x @ w - y) ** 2).mean()
    loss.backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
        w.grad.zero_()
