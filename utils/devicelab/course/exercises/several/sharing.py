"""Which rank a line fails on, and who gets which rows."""

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, TensorDataset

from devicelab.course.looking import times
from devicelab.course.looking.played import two_cards
from devicelab.course.looking.predict import prediction
from devicelab.course.looking.words import short
from devicelab.course.question import NotAttempted, NotYet
from devicelab.course.ranks import torchrun

# --- 1: which rank fails --------------------------------------------------------------------------------------------

_PROGRAM = """\
dist.init_process_group("nccl")
rank = dist.get_rank()
torch.cuda.set_device(rank)
model = nn.Linear(10, 2).to("cuda")
if rank == 0:
    torch.save(model.state_dict(), "model.pt")
dist.barrier()
"""
_LINES = {
    "a": 'model(torch.ones(4, 10).to("cuda"))',
    "b": 'model(torch.ones(4, 10).to("cuda:0"))',
    "c": 'model(torch.ones(4, 10).to(f"cuda:{rank + 1}"))',
    "d": "dist.all_reduce(torch.tensor(1.0))",
    "e": 'model.load_state_dict(torch.load("model.pt"))',
}
_WHO = ("nobody", "rank 0", "rank 1", "both")
_WHO_WHY = {
    "a": "Which card does each rank mean by that name, after the third line?",
    "b": "Whose card is that, and where is the model of each rank?",
    "c": "Which number does each rank come to, and which numbers are there?",
    "d": "Where is that number, and what carries it to the others?",
    "e": "What does load_state_dict do with tensors that come from another card?",
}
_TRY = """
try:
    {line}
    print("{name}", "ran")
except Exception:
    print("{name}", "failed")
"""


@lru_cache(maxsize=1)
def _who() -> dict[str, str]:
    """Run the program with each of the lines in two ranks, a simulated card each, and return who failed at which."""
    head = "import torch, torch.distributed as dist\nfrom torch import nn\n\n"
    trials = "".join(_TRY.format(name=name, line=line) for name, line in _LINES.items())
    with tempfile.TemporaryDirectory() as folder, two_cards():
        program, at = _PROGRAM.replace("model.pt", "{path}"), (Path(folder) / "model.pt").as_posix()
        script = Path(folder, "who.py")
        text = head + program.format(path=at) + trials.replace("model.pt", at)
        script.write_text(text, encoding="utf-8")
        done = torchrun(str(script))
    if done.code != 0:
        raise RuntimeError(f"The check could not run its two ranks here:\n{done}")
    failed = [
        {line[0] for line in rank.printed.splitlines() if line.endswith("failed")} for rank in done.ranks
    ]
    return {name: _WHO[(name in failed[0]) + 2 * (name in failed[1])] for name in _LINES}


def _not_who(name: str, said: str, right: str) -> str:
    ran = {"nobody": "it ran in both", "both": "it failed in both"}.get(right, "it failed in one of them")
    return f"For {name} you wrote {said!r}. The line was run in two ranks, and {ran}. {_WHO_WHY[name]}"


judge_who = prediction(_who, _not_who, words=_WHO)

# --- 2: who gets which rows -----------------------------------------------------------------------------------------

_CASES = ((24, 2), (26, 4))  # rows and ranks; 26 rows are not shared out evenly among four
_BATCH = 3
_EPOCHS = (0, 1)


def _rows(count: int) -> Dataset[Any]:
    """Return rows that know their number: x holds it three times, y is its negative."""
    numbers = torch.arange(count, dtype=torch.float32)
    return TensorDataset(numbers[:, None].expand(-1, 3).clone(), -numbers)


def judge_batches(batches) -> None:
    with two_cards():
        for count, ranks in _CASES:
            orders = []
            for epoch in _EPOCHS:
                met = [_met(batches, count, rank, ranks, epoch, "cpu") for rank in range(ranks)]
                _shared_out(met, count, f"{count} rows, {ranks} ranks")
                orders.append(met)
            if orders[0] == orders[1]:
                raise NotYet(
                    f"Epoch 0 and epoch 1 gave every rank the same rows in the same order. With {ranks} ranks each would "
                    "see its own share of the data only. What should change from epoch to epoch?"
                )
            if all(rows == sorted(rows) for rows in itertools.chain(*orders)):
                raise NotYet(
                    "Every rank gets its rows in the order of the data set. They were to be shuffled."
                )
        for number in range(2):
            _met(batches, 24, number, 2, 0, f"cuda:{number}")


def _met(batches: Any, count: int, rank: int, ranks: int, epoch: int, device: str) -> list[int]:
    """Return the rows that a rank meets in an epoch, in order."""
    if not callable(batches):
        raise NotYet(f"A function was asked for, but the answer is {short(batches)}.")
    given = batches(_rows(count), rank, ranks, epoch, torch.device(device))
    if given is ...:
        raise NotAttempted
    found: list[int] = []
    for x, y in _pairs(given):
        for what, value in (("x", x), ("y", y)):
            if str(value.device) != device:
                raise NotYet(
                    f"With device={device!r}, {what} is on {value.device}. Who told your function to go there?"
                )
        if not torch.equal(x[:, 0], -y):
            raise NotYet("In a batch, x and y are not of the same rows.")
        if len(x) > _BATCH:
            raise NotYet(f"A batch has {len(x)} rows; {_BATCH} were asked for.")
        found += [int(number) for number in x[:, 0].tolist()]
    return found


def _pairs(given: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    asked = "Batches (x, y) to go through were asked for, but"
    if not isinstance(given, Iterable):
        raise NotYet(f"{asked} it is {short(given)}.")
    for pair in itertools.islice(given, 1000):
        parts = pair if isinstance(pair, (tuple, list)) else ()
        if len(parts) != 2 or not all(isinstance(part, torch.Tensor) for part in parts):
            raise NotYet(f"{asked} one of them is {short(pair)}.")
        yield parts[0], parts[1]


def _shared_out(met: list[list[int]], count: int, case: str) -> None:
    """Expect every row somewhere, none twice beyond what evens out the ranks, and as many for every rank."""
    lengths = sorted({len(rows) for rows in met})
    if len(lengths) > 1:
        raise NotYet(
            f"{case}: one rank gets {lengths[0]} rows, another {lengths[-1]}. What does the last one do when the others "
            "have finished?"
        )
    everywhere = sorted(itertools.chain(*met))
    missing = sorted(set(range(count)) - set(everywhere))
    if missing:
        raise NotYet(f"{case}: {len(missing)} rows are met by no rank, row {missing[0]} among them.")
    twice = len(everywhere) - count
    if twice >= len(met):
        raise NotYet(
            f"{case}: together the ranks went through {len(everywhere)} rows in one epoch. How often was row "
            f"{everywhere[0]} among them, {times(everywhere.count(everywhere[0]))}, and how often was enough?"
        )
