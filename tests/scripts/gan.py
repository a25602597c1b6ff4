# without a GPU: cpu; with one: accelerator
import torch
from torch import nn

device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
G = nn.Sequential(nn.Linear(8, 32), nn.LeakyReLU(0.2), nn.Linear(32, 2)).to(device)
D = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1)).to(device)
opt_g, opt_d = (torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (G, D))
bce = nn.BCEWithLogitsLoss()
for _ in range(6):
    real = torch.randn(64, 2, device=device) + 3
    fake = G(torch.randn(64, 8, device=device))
    ones, zeros = torch.ones(64, 1, device=device), torch.zeros(64, 1, device=device)
    opt_d.zero_grad()
    (bce(D(real), ones) + bce(D(fake.detach()), zeros)).backward()
    opt_d.step()
    opt_g.zero_grad()
    bce(D(fake), ones).backward()
    opt_g.step()
