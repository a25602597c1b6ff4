"""What `python -m devicelab run` costs a script of very small operators: reinforcement learning, one observation at a time.

    python -m benchmarks run

CPU time of one thread, the best of several rounds, by turns; only the ratios mean something. With `--simulate-gpu` the card's
own share comes on top, which for such operators is larger than the watching.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial

import torch
from torch import nn

from benchmarks.shared import cpu_seconds, in_turns
from devicelab import simulate_gpu, trace

ROUNDS, STEPS = 10, 50
BOUNDS = {"run": 4.0, "run --simulate-gpu": 8.0}


def learner(device: str) -> Callable[[], None]:
    """Return one episode: a policy acts, step by step, on a line that it should walk along, and learns from its rewards."""
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2)).to(device)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)

    def episode() -> None:
        place, chances, rewards = 0, [], []
        for step in range(STEPS):
            seen = torch.tensor([place, step, 1.0, 0.0], device=device)
            choices = torch.distributions.Categorical(logits=policy(seen))
            action = choices.sample()
            place += 1 if action.item() else -1
            chances.append(choices.log_prob(action))
            rewards.append(float(place))
        optimizer.zero_grad()
        loss = -(torch.stack(chances) * torch.tensor(rewards, device=device)).mean()
        loss.backward()
        optimizer.step()

    return episode


def seconds(watch: bool, simulate: bool) -> float:
    """Return the CPU seconds of an episode, watched as `run` watches a script, on the CPU or on a simulated card."""
    with simulate_gpu() if simulate else nullcontext(), trace(early=True) if watch else nullcontext():
        episode = learner("cuda" if simulate else "cpu")
        episode()
        return cpu_seconds(episode)


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield name, value and bound."""
    torch.set_num_threads(1)
    kinds = {"plain": (False, False), "run": (True, False), "run --simulate-gpu": (True, True)}
    best = in_turns({name: partial(seconds, *kind) for name, kind in kinds.items()}, ROUNDS)
    for name, bound in BOUNDS.items():
        yield f"{name} to plain, reinforcement learning", best[name] / best["plain"], bound
