"""What course.py says to a person, and how it stops."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".course"  # ignored by git: what course.py remembers between two runs


class Stop(Exception):
    """A reason to end: one clear sentence, then the next step."""

    def __init__(self, sentence: str, *steps: str) -> None:
        super().__init__("\n".join([sentence, *(f"    {step}" for step in steps)]))


def say(text: str = "") -> None:
    """Print a line at once, so that it keeps its place among the lines of child processes."""
    print(text, flush=True)


def this_command(*arguments: str) -> str:
    """Return how a person types a course.py command on this machine."""
    python = "py" if sys.platform == "win32" else "python3"
    return " ".join([python, "course.py", *arguments])
