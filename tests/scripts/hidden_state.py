# without a GPU: cpu; with one: mismatch
import torch
from torch import nn


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(6, 12, batch_first=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        hidden = torch.zeros(1, len(x), 12), torch.zeros(1, len(x), 12)  # made on the CPU, whatever x is
        return self.head(self.rnn(x, hidden)[0])


device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = Tagger().to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    x, y = torch.randn(5, 7, 6, device=device), torch.randint(0, 4, (5, 7), device=device)
    loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
