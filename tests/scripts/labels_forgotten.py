# without a GPU: cpu; with one: mismatch
import torch
from torch.utils.data import DataLoader, TensorDataset

device = "cuda" if torch.cuda.is_available() else "cpu"
loader = DataLoader(TensorDataset(torch.randn(64, 8), torch.randint(0, 3, (64,))), batch_size=16)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)).to(device)
optimizer = torch.optim.Adam(model.parameters())
for images, labels in loader:
    loss = torch.nn.functional.cross_entropy(model(images.to(device)), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
