# without a GPU: cpu; with one: accelerator
import argparse
import csv
import os

import torch
from helper_beside import build

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=2)
parser.add_argument("--json", help="an option that devicelab has too")
args = parser.parse_args()
with open(os.path.join(os.path.dirname(__file__), "line.csv")) as file:
    rows = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(file)]
device = "cuda" if torch.cuda.is_available() else "cpu"
data = torch.tensor(rows, device=device)
model = build().to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(args.steps):
    loss = (model(data[:, :1]) - data[:, 1:]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"{__name__}: {args.steps} steps, json {args.json}")
