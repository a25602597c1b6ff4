# without a GPU: cpu; with one: cpu
# The training happens in processes of its own.
import torch
import torch.multiprocessing as mp


def train(rank):
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    print(f"rank {rank} trained", flush=True)


if __name__ == "__main__":
    mp.spawn(train, nprocs=2)
