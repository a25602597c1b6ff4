# without a GPU: cpu; with one: mixed
# A table too large for the card stays on the CPU; the rest of the model is on the GPU.
import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
table = nn.Embedding(5000, 16)
head = nn.Linear(16, 2).to(device)
optimizer = torch.optim.SGD([*table.parameters(), *head.parameters()], lr=0.1)
for _ in range(4):
    words, labels = torch.randint(0, 5000, (32,)), torch.randint(0, 2, (32,), device=device)
    loss = nn.functional.cross_entropy(head(table(words).to(device)), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
