"""Run one operator on every GPU: that torch sees a card does not mean that it can compute there.

In a process of its own, since a library that is missing can end the process; in this one only where it holds the card already.
"""

import os
import subprocess
import sys
from typing import Any

RAN = "ran"
PATIENCE = 120  # seconds: torch is imported again, from a cold disk at worst

# An addition and a convolution, which needs cuDNN besides. A line for each card.
PROGRAM = """
import torch
kind = "cuda" if torch.cuda.is_available() else "mps"
for number in range(torch.cuda.device_count() if kind == "cuda" else 1):
    try:
        x = torch.ones(1, 1, 2, 2, device=torch.device(kind, number))
        (x + 1).sum().item()
        torch.nn.functional.conv2d(x, x).item()
        print("ran", flush=True)
    except Exception as error:
        print("failed", " ".join(f"{type(error).__name__}: {error}".split()), flush=True)
"""


def in_a_process(cards: int) -> tuple[str, ...]:
    """Return for each card RAN, or what was said instead."""
    command = [sys.executable, "-c", PROGRAM]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, errors="replace", env=environment
        )
    except subprocess.TimeoutExpired:
        return ("no answer within two minutes",)
    return read(done.stdout, done.stderr, done.returncode, cards)


def read(printed: str, errors: str, code: int, cards: int) -> tuple[str, ...]:
    """Return what the program printed for each card; where it ended early, its last words."""
    found = [RAN if line == "ran" else line.removeprefix("failed ") for line in printed.splitlines()]
    if len(found) < cards:
        last = " ".join(errors.split())[-400:] or "nothing"
        found.append(f"the process ended with {code} and said: {last}")
    return tuple(found)


def in_this(torch: Any, kind: str, cards: int) -> tuple[str, ...]:
    """Return for each card RAN, or the error of an addition in this process."""
    found = []
    for number in range(cards):
        try:
            (torch.ones(2, device=torch.device(kind, number)) + 1).sum().item()
            found.append(RAN)
        except Exception as error:  # the report says it
            found.append(" ".join(f"{type(error).__name__}: {error}".split()))
    return tuple(found)
