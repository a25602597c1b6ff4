"""Which questions were passed: one small file on the learner's own machine; nothing leaves it.

It lies in the folder DEVICELAB_HOME, else in the system's place for a program's data. Two notebooks may write at once: each
write takes a lock, reads, adds and replaces the file in one step. A file that cannot be read is kept beside the new one.
"""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_data_dir

from devicelab import html
from devicelab.errors import InputError, listed

from . import answers

VERSION = 1
WAIT = 2.0  # seconds for another notebook to finish its write, which takes milliseconds
_BLOCKS = 10  # of a bar in text


class Unreadable(Exception):
    """The file is there, but it is not one of ours."""


@dataclass(frozen=True)
class Standing:
    """How many questions of each exercise were passed: (name, passed, all); `note` says what is wrong with the file."""

    rows: tuple[tuple[str, int, int], ...]
    note: str = ""

    @property
    def passed(self) -> int:
        """Questions passed."""
        return sum(done for _, done, _ in self.rows)

    @property
    def total(self) -> int:
        """Questions that there are."""
        return sum(count for _, _, count in self.rows)

    def __str__(self) -> str:
        lines = [f"{name}  {_bar(done, count)}  {done} of {count} passed" for name, done, count in self.rows]
        if len(self.rows) > 1:
            lines.append(f"{self.passed} of {self.total} questions passed.")
        return "\n".join([*lines, self.note] if self.note else lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(_row(*row) for row in self.rows)
        below = f"{self.passed} of {self.total} questions passed. " if len(self.rows) > 1 else ""
        return f"<table>{rows}</table><p>{html.escape(below + self.note)}</p>"


class _Progress:
    """`lab.progress()` shows how far you are, `lab.progress(2)` in exercise 02 alone; `lab.progress.reset()` forgets it all."""

    def __call__(self, exercise: int | None = None) -> Standing:
        questions = answers.keys()
        if exercise is not None and exercise not in list(questions):  # a list asks for no hash
            raise InputError(f"There is no exercise {exercise!r}; there is {listed(sorted(questions))}.")
        try:
            passed, note = _read(), ""
        except (OSError, Unreadable) as fault:
            passed, note = set(), f"Your progress could not be read: {fault}"
        chosen = {number: keys for number, keys in questions.items() if exercise in (None, number)}
        rows = [
            (f"Exercise {number:02}", len(passed & set(keys)), len(keys)) for number, keys in chosen.items()
        ]
        return Standing(tuple(rows), note)

    def reset(self) -> str:
        """Forget every pass, and say so."""
        try:
            with _lock():
                path().unlink(missing_ok=True)
        except (OSError, Timeout) as fault:
            return f"Your progress could not be reset: {fault}"
        return "Your progress was reset: no question counts as passed now."


progress = _Progress()


def path() -> Path:
    """Return the file that progress is kept in."""
    return (
        Path(os.environ.get("DEVICELAB_HOME") or user_data_dir("devicelab", appauthor=False))
        / "progress.json"
    )


def note_passed(key: str) -> str:
    """Add a passed question to the file; return a sentence where that did not work or something had to be set aside."""
    try:
        path().parent.mkdir(parents=True, exist_ok=True)
        with _lock():
            return _add(key)
    except Timeout:
        return (
            "Your progress was not stored: another notebook held the file for too long. Run the check again."
        )
    except (OSError, Unreadable) as fault:
        return f"Your progress was not stored: {fault}"


def _add(key: str) -> str:
    note = ""
    try:
        passed = _read()
    except Unreadable as fault:
        aside = _free_name()
        path().replace(aside)
        passed, note = set(), f"Your progress began anew: {fault} It was kept as {aside.name}."
    if key not in passed:
        _write(passed | {key})
    return note


def _lock() -> FileLock:
    return FileLock(path().with_suffix(".lock"), timeout=WAIT)


def _read() -> set[str]:
    """Return the keys that were passed; raise Unreadable for a file that we did not write."""
    if path().is_fifo():
        raise Unreadable(f"{path().name} is a pipe, which would be waited for without an end.")
    try:
        data = json.loads(path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return set()
    except (ValueError, RecursionError):  # no JSON, or no text at all
        raise Unreadable(f"{path().name} is damaged.") from None
    passed = data.get("passed") if isinstance(data, dict) and data.get("version") == VERSION else None
    if not (isinstance(passed, list) and all(isinstance(key, str) for key in passed)):
        raise Unreadable(f"{path().name} was not written by this version of devicelab.")
    return set(passed)


def _write(passed: set[str]) -> None:
    text = json.dumps({"version": VERSION, "passed": sorted(passed)}, indent=1)
    handle, name = tempfile.mkstemp(dir=path().parent, prefix="progress-", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.replace(name, path())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _free_name() -> Path:
    """Return a name beside the file that nothing has yet."""
    number = 1
    while (place := path().with_name(f"progress.damaged-{number}.json")).exists():
        number += 1
    return place


def _bar(done: int, count: int) -> str:
    full = _BLOCKS * done // count
    return "█" * full + "░" * (_BLOCKS - full)


def _row(name: str, done: int, count: int) -> str:
    inner = f'<div style="width:{100 * done // count}%;height:10px;background:#2e7d32"></div>'
    bar = f'<div style="width:160px;height:10px;border:1px solid #888">{inner}</div>'
    words = f"{done} of {count} passed"
    return f'<tr><th scope="row" style="text-align:left">{name}</th><td>{bar}</td><td style="text-align:left">{words}</td></tr>'
