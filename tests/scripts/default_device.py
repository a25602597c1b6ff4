# without a GPU: cpu; with one: accelerator
import torch

torch.set_default_device("cuda" if torch.cuda.is_available() else "cpu")
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
