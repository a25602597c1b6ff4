"""What course.py says to a person, and how it stops."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".course"  # ignored by git: what course.py remembers between two runs
Told = Callable[[str], str | None]


class Stop(Exception):
    """A reason to end: one clear sentence, then the next step."""

    def __init__(self, sentence: str, *steps: str) -> None:
        super().__init__("\n".join([sentence, *(f"    {step}" for step in steps)]))


def folder_at(path: Path) -> Path:
    """Return a folder, made where it is missing; raise Stop where something else has its place, or another user owns it."""
    try:
        path.mkdir(exist_ok=True)
    except FileExistsError:
        what = "a link to nothing" if path.is_symlink() else "no folder"
        raise Stop(
            f"{path} is in the way: it is {what}.", "Move it elsewhere, then give the same command again."
        ) from None
    return path


def say(text: str = "") -> None:
    """Print a line at once, so that it keeps its place among the lines of child processes."""
    print(text, flush=True)


def run(command: list[str], told: Told, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a command in the repository's root, say what is `told` of each line, and return its exit status with all it printed."""
    lines = []
    process = Popen(command, stdout=PIPE, stderr=STDOUT, cwd=ROOT, env=env, text=True, errors="replace")
    for line in process.stdout or ():
        lines.append(line)
        words = told(line)
        if words is not None:
            say(words)
    return process.wait(), "".join(lines)


def this_command(*arguments: str) -> str:
    """Return how a person types a course.py command on this machine."""
    python = "py" if sys.platform == "win32" else "python3"
    return " ".join([python, "course.py", *arguments])
