"""Which questions were passed: shown, and noted in the file that `kept` keeps."""

from dataclasses import dataclass

from filelock import Timeout

from devicelab import html
from devicelab.course import kept
from devicelab.errors import InputError, listed

from . import answers

_BLOCKS = 10  # of a bar in text


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
            passed, note = kept.read().passed, ""
        except (OSError, kept.Unreadable) as fault:
            passed, note = set(), f"Your progress could not be read: {fault}"
        chosen = {number: keys for number, keys in questions.items() if exercise in (None, number)}
        rows = [
            (f"Exercise {number:02}", len(passed & set(keys)), len(keys)) for number, keys in chosen.items()
        ]
        return Standing(tuple(rows), note)

    def reset(self) -> str:
        """Forget every pass and every bet, and say so."""
        try:
            with kept.lock():
                kept.path().unlink(missing_ok=True)
        except (OSError, Timeout) as fault:
            return f"Your progress could not be reset: {fault}"
        return "Your progress was reset: no question counts as passed now."


progress = _Progress()


def note_passed(key: str) -> str:
    """Add a passed question to what is kept; return a sentence where that did not work or something had to be set aside."""
    return kept.change(lambda now: now.passed.add(key))


def _bar(done: int, count: int) -> str:
    full = _BLOCKS * done // count
    return "█" * full + "░" * (_BLOCKS - full)


def _row(name: str, done: int, count: int) -> str:
    inner = f'<div style="width:{100 * done // count}%;height:10px;background:#2e7d32"></div>'
    bar = f'<div style="width:160px;height:10px;border:1px solid #888">{inner}</div>'
    words = f"{done} of {count} passed"
    return f'<tr><th scope="row" style="text-align:left">{name}</th><td>{bar}</td><td style="text-align:left">{words}</td></tr>'
