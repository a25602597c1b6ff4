"""What the commands of course.py do: `setup` makes the environment, `notebooks` runs and writes, `proof` shows that it holds."""

import sys
from types import TracebackType


def quietly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show what ended the program, but no traceback for Ctrl-C: course.py has the words."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"]:  # Python is on its way to a module of tools/ that is to be the program
    sys.excepthook = quietly
