"""`course.py readme`: the real output of `python -m devicelab compare`, kept in README.md between two marks."""

import subprocess
from pathlib import Path

from tools.notebooks.marks import filled
from tools.setup.say import ROOT, Stop, say

README = ROOT / "README.md"


def main(python: Path) -> int:
    """Run the comparison and write what it printed."""
    done = subprocess.run([python, "-m", "devicelab", "compare"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        error = f"The comparison ended with an error:\n{done.stderr.strip()}"
        raise Stop(error, "Mend it; README.md is as it was.")
    text = with_output(README.read_text(encoding="utf-8"), done.stdout)
    README.write_text(text, encoding="utf-8", newline="\n")
    say(done.stdout)
    return 0


def with_output(text: str, output: str) -> str:
    """Return README.md's text with `output` between the marks."""
    return filled(text, "compare", f"```text\n$ python -m devicelab compare\n{output.rstrip()}\n```")
