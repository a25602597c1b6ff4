"""What a text tells of an error: its exceptions and their frames."""

import ast
import re
from dataclasses import dataclass
from typing import Literal

from devicelab.source import USER, is_checkout, name_of, whose_elsewhere

from .frames import Frame
from .sources import statement_of

Link = Literal["", "cause", "context", "inside", "member"]
_CELL = re.compile(r"(?:Cell|Input) In\s*\[(\d+)\]|\.ipynb Cell (\d+)$")
# What only reports that something else went wrong: a parent of the process that did, or a rank that missed another.
_REPORTERS = re.compile(
    r"ChildFailedError|CalledProcessError|ProcessExitedException|DistBackendError|DistNetworkError|ProcessRaisedException"
    r"|PapermillExecutionError|CellExecutionError"
)

# The same, by what they say: the errors of other processes and threads stand above.
_REPORTS = re.compile(
    r"See root cause above|See stack trace for the root cause|Pin memory thread exited unexpectedly"
    r"|DataLoader worker \(pid(?:\(s\))? [\d, ]{1,80}\) exited unexpectedly"
)


@dataclass(frozen=True)
class TextFrame:
    """One frame as a text shows it; `code` is its line, `marked` says that an arrow pointed there."""

    path: str
    line: int | None
    function: str = ""
    code: str = ""
    marked: bool = False

    @property
    def file(self) -> str:
        """The file as a learner calls it."""
        cell = _CELL.search(self.path)
        return f"cell [{cell[1] or cell[2]}]" if cell else name_of(self.path)

    @property
    def is_learners(self) -> bool:
        """Whether it is no library's."""
        return whose_elsewhere(self.path) == USER

    @property
    def is_checkout(self) -> bool:
        """Whether it seems to be a known library's, as a checkout; its developers are learners too."""
        return is_checkout(self.path)

    @property
    def statement(self) -> ast.stmt | None:
        """The line as syntax."""
        return statement_of(self.code)

    @property
    def node(self) -> ast.AST | None:
        """What the line computes."""
        return getattr(self.statement, "value", self.statement)

    def names(self) -> dict[str, object]:
        """Nothing: a text holds no variables."""
        return {}


AnyFrame = Frame | TextFrame


@dataclass(frozen=True)
class Told:
    """One exception as a text tells it: its name, its own message, its frames, and what it has to do with the one before it.

    `link` is "cause" or "context" where the one before led to it in Python's words, "inside" where its traceback stands in the
    message of the one before, "member" in a group. `passing` marks one that Python printed and ignored.
    """

    name: str = ""
    message: str = ""
    frames: tuple[TextFrame, ...] = ()
    link: Link = ""
    number: int = 0
    passing: bool = False
    headed: bool = False
    script: str = ""  # TorchScript's serialized code, where it is shown

    @property
    def own(self) -> TextFrame | None:
        """The innermost frame that is no library's; one of a library's checkout where there is no other."""
        found = [frame for frame in reversed(self.frames) if frame.is_learners]
        return min(found, key=lambda frame: frame.is_checkout, default=None)

    @property
    def is_warning(self) -> bool:
        """Whether it is a warning, which ends nothing."""
        return self.name.endswith("Warning") and not self.headed

    @property
    def is_reporter(self) -> bool:
        """Whether it only says that another process failed; one that Python chained to another error says more."""
        says_so = _REPORTERS.search(self.name) or _REPORTS.search(self.message)
        return self.link not in ("cause", "context") and says_so is not None
