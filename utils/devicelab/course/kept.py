"""What is kept of a learner's course: one small file on their own machine, which leaves it only where they share it.

It lies in the folder DEVICELAB_HOME, else in the system's place for a program's data. Two notebooks may write at once: each
write takes a lock, reads, adds and replaces the file in one step. A file that cannot be read is kept beside the new one.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from platformdirs import user_data_dir

from devicelab import datafiles

VERSION = 1
WAIT = 2.0  # seconds for another notebook to finish its write, which takes milliseconds


class Unreadable(Exception):
    """The file is there, but it is not one of ours."""


@dataclass
class Kept:
    """The keys of the questions that were passed, and the bets that were settled: by question, what was bet and what came."""

    passed: set[str] = field(default_factory=set)
    bets: dict[str, dict[str, str]] = field(default_factory=dict)


def path() -> Path:
    """Return the file."""
    home = os.environ.get("DEVICELAB_HOME") or user_data_dir("devicelab", appauthor=False)
    return Path(home) / "progress.json"


def read() -> Kept:
    """Return what is kept; raise Unreadable for a file that we did not write."""
    try:
        data = datafiles.read(path())
    except FileNotFoundError:
        return Kept()
    except ValueError as fault:  # no JSON, no text at all, or no file
        raise Unreadable(f"{path().name} is damaged: {fault}.") from None
    if not (isinstance(data, dict) and data.get("version") == VERSION):
        raise Unreadable(f"{path().name} was not written by this version of devicelab.")
    passed, bets = data.get("passed", []), data.get("bets", {})
    if not (_are_texts(passed) and isinstance(bets, dict) and all(map(_is_bet, bets.values()))):
        raise Unreadable(f"{path().name} was not written by this version of devicelab.")
    return Kept(set(passed), bets)


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _is_bet(bet: Any) -> bool:
    return isinstance(bet, dict) and _are_texts(list(bet.values()))


def change(how: Callable[[Kept], object]) -> str:
    """Change what is kept; return a sentence where that did not work or something had to be set aside."""
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        with lock():
            return _change(how)
    except Timeout:
        return (
            "Your progress was not stored: another notebook held the file for too long. Run the check again."
        )
    except (OSError, Unreadable) as fault:
        return f"Your progress was not stored: {fault}"


def _change(how: Callable[[Kept], object]) -> str:
    note = ""
    try:
        kept = read()
    except Unreadable as fault:
        aside = _free_name()
        path().replace(aside)
        kept, note = Kept(), f"Your progress began anew: {fault} It was kept as {aside.name}."
    before = _text(kept)
    how(kept)
    if _text(kept) != before:
        datafiles.write(path(), _text(kept) + "\n")
    return note


def lock() -> FileLock:
    """Return the lock that a write holds."""
    return FileLock(path().with_suffix(".lock"), timeout=WAIT)


def _text(kept: Kept) -> str:
    bets = {"bets": kept.bets} if kept.bets else {}
    return json.dumps({"version": VERSION, "passed": sorted(kept.passed), **bets}, indent=1)


def _free_name() -> Path:
    """Return a name beside the file that nothing has yet."""
    number = 1
    while (place := path().with_name(f"progress.damaged-{number}.json")).exists():
        number += 1
    return place
