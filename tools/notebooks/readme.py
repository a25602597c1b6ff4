"""`course.py readme`: the real output of `python -m devicelab compare`, kept in README.md between two marks."""

import re
import subprocess
from pathlib import Path

from tools.setup.say import ROOT, Stop, say

README = ROOT / "README.md"
BEGIN, END = "<!-- compare:begin -->", "<!-- compare:end -->"
BLOCK = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)


def main(python: Path) -> int:
    """Run the comparison and write what it printed."""
    done = subprocess.run([python, "-m", "devicelab", "compare"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise Stop(
            f"The comparison ended with an error:\n{done.stderr.strip()}", "Mend it; README.md is as it was."
        )
    README.write_text(
        with_output(README.read_text(encoding="utf-8"), done.stdout), encoding="utf-8", newline="\n"
    )
    say(done.stdout)
    return 0


def with_output(text: str, output: str) -> str:
    """Return README.md's text with `output` between the marks."""
    if len(BLOCK.findall(text)) != 1:
        raise Stop(f"README.md must hold {BEGIN} and {END} once each, in this order.")
    block = f"{BEGIN}\n```text\n$ python -m devicelab compare\n{output.rstrip()}\n```\n{END}"
    return BLOCK.sub(lambda _: block, text)
