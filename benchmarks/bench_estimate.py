"""What `lab.estimate()` itself takes: a training step of a transformer of 100 million parameters, on the CPU and on meta.

    python -m benchmarks.bench_estimate

Seconds measured on this machine: "first" holds what is loaded and looked up once, "again" is the median of the next calls.
"CPU" is what the process itself spent; the rest it waited for other programs. The estimate's own result stands below.
"""

from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import devicelab as lab

GOAL = 1.0  # seconds
CALLS = 5
WIDTH, HEADS, LAYERS, WORDS, LENGTH, BATCH = 768, 12, 12, 20_000, 1024, 8


class Block(nn.Module):
    """Attention and a feed-forward network, each behind a layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.feed = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape, (batch, words, width)."""
        heads = self.attention(self.before(x)).unflatten(-1, (3, HEADS, WIDTH // HEADS))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(-2))
        return x + self.feed(self.between(x))


class Language(nn.Module):
    """A small language model, as GPT-2 is built."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.Sequential(*[Block() for _ in range(LAYERS)])
        self.last, self.answer = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS, bias=False)
        self.answer.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Return a score for each next word, (batch, words, WORDS)."""
        x = self.words(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        return self.answer(self.last(self.blocks(x)))


def training(device: str) -> tuple[Callable[[], None], int]:
    """Return a training step with AdamW, and the number of parameters."""
    with torch.device(device):
        model = Language()
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.zeros(BATCH, LENGTH, dtype=torch.int64, device=device)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
        optimizer.step()

    return step, sum(parameter.numel() for parameter in model.parameters())


def spent(step: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds of one estimate, and those that the process itself spent."""
    begin, own = perf_counter(), process_time()
    lab.estimate(step)
    return perf_counter() - begin, process_time() - own


def main() -> None:
    """Print a row for the CPU and for meta, then the estimate."""
    print(f"Measured; the goal is under {GOAL:g} s.")
    print(f"{'tensors on':12}{'parameters':>14}{'first, s':>10}{'again, s':>10}{'CPU, s':>9}")
    for device in ("cpu", "meta"):
        step, count = training(device)
        first, _ = spent(step)
        again = [spent(step) for _ in range(CALLS)]
        wall, own = (median(column) for column in zip(*again, strict=True))
        print(f"{device:12}{count / 1e6:12.0f} M{first:10.2f}{wall:10.2f}{own:9.2f}")
    print(f"\n{lab.estimate(step)}")


if __name__ == "__main__":
    main()
