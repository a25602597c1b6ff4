# without a GPU: cpu; with one: mixed
import torch

device = "cuda" if torch.cuda.is_available() else "cpu"
model = torch.nn.Linear(6, 3).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(5):
    labels = torch.randint(0, 3, (16,))
    logits = model(torch.randn(16, 6, device=device)).cpu()  # "otherwise the loss complains"
    loss = torch.nn.functional.cross_entropy(logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
