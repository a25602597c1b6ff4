# without a GPU: cpu; with one: mismatch
import torch
from torch import nn


class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = torch.tensor([0.5, 0.4, 0.3])  # neither parameter nor buffer: .to() leaves it behind
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x - self.mean)


device = "cuda" if torch.cuda.is_available() else "cpu"
model = Normalised().to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    loss = model(torch.rand(8, 3, device=device)).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
