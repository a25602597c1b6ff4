"""Errors on purpose: shown as a learner would meet them, and only if they really come."""

import re
from traceback import FrameSummary, extract_tb
from types import TracebackType

from .source import DEVICELAB, TORCH, USER, inside, whose


class ExpectedErrorMissing(AssertionError):
    """The error that a cell announces did not come, or another one came."""


class expect_error:  # lower case: it reads as a function
    """Show the error that the block raises, with its traceback trimmed, and fail unless exactly this error comes.

    `kind` is the expected exception class (no subclass counts), `match` a regular expression found in its message.
    """

    def __init__(self, kind: type[BaseException], match: str = "") -> None:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(
                f"expect_error needs an exception class such as RuntimeError, but it got {kind!r}."
            )
        self.kind, self.match = kind, match
        self.error: BaseException | None = None

    def __enter__(self) -> "expect_error":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool:
        if error is not None and not isinstance(error, Exception):
            return False  # an interrupt is never an expected error
        wanted = self.kind.__name__ + (f" matching {self.match!r}" if self.match else "")
        if error is None:
            raise ExpectedErrorMissing(f"This cell expects {wanted}, but no error came.")
        if kind is not self.kind or not re.search(self.match, str(error)):
            raise ExpectedErrorMissing(
                f"This cell expects {wanted}, but {kind.__name__ if kind else ''} came: {error}"
            ) from error
        self.error = error
        print(trimmed(error))
        return True


def trimmed(error: BaseException) -> str:
    """Return the traceback as lines of text: the learner's own lines, the last one inside torch, and the message.

    Frames of devicelab are left out; torch's frames in between are counted.
    """
    frames = [frame for frame in extract_tb(error.__traceback__) if whose(frame.filename) != DEVICELAB]
    lines: list[str] = []
    hidden = 0
    for frame, following in zip(frames, [*frames[1:], None], strict=False):
        if whose(frame.filename) == TORCH and following is not None:
            hidden += 1
            continue
        if hidden:
            lines.append(f"  ... {hidden} {'line' if hidden == 1 else 'lines'} inside torch")
            hidden = 0
        lines.append(f"  {_place(frame)}\n      {frame.line}")
    module = "" if type(error).__module__ == "builtins" else f"{type(error).__module__}."
    return "\n".join([*lines, f"{module}{type(error).__name__}: {error}"])


def _place(frame: FrameSummary) -> str:
    if whose(frame.filename) == USER:
        return f"your code, line {frame.lineno}, in {frame.name}".replace(", in <module>", "")
    return f"{inside(frame.filename)}, in {frame.name}"
